"""Collections as metric families: how far each is, and what came of it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from cdc_actors.changes import physical_seconds
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.service.metric_family import Family
from cdc_actors.tasks import CollectionState, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdc_actors.pipeline.work import AppliedRows
    from cdc_actors.service.metric_family import Row
    from cdc_actors.service.snapshot import TaskSnapshot
    from cdc_actors.tasks import CollectionEntry

MAX_FOLLOWED = 500
"""Of how many collections one scrape tells how far they are: the first of all tasks."""

_NAMED = ("task_id", "database", "collection")
_SOME = f"Of one collection; of {MAX_FOLLOWED} at most."

_Followed = tuple[tuple[str, str, str], float | None, "AppliedRows"]
"""The labels of a collection, up to when it is confirmed, and its rows."""


def collection_families(
    observed: Iterable[tuple[str, TaskSnapshot]], now: float
) -> Iterator[Family]:
    """Return what is known of collections, of so many at most.

    ``observed`` are tasks with the ids that clients know, ``now`` is in seconds since 1970
    by the source's clock.
    """
    found = list(islice(_followed(observed), MAX_FOLLOWED))
    known = [(labels, at) for labels, at, _ in found if at is not None]
    yield Family(
        "gauge",
        "cdc_collection_lag_seconds",
        f"As cdc_lag_seconds; of one set aside, from where it stands. {_SOME}",
        _NAMED,
        ((labels, max(0.0, round(now - at, 3))) for labels, at in known),
    )
    yield Family(
        "gauge",
        "cdc_collection_last_confirmed_timestamp_seconds",
        f"As cdc_last_confirmed_timestamp_seconds. {_SOME}",
        _NAMED,
        known,
    )
    yield Family(
        "counter",
        "cdc_collection_rows_applied",
        f"As cdc_rows_applied. {_SOME}",
        (*_NAMED, "kind"),
        _by_kind((n, rows.inserted, rows.deleted) for n, _, rows in found),
    )
    yield Family(
        "counter",
        "cdc_collection_applied_bytes",
        f"As cdc_applied_bytes. {_SOME}",
        (*_NAMED, "kind"),
        _by_kind((n, r.inserted_bytes, r.deleted_bytes) for n, _, r in found),
    )


def _followed(observed: Iterable[tuple[str, TaskSnapshot]]) -> Iterator[_Followed]:
    for task_id, snapshot in observed:
        applied = snapshot.applied_by
        runs = snapshot.state is TaskState.RUNNING
        for number, entry in snapshot.task.collections.items():
            if entry.state is not CollectionState.DROPPED:
                labels = (task_id, entry.database, entry.name)
                at = confirmed_at(entry, snapshot) if runs else None
                yield labels, at, applied.get(number, NO_ROWS)


def confirmed_at(entry: CollectionEntry, snapshot: TaskSnapshot) -> float | None:
    """Return up to when the target has all of a collection, None while unknown.

    That is so where its rows come from the log: those that come from files, or go into a
    shadow, are of another time.
    """
    progress = snapshot.progress
    if progress is None or entry.resync or entry.state is CollectionState.SNAPSHOT:
        return None
    aside = entry.state is CollectionState.SET_ASIDE
    stood = {channel: at.tick for channel, at in entry.stood.items()}
    reached = stood if aside else progress.ticks()
    ticks = [reached.get(channel, 0) for channel in channels_of(entry.shards)]
    return physical_seconds(min(ticks)) if ticks and all(ticks) else None


def _by_kind(counts: Iterable[tuple[tuple[str, ...], int, int]]) -> Iterator[Row]:
    for labels, inserted, deleted in counts:
        yield (*labels, "insert"), inserted
        yield (*labels, "delete"), deleted
