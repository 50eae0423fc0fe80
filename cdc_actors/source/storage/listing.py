"""Which files hold a collection's rows, and up to when: what the catalog says of them.

Source of the rules: Milvus 2.3.5, ``internal/metastore/kv/datacoord`` and
``internal/datacoord``; read in 2.2.16 to 3.0. Pure: bytes in, records out.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from cdc_actors.errors import CollectionError
from cdc_actors.source.catalog.parsing import parse
from cdc_actors.source.storage import segments_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cdc_actors.source.catalog.model import CollectionMeta, Pairs

# Keys below the metadata's root path.
SEGMENTS = "datacoord-meta/s/"
INSERT_FILES = "datacoord-meta/binlog/"
DELETE_FILES = "datacoord-meta/deltalog/"
CHECKPOINTS = "datacoord-meta/channel-cp/"

_LIVE = frozenset({2, 3, 4, 5})
"""Growing, sealed, flushed, flushing."""
_DROPPED = 6
_ALL_PARTITIONS = -1
_LEVEL_OF_DELETES = 1
_OWN_FILES = frozenset({0, 1})
"""Versions of the storage in which each field has a file of its own."""
_GROUPS = 2
"""The one in which a file has the fields of a group (2.6)."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file, by its path below the storage's root.

    ``size`` is in bytes, 0 if unknown. Before 2.4 it is what the file's values take in
    memory, where no compaction has written it.
    """

    path: str
    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files that together hold the same rows in the same order.

    By field id, or by group's id where a file holds several fields (2.6): ``groups`` are
    these fields' ids then, none of a group of which the catalog does not say (until 2.6.1).
    """

    files: Mapping[int, StoredFile]
    groups: Mapping[int, tuple[int, ...]] | None = None

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return next(iter(self.files.values())).rows

    @property
    def size(self) -> int:
        """How many bytes all its files have."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A live segment: rows of one partition (its id) and shard, and their deletes.

    ``shared`` are those that it has in common with all segments of its shard, or of its
    partition there (2.4). ``committed`` is the time of all its rows, a hybrid timestamp,
    where that is not their own (3.0: of a bulk import, when it was committed).
    """

    id: int
    partition: int
    shard: str
    sets: tuple[FileSet, ...]
    deletes: tuple[StoredFile, ...]
    shared: tuple[tuple[StoredFile, ...], ...] = ()
    committed: int = 0

    @property
    def size(self) -> int:
        """How many bytes its files of rows have."""
        return sum(each.size for each in self.sets)

    @property
    def rows(self) -> int:
        """How many rows they hold, those deleted since included."""
        return sum(each.rows for each in self.sets)


@dataclass(frozen=True, slots=True)
class ShardCheckpoint:
    """Up to where Milvus has written a shard's messages into files.

    ``message_id`` is the queue's own, ``timestamp`` a hybrid one.
    """

    message_id: bytes
    timestamp: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What there is of one collection at one moment; checkpoints by shard.

    ``is_importing`` tells that a bulk import is under way, whose rows nobody sees yet.
    """

    segments: tuple[Segment, ...]
    checkpoints: Mapping[str, ShardCheckpoint]
    is_importing: bool = False

    @property
    def size(self) -> int | None:
        """How many bytes all its files have, those of deletes too; None if unknown."""
        files = {
            file.path: file.size
            for each in self.segments
            for file in (*_of_rows(each), *each.deletes, *chain(*each.shared))
        }
        return sum(files.values()) if all(files.values()) else None


def listing(meta: CollectionMeta, pairs: Pairs) -> Listing:
    """Return a collection's live segments, from the pairs below the four prefixes.

    The deletes of segments that hold nothing else (2.4) are those of every segment of
    their shard.

    Raises:
        CollectionError: Files are in a form that this version cannot read.
    """
    inserts = _files(pairs, INSERT_FILES)
    deletes = _files(pairs, DELETE_FILES)
    found = [parse(segments_pb2.Segment, p) for p in pairs if p[0].startswith(SEGMENTS)]
    live = [each for each in found if _is_live(each)]
    _refuse_newer(meta, live)
    _refuse_uneven(meta, {each.id: inserts.get(each.id, []) for each in live})
    shared = [each for each in live if each.level == _LEVEL_OF_DELETES]
    return Listing(
        tuple(
            _segment(each, inserts[each.id], deletes, shared)
            for each in live
            if each.id in inserts
        ),
        checkpoints(meta, pairs),
        any(each.is_importing and each.state != _DROPPED for each in found),
    )


def checkpoints(meta: CollectionMeta, pairs: Pairs) -> dict[str, ShardCheckpoint]:
    """Return a collection's checkpoints by shard, from the pairs below ``written_at``."""
    return {
        shard: ShardCheckpoint(at.message_id, at.timestamp)
        for shard, at in _checkpoints(pairs)
        if shard in meta.shards
    }


def written_at(meta: CollectionMeta) -> list[str]:
    """Return the prefixes below which a collection's checkpoints are."""
    return [f"{CHECKPOINTS}{shard}" for shard in meta.shards]


def prefixes(meta: CollectionMeta) -> list[str]:
    """Return the prefixes below which a collection's segments and checkpoints are."""
    kinds = (SEGMENTS, INSERT_FILES, DELETE_FILES)
    return [*(f"{kind}{meta.id}/" for kind in kinds), *written_at(meta)]


def _of_rows(segment: Segment) -> Iterator[StoredFile]:
    for each in segment.sets:
        yield from each.files.values()


def _is_live(segment: segments_pb2.Segment) -> bool:
    if segment.is_importing or segment.is_fake or segment.state not in _LIVE:
        return False
    # The sources of such a one are live still (2.5, internal/datacoord/handler.go).
    return not (segment.is_invisible and segment.created_by_compaction)


def _refuse_newer(meta: CollectionMeta, live: Iterable[segments_pb2.Segment]) -> None:
    name = f"{meta.database}.{meta.name}"
    for each in live:
        if each.manifest_path:
            raise CollectionError(
                f"the files of {name} are listed in a manifest of their own (Milvus's "
                "common.storage.useLoonFFI), which is not read"
            )
        if each.storage_version not in (*_OWN_FILES, _GROUPS):
            raise CollectionError(
                f"the files of {name} are in version {each.storage_version} of Milvus's "
                "storage, which is not read: those up to 2 are (2.6)"
            )


def _refuse_uneven(
    meta: CollectionMeta, inserts: Mapping[int, list[tuple[str, Any]]]
) -> None:
    """See that every field or group of a segment has as many files as the others."""
    for segment, fields in inserts.items():
        if len({len(listed.files) for _, listed in fields}) > 1:
            raise CollectionError(
                f"of the segment {segment} of {meta.database}.{meta.name} some fields have "
                "more files than others, so that it is not known which belong together"
            )


def _checkpoints(pairs: Pairs) -> list[tuple[str, segments_pb2.Position]]:
    return [
        (pair[0].removeprefix(CHECKPOINTS), parse(segments_pb2.Position, pair))
        for pair in pairs
        if pair[0].startswith(CHECKPOINTS)
    ]


def _files(pairs: Pairs, kind: str) -> dict[int, list[tuple[str, Any]]]:
    """Return by segment what is there of each field: the folder, and the files in it."""
    found: dict[int, list[tuple[str, Any]]] = {}
    for pair in pairs:
        if pair[0].startswith(kind):
            folder = pair[0].removeprefix(kind)
            listed = parse(segments_pb2.FieldFiles, pair)
            if listed.files:
                segment = int(folder.split("/")[2])
                found.setdefault(segment, []).append((folder, listed))
    return found


def _segment(
    segment: segments_pb2.Segment,
    inserts: list[tuple[str, Any]],
    deletes: Mapping[int, list[tuple[str, Any]]],
    shared: Iterable[segments_pb2.Segment],
) -> Segment:
    groups = (
        _deletes(
            deletes,
            *(
                each.id
                for each in shared
                if (each.channel, each.partition_id) == (segment.channel, partition)
            ),
        )
        for partition in (_ALL_PARTITIONS, segment.partition_id)
    )
    return Segment(
        id=segment.id,
        partition=segment.partition_id,
        shard=segment.channel,
        sets=_sets(inserts, segment.storage_version),
        deletes=_deletes(deletes, segment.id),
        shared=tuple(each for each in groups if each),
        committed=segment.commit_timestamp,
    )


def _deletes(
    found: Mapping[int, list[tuple[str, Any]]], *segments: int
) -> tuple[StoredFile, ...]:
    """Return the files of deletes that some segments have."""
    return tuple(
        _file("delta_log", posixpath.dirname(folder), file)
        for segment in segments
        for folder, listed in found.get(segment, ())
        for file in listed.files
    )


def _sets(fields: list[tuple[str, Any]], version: int) -> tuple[FileSet, ...]:
    """The n-th file of each field, or group, belongs together."""
    ids = [int(folder.rpartition("/")[2]) for folder, _ in fields]
    files = [
        [_file("insert_log", folder, file) for file in listed.files]
        for folder, listed in fields
    ]
    groups = None
    if version == _GROUPS:
        groups = {
            each: tuple(listed.child_fields)
            for each, (_, listed) in zip(ids, fields, strict=True)
        }
    return tuple(
        FileSet(dict(zip(ids, together, strict=True)), groups)
        for together in zip(*files, strict=True)
    )


def _file(kind: str, folder: str, file: Any) -> StoredFile:
    """Some versions write down the path, below the bucket; others only the id."""
    path = f"{kind}/{folder}/{file.id}"
    if file.path:
        path = file.path[file.path.index(f"{kind}/") :]
    return StoredFile(path, file.rows, file.size)
