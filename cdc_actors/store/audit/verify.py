"""The proof that a log is the one that was written, by its chain of hashes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc_actors.errors import OperatorError
from cdc_actors.store.hash_chain import (
    ANY_HASH,
    EVENTS,
    FIRST,
    PAGE,
    Chain,
    Link,
    stored_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eventsourcing.persistence import StoredEvent

    from cdc_actors.store.database import Database

_NEWEST = (
    "SELECT MAX(number) AS number FROM (SELECT MAX({order}) AS number FROM {events} "
    "UNION ALL SELECT MAX(number) AS number FROM {hashes}) AS both_tables"
)
_HASHES = "SELECT * FROM {hashes} WHERE number > {p} AND number <= {p}"
_HEAD = (
    "SELECT (SELECT COUNT(*) FROM {hashes}) AS events, log_hash FROM {hashes} "
    "ORDER BY number DESC LIMIT 1"
)
_HEAD_TEXT = re.compile(r"(\d+):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Record:
    """What stands under a number: an event, its link, or one without the other.

    In place of an event that is none stands what is wrong with it.
    """

    number: int
    event: StoredEvent | str | None
    link: Link | None


@dataclass(frozen=True, slots=True)
class Head:
    """How many events a log has, and the hash of the last; as text ``12:5e3f...``."""

    events: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.events}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what ``str`` wrote.

        Raises:
            OperatorError: It is something else.
        """
        match = _HEAD_TEXT.fullmatch(text.strip())
        if match is None:
            raise OperatorError(
                f"{text!r} is no head: `cdc-actors audit head` prints one, a number, "
                "a colon and 64 hexadecimal digits"
            )
        return cls(int(match[1]), bytes.fromhex(match[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationResult:
    """What a verification found.

    ``valid`` says whether every event is there as it was written, and ``mismatch`` names
    the first that is not. Of the first ``sealed`` events that is only known from
    ``sealed_at`` on: an earlier version wrote them without hashes. ``unsealed`` is how
    many there are of which nothing is known at all.
    """

    valid: bool
    head: Head
    mismatch: str | None = None
    sealed: int = 0
    sealed_at: str | None = None
    unsealed: int = 0


class Auditor:
    """Goes through a log event by event. Used by one thread."""

    def __init__(self, expected: Head | None = None) -> None:
        self._expected = expected
        self._chain = Chain()
        self._versions: dict[object, int] = {}
        self._sealed = 0
        self._sealed_at: str | None = None
        self.events = 0

    @property
    def head(self) -> Head:
        """The end of what was seen so far."""
        return Head(self.events, self._chain.log)

    def check_next(self, record: Record) -> str | None:
        """Take the next record; return what is wrong with it, None if it fits."""
        event, link = record.event, record.link
        if event is None:
            return f"event {record.number} of the log is missing"
        if isinstance(event, str):
            return event
        wrong = self._wrong(event, link)
        return f"{_name(record.number, event)} {wrong}" if wrong else None

    def end(self) -> str | None:
        """Return what is missing at the end, None if nothing is."""
        expected = self._expected
        if expected and expected.events > self.events:
            return (
                f"event {self.events + 1} is missing: the head was taken of a log of "
                f"{expected.events} events, and this one ends with {self.events}"
            )
        return None

    def result(self, mismatch: str | None) -> VerificationResult:
        """Return what was found."""
        return VerificationResult(
            valid=mismatch is None,
            head=self.head,
            mismatch=mismatch,
            sealed=self._sealed,
            sealed_at=self._sealed_at,
        )

    def _wrong(self, event: StoredEvent, link: Link | None) -> str | None:
        if link is None:
            return "has no hash: it was put in by something else, or an earlier version"
        if wrong := self._mismatch(event, link):
            return wrong
        self._chain.add(event, link)
        self._versions[event.originator_id] = event.originator_version
        self.events += 1
        if link.sealed_at:
            self._sealed += 1
            self._sealed_at = link.sealed_at
        expected = self._expected
        if expected and expected.events == self.events and expected != self.head:
            return "is not the one that the head was taken of"
        return None

    def _mismatch(self, event: StoredEvent, link: Link) -> str | None:
        due = self._versions.get(event.originator_id, 0) + 1
        if event.originator_version != due:
            return f"stands where event {due} of its task belongs"
        expected = self._chain.next(event, link.sealed_at)
        if expected.stream != link.stream:
            return "does not fit its hash: it was changed, or has taken another's place"
        if expected.log != link.log:
            return "does not follow what stands before it, where something was changed"
        return None


def verify(
    database: Database,
    expected: Head | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> VerificationResult:
    """Compare every event with its hashes, while others may write.

    ``expected`` is a head of this log from earlier. ``progress`` hears now and then of
    how many more events were seen.

    Raises:
        UnavailableError: The database does not answer.
    """
    events = count(database)
    if events and not database.read(ANY_HASH):
        return VerificationResult(
            valid=False, head=Head(0, Chain().log), unsealed=events
        )
    auditor = Auditor(expected)
    for seen, record in enumerate(records(database), 1):
        if mismatch := auditor.check_next(record):
            return auditor.result(mismatch)
        if seen % PAGE == 0:
            progress(PAGE)
    return auditor.result(auditor.end())


def head_of(database: Database) -> Head:
    """Return the head as it is written down, without a proof of what is before it."""
    rows = database.read(_HEAD)
    if not rows:
        return Head(0, Chain().log)
    return Head(rows[0]["events"], bytes(rows[0]["log_hash"]))


def count(database: Database) -> int:
    """Return how many events there are."""
    found: int = database.read("SELECT COUNT(*) AS events FROM {events}")[0]["events"]
    return found


def records(database: Database) -> Iterator[Record]:
    """Yield what is in the log up to now, in order, page by page."""
    newest = database.read(_NEWEST)[0]["number"]
    after = FIRST
    while newest is not None and after < newest:
        rows = database.read(EVENTS, after, newest, PAGE)
        until = rows[-1]["number"] if len(rows) == PAGE else newest
        events = {row["number"]: _event(row) for row in rows}
        links = {
            row["number"]: _link(row) for row in database.read(_HASHES, after, until)
        }
        for number in sorted(events.keys() | links.keys()):
            yield Record(number, events.get(number), links.get(number))
        after = until


def _event(row: Any) -> StoredEvent | str:
    try:
        return stored_event(row)
    except OperatorError as error:
        return str(error)


def _link(row: Any) -> Link:
    hashes = (row["stream_hash"], row["log_hash"])
    # What is no bytes fits nothing.
    stream, log = (
        b"" if isinstance(each, (str, int)) else bytes(each) for each in hashes
    )
    return Link(stream, log, row["sealed_at"])


def _name(number: int, event: StoredEvent) -> str:
    task = str(event.originator_id).replace("-", "")
    where = f"event {event.originator_version} of task {task}, {event.topic}"
    return f"event {number} of the log ({where}{_time(event.state)})"


def _time(state: bytes) -> str:
    """Return when the event says that it happened, if it still says so."""
    try:
        return f", {json.loads(state)['timestamp']['_data_']}"
    except (ValueError, LookupError, TypeError):
        return ""
