"""What of a task is not well while the rest of it goes on: what makes it ``degraded``."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING

from cdc_actors.changes import physical_seconds
from cdc_actors.service.views import Problems
from cdc_actors.tasks import CollectionState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cdc_actors.pipeline.messages import Retried
    from cdc_actors.tasks import CollectionEntry, Operation, Task

SHOWN_REASONS = 5
"""How many problems are told in words; all are counted."""

REASON_LENGTH = 300
"""How many characters of a reason are shown beside the counts, at most."""

_GONE = CollectionState.DROPPED
_ASIDE = CollectionState.SET_ASIDE


def problems_of(
    task: Task, retried: Mapping[int, Retried], imports: Mapping[int, str]
) -> Problems:
    """Return the problems of a task; the others are as in ``RunProgressed``."""
    entries = [each for each in task.collections.values() if each.state is not _GONE]
    aside = [each for each in entries if each.state is _ASIDE]
    retrying = [
        each
        for each in entries
        if each.collection_id in retried and each.state is not _ASIDE
    ]
    resync = [each for each in entries if each.missing_imports]
    refused = list(chain.from_iterable(task.unresolved.values()))
    sentences = chain(
        (_sentence(each, "is set aside", each.reason) for each in aside),
        (
            _sentence(each, "is tried again", retry_reason(retried[each.collection_id]))
            for each in retrying
        ),
        (_sentence(e, "lacks rows", resync_needed(e, imports)) for e in resync),
        (_refused(each) for each in refused),
    )
    return Problems(
        set_aside=len(aside),
        retrying=len(retrying),
        resync_needed=len(resync),
        operations_refused=len(refused),
        since=min(_times(aside, retried, refused), default=None),
        reasons=tuple(islice(sentences, SHOWN_REASONS)),
    )


def retry_reason(retried: Retried) -> str:
    """Return why a collection is tried again, how often it was, and when it will be."""
    when = f"{retried.next_try:%H:%M:%S} UTC"
    return f"{retried.reason} (attempt {retried.attempt}, the next at {when})"


def resync_needed(entry: CollectionEntry, waits: Mapping[int, str]) -> str | None:
    """Return why rows are missing at the target that the log will never bring.

    ``waits`` says of collections (ids) why they are not brought yet.
    """
    if not entry.missing_imports:
        return None
    count = len(entry.missing_imports)
    imports = (
        "a bulk import or restored snapshot"
        if count == 1
        else f"{count} bulk imports or restored snapshots"
    )
    wait = waits.get(entry.collection_id, "the service looks for them while it runs")
    return (
        f"rows of {imports} are missing at the target: they came past the log; {wait}"
    )


def operation_time(operation: Operation) -> datetime:
    """Return when the source did an operation, in UTC."""
    return datetime.fromtimestamp(physical_seconds(operation.timestamp), UTC)


def _times(
    aside: list[CollectionEntry],
    retried: Mapping[int, Retried],
    refused: list[Operation],
) -> Iterator[datetime]:
    """Yield since when the problems are there, as far as that is known."""
    yield from (each.since for each in retried.values())
    yield from (each.set_aside_at for each in aside if each.set_aside_at)
    yield from map(operation_time, refused)


def _refused(operation: Operation) -> str:
    named = ".".join(name for name in (operation.database, operation.name) if name)
    what = f"{operation.kind} of {named}" if named else operation.kind
    return _cut(f"{what} was refused: {operation.refused}")


def _sentence(entry: CollectionEntry, what: str, reason: str | None) -> str:
    return _cut(f"{entry.database}.{entry.name} {what}: {reason}")


def _cut(text: str) -> str:
    return text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}..."
