"""Renames that the target has and the store does not know: an earlier owner did them.

The store may have been restored from a backup. Rows that the log says again must go to
their own collection, whatever it is called at the target by now, and not to one that got
its name since. The marks tell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.pipeline.claims import is_marked
from cdc_actors.pipeline.messages import RecordOperationApplied
from cdc_actors.source.catalog.client import NameSince
from cdc_actors.tasks import RENAME_COLLECTION, CollectionState, Operation
from cdc_actors.tasks.details import RenameDetail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cdc_actors.pipeline.replay import Replay
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry

_GOING = {CollectionState.DROPPING, CollectionState.DROPPED}


def take_over_renames(
    replay: Replay, found: Mapping[int, CollectionMeta], target: Connection
) -> Replay:
    """Let each collection have the name that it has at the target, and write that down.

    ``found`` are the source's collections by id. The reader's thread.

    Raises:
        CdcError: The target does not answer.
    """
    if replay.spec.owner_start is None:
        return replay
    entries: list[CollectionEntry] = []
    records = list(replay.records)
    for entry in replay.spec.entries:
        name = _name_there(entry, found.get(entry.collection_id), replay, target)
        if name is None:
            entries.append(entry)
            continue
        records.append(RecordOperationApplied(_rename(entry, name)))
        entries.append(
            replace(entry, database=name.database, name=name.name, renaming=None)
        )
    return type(replay)(replace(replay.spec, entries=tuple(entries)), tuple(records))


def _name_there(
    entry: CollectionEntry,
    meta: CollectionMeta | None,
    replay: Replay,
    target: Connection,
) -> NameSince | None:
    """Return which of its later names a collection has at the target, if it has one.

    None for one that the store knows to be under way: it is finished, which is more.
    """
    if meta is None or entry.state in _GOING:
        return None
    spec, begun = replay.spec, entry.renaming
    for name in _later_names(entry, meta):
        there = spec.task.target_name(name.database, name.name)
        if is_marked(target, spec.claimant.mark(entry), there):
            is_begun = begun and begun.new_name == (name.database, name.name)
            return None if is_begun else name
    return None


def _later_names(entry: CollectionEntry, meta: CollectionMeta) -> Iterator[NameSince]:
    """Yield the names that the source gave a collection since, the newest first."""
    since = meta.names[-1].since if len(meta.names) > 1 else meta.altered
    for name in (NameSince(since, meta.database, meta.name), *reversed(meta.names)):
        if (name.database, name.name) == (entry.database, entry.name):
            return
        yield name


def _rename(entry: CollectionEntry, name: NameSince) -> Operation:
    return Operation(
        kind=RENAME_COLLECTION,
        timestamp=name.since,
        database=entry.database,
        name=entry.name,
        collection_id=entry.collection_id,
        detail=RenameDetail((name.database, name.name)).to_json(),
    )
