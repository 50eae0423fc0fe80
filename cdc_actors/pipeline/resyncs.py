"""What a collection that is brought anew begins with.

From files, or without any from the log, if that still holds its beginning: then it is
emptied or dropped as for files that hold no rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline.claims import is_marked
from cdc_actors.pipeline.definitions import channels_of, entry_of
from cdc_actors.pipeline.shadows import Shadow
from cdc_actors.source.wal.beginnings import first_places, not_held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.versions import Version
    from cdc_actors.source.wal.base import WalReader
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry
    from cdc_actors.tasks.model import Resync

_KEEPS_TIMES_SINCE = (2, 4)

MADE_ANEW = 0
"""Stands among the segments that are done for: the target has made the collection anew,
so that nothing is there of what was before."""


def entry_anew(
    meta: CollectionMeta, known: CollectionEntry, spec: RunSpec, target: Connection
) -> CollectionEntry:
    """Return a collection as nothing is known of it but its name, and what was asked.

    It keeps the name that it has at the target: a rename comes after it, as of any other.
    """
    entry = replace(
        entry_of(meta),
        resync=known.resync,
        imports=known.imports,
        shadow=known.resync is not None and known.resync.shadow,
        skipped=known.skipped if _stays(known.resync) else (),
    )
    if not known.schema:
        return entry
    database, name = _name_there(known, spec, target)
    return replace(entry, database=database, name=name)


def _stays(resync: Resync | None) -> bool:
    """Tell whether the target keeps the collection that it has."""
    return resync is not None and not (resync.drop or resync.shadow)


def without_former_shadow(
    anew: CollectionEntry, known: CollectionEntry, spec: RunSpec, target: Connection
) -> CollectionEntry:
    """Return ``anew``, with a shadow if one was asked for and there is what it replaces.

    Of a shadow that the collection had before nothing stays.

    Raises:
        CollectionError: What is to be replaced is not the task's, or no shadow can do it.
        CdcError: The target does not answer.
    """
    mark = spec.claimant.mark(known)
    if known.shadow or anew.shadow:
        Shadow(target, spec.task, known, mark).abandon()
    shadow = Shadow(target, spec.task, anew, mark)
    is_served = anew.shadow and shadow.is_served()
    if is_served:
        shadow.check_way()
    return replace(anew, shadow=is_served)


def from_beginning(meta: CollectionMeta, wal: WalReader) -> dict[str, Checkpoint]:
    """Return where the log begins to tell of a collection.

    Raises:
        RowsLostError: It does not tell of its beginning any more.
    """
    stood = first_places(meta, wal)
    if not_held(wal, stood.values()):
        raise RowsLostError(
            f"the log no longer holds the beginning of {meta.database}.{meta.name}, and "
            "the service may not read the source's files: give sourceConfig.storage, then "
            "`resync` it again"
        )
    return stood


def is_from_beginning(entry: CollectionEntry) -> bool:
    """Tell whether the log brings all of it."""
    return entry.snapshot == entry.created


def has_rows_from_before(entry: CollectionEntry, done: set[int]) -> bool:
    """Tell whether the target may have what is to go; ``done`` are segments."""
    is_whole = entry.resync is not None and not entry.resync.since
    return is_whole and MADE_ANEW not in done


def rows_since(entry: CollectionEntry, done: set[int]) -> int:
    """Return from which hybrid timestamp on rows are brought; ``done`` are segments."""
    is_there = entry.resync is not None and MADE_ANEW not in done
    return entry.resync.since if entry.resync and is_there else 0


def until_applied(
    resync: Resync,
    stood: dict[str, Checkpoint],
    applied: Mapping[str, Checkpoint],
    wal: WalReader,
    version: Version,
) -> tuple[Resync, dict[str, Checkpoint]]:
    """Return what is brought of a collection that lacks rows, and where its log goes on.

    That is where files end, or, if that is earlier, up to where its channels are
    ``applied``: what came between would be missing. Without that all of it is brought.
    ``version`` is the source's: from 2.4 on rows of a backup keep the times they had.
    """
    own = {channel: applied[channel] for channel in stood if channel in applied}
    if len(own) < len(stood) or not_held(wal, own.values()):
        return replace(resync, since=0), stood
    if version >= _KEEPS_TIMES_SINCE:
        resync = replace(resync, since=1)
    return resync, {c: min(at, own[c], key=_tick_of) for c, at in stood.items()}


def without_lost_channels(spec: RunSpec, wal: WalReader) -> RunSpec:
    """Leave out where channels stood that the log has lost, if nothing needs them.

    What goes on from there is brought anew, and has another beginning of its own.

    Raises:
        CdcError: The log does not answer.
    """
    if not any(entry.resync for entry in spec.entries):
        return spec
    needed = set().union(
        *(channels_of(e.shards) for e in spec.entries if e.follows_log)
    )
    if any(entry.follows_log for entry in spec.entries):
        needed.add(spec.source.replicate_chan)
    free = {c: at for c, at in spec.checkpoints.items() if c not in needed}
    gone = set(not_held(wal, free.values()))
    known = {c: at for c, at in spec.checkpoints.items() if at not in gone}
    return replace(spec, checkpoints=known)


def _tick_of(checkpoint: Checkpoint) -> int:
    return checkpoint.tick


def _name_there(entry: CollectionEntry, spec: RunSpec, target: Connection) -> FullName:
    """Return which of two names it has, if a rename of it was under way."""
    begun = entry.renaming
    if begun is not None:
        there = spec.task.target_name(*begun.new_name)
        if is_marked(target, spec.claimant.mark(entry), there):
            return begun.new_name
    return entry.database, entry.name
