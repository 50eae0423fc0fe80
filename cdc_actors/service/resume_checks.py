"""Whether a paused task can go on where it stopped, looked at before it is resumed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from cdc_actors.beside import beside
from cdc_actors.errors import (
    FailureClass,
    SourceChangedError,
    TaskConflictError,
    UnavailableError,
)
from cdc_actors.pipeline.source_identity import identity_of, refuse_another
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.wal.beginnings import not_held, places
from cdc_actors.source.wal_choice import open_wal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdc_actors.changes import Checkpoint, Position
    from cdc_actors.config import SourceConfig
    from cdc_actors.tasks import SourceIdentity, Task

_Seen = TypeVar("_Seen")

LOOK_SECONDS = 3.0
"""How long the source may take to answer."""


def refuse_resume(
    task: Task, checkpoints: Iterable[Checkpoint], source: SourceConfig
) -> None:
    """Raise if what comes next for a paused task is not at the source any more.

    Any thread; returns within ``LOOK_SECONDS``. A source that does not answer is no reason
    to refuse, as the run looks again, unless the task stands because its position was lost.

    Raises:
        TaskConflictError: The source is another Milvus, or the log does not hold where the
            task would go on; the message says what to do.
        UnavailableError: The position was lost, and whether it is back cannot be told.
    """
    failure = task.failure
    lost = failure is not None and failure.failure_class is FailureClass.POSITION_LOST
    sought = list(checkpoints) if lost else []
    if not (sought or task.source_identity):
        return
    known = task.source_identity
    what = (
        "the task has paused because the log did not hold what is next; whether it does"
    )
    try:
        reason = told(
            lambda: _changed(known, source) or _gone(sought, source), f"{what} now"
        )
    except UnavailableError:
        if sought:
            raise
        return
    if reason:
        raise TaskConflictError(reason)


def looked(look: Callable[[], _Seen]) -> _Seen:
    """Return what somebody sees at the source, who may take ``LOOK_SECONDS``.

    Raises:
        TimeoutError: It does not answer.
        Exception: Whatever ``look`` raises.
    """
    return beside(look, "source-look").result(LOOK_SECONDS)


def told(look: Callable[[], _Seen], what: str) -> _Seen:
    """Return what somebody sees at the source, who may take ``LOOK_SECONDS``.

    Raises:
        UnavailableError: It does not tell ``what`` it was asked, and why.
    """
    try:
        return looked(look)
    except Exception as error:  # the source's, whatever it is, or a time-out
        why = str(error) or "the source does not answer"
        raise UnavailableError(f"{what} cannot be told: {why}") from error


def _changed(known: SourceIdentity | None, source: SourceConfig) -> str:
    if known is None:
        return ""
    with closing(open_catalog(source)) as catalog:
        try:
            refuse_another(known, identity_of(source, catalog))
        except SourceChangedError as error:
            return str(error)
    return ""


def _gone(sought: list[Checkpoint], source: SourceConfig) -> str:
    if not sought:
        return ""
    with open_wal(source) as log:
        gone = [each.position for each in not_held(log, sought)]
    return _words(gone) if gone else ""


def _words(gone: list[Position]) -> str:
    more = f" (and {len(gone) - 1} more channels)" if len(gone) > 1 else ""
    return (
        f"the log no longer holds {places(gone[:1])}{more}, where the task would go on: "
        "what was written since is lost to it. `resync` brings its collections anew "
        "(all of them with *), from the source's files, and lets the task go on"
    )
