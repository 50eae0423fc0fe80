"""The history of tasks: who did what, when and why, and what a task was back then."""

from __future__ import annotations

import json
from bisect import bisect_right
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eventsourcing.utils import get_topic

from cdc_actors.errors import (
    InvalidRequestError,
    OperatorError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.tasks.descriptions import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.store.event_log import TaskLog
    from cdc_actors.tasks.events import TaskEvent
    from cdc_actors.tasks.task import Task

Moment = int | datetime
"""The number of an event, or a time."""

# What each entry says elsewhere, and what nobody may see.
_NO_CONTENT = {
    *("originator_id", "originator_version", "originator_topic", "timestamp"),
    *("who", "why", "secret"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event of a task.

    ``number`` counts the task's events from 1, ``event`` is what happened as a word,
    ``text`` as a sentence and ``content`` in JSON values. ``who`` has the fields of
    ``Who``, ``time`` is in UTC.
    """

    number: int
    time: datetime
    event: str
    who: dict[str, str | None]
    why: str
    text: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some events of a task in order, and whether there are ``more`` behind them."""

    task_id: str
    events: list[Entry]
    more: bool


class History:
    """Reads the event log. Any thread may use it.

    Methods raise ``UnavailableError`` when the log does not answer, or has what this
    version cannot read.
    """

    def __init__(self, log: TaskLog) -> None:
        self._log = log

    def page(self, task_id: str, *, after: int, limit: int) -> Page:
        """Return up to ``limit`` events behind number ``after``, of a deleted task, too.

        Raises:
            UnknownTaskError: There has never been a task of that id.
        """
        with _explained():
            events = self._log.page(task_id, after=after, limit=limit + 1)
        entries = [entry_of(event) for event in events[:limit]]
        return Page(task_id=task_id, events=entries, more=len(events) > limit)

    def task(self, task_id: str, moment: Moment) -> Task:
        """Return the task as it was after that event, or at that time.

        The times of the log are taken to grow; where the clock was set back, the number
        of an event says what is meant.

        Raises:
            UnknownTaskError: There was no such task then: not yet, or no longer.
            InvalidRequestError: There is no event of that number.
        """
        with _explained():
            return self._task(task_id, moment)

    def _task(self, task_id: str, moment: Moment) -> Task:
        last = self._log.last_number(task_id)
        number = moment if isinstance(moment, int) else self._at(task_id, last, moment)
        if number > last or moment == 0:
            raise InvalidRequestError(
                f"there is no event {moment}, the task has events 1 to {last}"
            )
        if number == 0:
            raise UnknownTaskError(f"not found: [{task_id}], it was created later")
        return self._log.load(task_id, number)

    def _at(self, task_id: str, last: int, moment: datetime) -> int:
        """Return the number of the last event up to a time, 0 if there is none."""

        def time_of(number: int) -> datetime:
            return self._log.page(task_id, after=number - 1, limit=1)[0].timestamp

        return bisect_right(range(1, last + 1), moment, key=time_of)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OperatorError as error:
        raise UnavailableError(str(error)) from error


def entry_of(event: TaskEvent) -> Entry:
    """Return an event as people read it."""
    content = {
        name: value for name, value in vars(event).items() if name not in _NO_CONTENT
    }
    if "detail" in content:
        # A schema is bytes that nobody reads.
        detail = content["detail"].items()
        content["detail"] = {key: value for key, value in detail if key != "schema"}
    return Entry(
        number=event.originator_version,
        time=event.timestamp,
        event=get_topic(type(event)).removeprefix("task."),
        who=event.who,
        why=_readable(event.why),
        text=" ".join(_readable(describe(event)).split()),
        content=_readable(content),
    )


def moment_of(text: str) -> Moment:
    """Read the number of an event, or a time in ISO 8601, which is UTC if it says no zone.

    Raises:
        InvalidRequestError: It is neither.
    """
    try:
        if text.isdecimal():
            return int(text)
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"as_of must be the number of an event, or a time such as "
            f"2026-01-31T12:00:00Z, not {text!r}"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _readable(value: Any) -> Any:
    """Replace what UTF-8 cannot hold: a peer's words may have half a character."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
