"""A segment's rows as they were at one moment, as inserts.

The rule (Milvus 2.2 to 3.0; ``internal/datanode/compactor.go``): a row is there if it was
written until then, and no delete of its key, newer than the row, was until then. An upsert
deletes and inserts with one timestamp. What was truncated (2.6) is gone.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
from msgspec import structs
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Insert
from cdc_actors.source.storage import columns, envelope
from cdc_actors.source.storage.ahead import FilesAhead
from cdc_actors.source.storage.deletes import LastDeletes
from cdc_actors.source.storage.parts import TIMESTAMP, parsed, parts
from cdc_actors.source.storage.shared_deletes import SharedDeletes
from cdc_actors.source.storage.stored_fields import (
    refuse_unreadable,
    stored_fields,
    with_defaults,
    without_column,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from cdc_actors.changes import Key
    from cdc_actors.source.catalog.model import CollectionMeta
    from cdc_actors.source.storage.ahead import Memory
    from cdc_actors.source.storage.deletes import Said
    from cdc_actors.source.storage.files import Files
    from cdc_actors.source.storage.listing import FileSet, Segment, StoredFile
    from cdc_actors.source.storage.parts import Part

LATEST = (1 << 64) - 1
"""The last of all hybrid timestamps."""

LoggedDeletes: TypeAlias = "Mapping[tuple[str, str], Said]"
"""What was deleted until the moment that is read, by shard and partition's name ("" is
all)."""

PIECE_BYTES = 4 << 20
"""About how large one insert becomes: a part of a request, and of the memory."""

KEYS_A_PIECE = 10_000


@dataclass(frozen=True, slots=True)
class SegmentReader:
    """Reads segments of one collection. One thread uses it.

    Raises ``StorageError`` where a file is gone, damaged, or its store away: what the
    catalog says may have changed, and is to be asked again.
    """

    meta: CollectionMeta
    files: Files | FilesAhead
    logged: Mapping[tuple[str, str], LastDeletes] = field(default_factory=dict)
    shared: SharedDeletes | None = None

    def knowing(self, logged: LoggedDeletes) -> SegmentReader:
        """Return one that knows of deletes which the files may lack."""
        last = {
            place: LastDeletes.of(self._key_type, [said], LATEST)
            for place, said in logged.items()
        }
        return replace(self, logged=last)

    def refuse_unreadable(self) -> None:
        """See that every column can be read.

        Raises:
            CollectionError: One cannot.
        """
        refuse_unreadable(self.meta)

    def inserts(self, segment: Segment, until: int, since: int = 0) -> Iterator[Insert]:
        """Yield the rows that were there at ``until``, a hybrid timestamp, in pieces.

        None of a partition that the catalog does not have any more, and none that was
        written before ``since``.
        """
        if segment.partition not in self.meta.partitions:
            return
        deleted = self._deletes(segment, until)
        for part in self._parts(segment):
            yield from self._of_part(segment, part, deleted, until, since)

    def keys(self, segment: Segment, until: int) -> Iterator[list[Key]]:
        """Yield the keys of the rows that ``inserts`` gives, and read no other column."""
        if segment.partition not in self.meta.partitions:
            return
        deleted = self._deletes(segment, until)
        for part in self._parts(segment):
            keys, _, chosen = self._living(segment, part, deleted, until)
            for first in range(0, len(chosen), KEYS_A_PIECE):
                rows = pa.array(chosen[first : first + KEYS_A_PIECE])
                yield keys.take(rows).to_pylist()

    @contextmanager
    def ahead(
        self,
        segments: Iterable[Segment],
        memory: Memory,
        check: Callable[[], None],
        *,
        whole: bool,
    ) -> Iterator[SegmentReader]:
        """Lend one that reads once what segments have in common.

        It fetches files before it needs them, where they are far away, and is to read
        segments in this order; ``whole`` tells that other columns than keys and times will
        be needed in all likelihood. See ``FilesAhead`` for ``memory`` and ``check``.
        """
        with closing(SharedDeletes(self._last, memory)) as shared:
            if isinstance(self.files, FilesAhead) or not self.files.is_far:
                yield replace(self, shared=shared)
                return
            wanted = self._wanted(segments, whole=whole)
            with closing(FilesAhead(self.files, wanted, memory, check)) as files:
                yield replace(self, files=files, shared=shared)

    def _wanted(
        self, segments: Iterable[Segment], *, whole: bool
    ) -> Iterator[Iterable[tuple[StoredFile, bool]]]:
        """Yield the files of segments, and which of them will be asked for, in order."""
        fields = {TIMESTAMP, self._key_field.fieldID}
        if whole:
            fields.update(each.fieldID for each in stored_fields(self.meta))
        for segment in segments:
            if segment.partition in self.meta.partitions:
                yield ((each, True) for each in segment.deletes)
                for found in segment.sets:
                    yield _likely(found, fields)

    def _parts(self, segment: Segment) -> Iterator[Part]:
        for found in segment.sets:
            yield from parts(self.files, found)

    def _living(
        self, segment: Segment, part: Part, deleted: Iterable[LastDeletes], until: int
    ) -> tuple[pa.Array, NDArray[np.uint64], NDArray[np.intp]]:
        """Return keys and times of some rows, and which of them are there."""
        times = part.values(TIMESTAMP).to_numpy().view(np.uint64)
        if segment.committed:
            times = np.full_like(times, segment.committed)
        keys = part.values(self._key_field.fieldID)
        chosen = _living(times, keys, deleted, until)
        since = self.meta.truncated_until(segment.shard)
        return keys, times, chosen[times[chosen] > since]

    def _of_part(
        self,
        segment: Segment,
        part: Part,
        deleted: Iterable[LastDeletes],
        until: int,
        since: int,
    ) -> Iterator[Insert]:
        """Read the other columns only where a row is left."""
        _, times, chosen = self._living(segment, part, deleted, until)
        chosen = chosen[times[chosen] >= since]
        if not len(chosen):
            return
        # Nothing is copied where all of it is taken.
        rows = None if len(chosen) == len(times) else pa.array(chosen)
        taken = [
            (f, self._taken(f, part, rows, len(chosen)))
            for f in stored_fields(self.meta)
        ]
        whole = Insert(
            collection=self.meta.id,
            shard=segment.shard,
            partition=self.meta.partitions[segment.partition].name,
            timestamp=int(times[chosen].max()),
            rows=len(chosen),
            columns=(),
            size=sum(values.nbytes for _, values in taken),
        )
        yield from _pieces(whole, taken)

    def _taken(
        self,
        field: schema_pb2.FieldSchema,
        part: Part,
        rows: pa.Array | None,
        count: int,
    ) -> pa.Array:
        """Return the values of a field for some rows of a part, or for all ``count``."""
        if field.fieldID not in part.fields:
            return without_column(self.meta, field, count)
        values = part.values(field.fieldID)
        return with_defaults(field, values if rows is None else values.take(rows))

    @property
    def _key_field(self) -> schema_pb2.FieldSchema:
        fields = schema_pb2.CollectionSchema.FromString(self.meta.schema).fields
        return next(each for each in fields if each.is_primary_key)

    @property
    def _key_type(self) -> pa.DataType:
        return columns.plain_type(self._key_field.data_type)

    def _deletes(self, segment: Segment, until: int) -> list[LastDeletes]:
        """Return when keys were last deleted, until then."""
        partition = self.meta.partitions[segment.partition].name
        found = [self.logged.get((segment.shard, each)) for each in ("", partition)]
        if segment.deletes:
            found.append(self._last(segment.deletes, until))
        read = self.shared.last if self.shared else self._last
        found += [read(each, until) for each in segment.shared]
        return [each for each in found if each is not None]

    def _last(self, files: Iterable[StoredFile], until: int) -> LastDeletes:
        """Return what files say was last deleted until then."""
        said = (parsed(self.files, each, envelope.deletes) for each in files)
        return LastDeletes.of(self._key_type, said, until)


def _living(
    times: NDArray[np.uint64],
    keys: pa.Array,
    deleted: Iterable[LastDeletes],
    until: int,
) -> NDArray[np.intp]:
    """Return the indexes of the rows that were there at ``until``."""
    latest = np.zeros(len(times), np.uint64)
    for each in deleted:
        each.note(keys, latest)
    return np.flatnonzero((times <= until) & (times >= latest))


def _likely(
    found: FileSet, fields: AbstractSet[int]
) -> Iterator[tuple[StoredFile, bool]]:
    """Yield the files of a set, and whether each has any of some fields, or may have."""
    for number, file in found.files.items():
        known = [number] if found.groups is None else found.groups[number]
        yield file, not known or not fields.isdisjoint(known)


def _pieces(
    whole: Insert, taken: Sequence[tuple[schema_pb2.FieldSchema, pa.Array]]
) -> Iterator[Insert]:
    step = max(1, whole.rows * PIECE_BYTES // max(whole.size, 1))
    for first in range(0, whole.rows, step):
        made = tuple(
            columns.field_data(field, values.slice(first, step))
            for field, values in taken
        )
        yield structs.replace(
            whole,
            rows=min(step, whole.rows - first),
            columns=made,
            size=sum(map(len, made)),
        )
