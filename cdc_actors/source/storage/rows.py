"""A segment's rows as they were at one moment, as inserts.

The rule (Milvus 2.2 to 2.5; ``internal/datanode/compactor.go``): a row is there if it was
written until then, and no delete of its key, newer than the row, was until then. An upsert
deletes and inserts with one timestamp.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Insert
from cdc_actors.errors import CollectionError
from cdc_actors.source.storage import columns, envelope
from cdc_actors.source.storage.files import StorageError

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Iterator,
        Mapping,
        Sequence,
    )

    from numpy.typing import NDArray

    from cdc_actors.changes import Key
    from cdc_actors.source.catalog.model import CollectionMeta
    from cdc_actors.source.storage.files import Files
    from cdc_actors.source.storage.listing import FileSet, Segment, StoredFile

_TIMESTAMP = 1
_SYSTEM_FIELDS = frozenset({0, _TIMESTAMP})
_DYNAMIC = "$meta"
LoggedDeletes: TypeAlias = "Mapping[tuple[str, str], Mapping[Key, int]]"
"""When keys were last deleted until the moment that is read, by shard and partition's
name ("" is all)."""

_Parsed = TypeVar("_Parsed")

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
    files: Files
    logged: LoggedDeletes = field(default_factory=dict)

    def knowing(self, logged: LoggedDeletes) -> SegmentReader:
        """Return one that knows of deletes which the files may lack."""
        return replace(self, logged=logged)

    def refuse_unreadable(self) -> None:
        """See that every column can be read.

        Raises:
            CollectionError: One cannot.
        """
        for each in self._schema.fields:
            if not columns.readable(each.data_type):
                kind = schema_pb2.DataType.Name(each.data_type)
                raise CollectionError(
                    f"the field {each.name} of {self.meta.database}.{self.meta.name} "
                    f"is of the type {kind}, which is not read from files"
                )

    def inserts(self, segment: Segment, until: int, since: int = 0) -> Iterator[Insert]:
        """Yield the rows that were there at ``until``, a hybrid timestamp, in pieces.

        None of a partition that the catalog does not have any more, and none that was
        written before ``since``.
        """
        if segment.partition not in self.meta.partitions:
            return
        deleted = self._deletes(segment, until)
        for files in segment.sets:
            yield from self._of_set(segment, files, deleted, until, since)

    def keys(self, segment: Segment, until: int) -> Iterator[list[Key]]:
        """Yield the keys of the rows that ``inserts`` gives, and read no other column."""
        if segment.partition not in self.meta.partitions:
            return
        deleted = self._deletes(segment, until)
        for files in segment.sets:
            keys, _, chosen = self._living(files, deleted, until)
            for first in range(0, len(chosen), KEYS_A_PIECE):
                rows = pa.array(chosen[first : first + KEYS_A_PIECE])
                yield keys.take(rows).to_pylist()

    def _living(
        self, files: FileSet, deleted: Mapping[Key, int], until: int
    ) -> tuple[pa.Array, NDArray[np.uint64], NDArray[np.intp]]:
        """Return keys and times of a set's rows, and which of them are there."""
        fields = self._schema.fields
        key = next(each.fieldID for each in fields if each.is_primary_key)
        times = self._values(files.files[_TIMESTAMP]).to_numpy().view(np.uint64)
        keys = self._values(files.files[key])
        return keys, times, _living(times, keys, deleted, until)

    @property
    def _schema(self) -> schema_pb2.CollectionSchema:
        return schema_pb2.CollectionSchema.FromString(self.meta.schema)

    def _of_set(
        self,
        segment: Segment,
        files: FileSet,
        deleted: Mapping[Key, int],
        until: int,
        since: int,
    ) -> Iterator[Insert]:
        """Read the other columns only where a row is left."""
        schema = self._schema
        _, times, chosen = self._living(files, deleted, until)
        chosen = chosen[times[chosen] >= since]
        if not len(chosen):
            return
        rows = pa.array(chosen)
        taken = [
            (field, self._values(files.files[field.fieldID]).take(rows))
            for field in _stored_fields(schema, files.files)
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

    def _values(self, file: StoredFile) -> pa.Array:
        return self._read(envelope.column, file)

    def _deletes(self, segment: Segment, until: int) -> dict[Key, int]:
        """Return when each key was last deleted, until then."""
        partition = self.meta.partitions[segment.partition].name
        files = (
            zip(*self._read(envelope.deletes, f), strict=True) for f in segment.deletes
        )
        logged = (
            self.logged.get((segment.shard, each), {}).items()
            for each in ("", partition)
        )
        found: dict[Key, int] = {}
        for key, time in chain(*files, *logged):
            if found.get(key, 0) < time <= until:
                found[key] = time
        return found

    def _read(self, parse: Callable[[pa.Buffer], _Parsed], file: StoredFile) -> _Parsed:
        try:
            return parse(self.files.read(file.path))
        except envelope.DamagedFileError as error:
            raise StorageError(f"{file.path} cannot be read: {error}") from error


def _living(
    times: NDArray[np.uint64], keys: pa.Array, deleted: Mapping[Key, int], until: int
) -> NDArray[np.intp]:
    """Return the indexes of the rows that were there at ``until``."""
    there = times <= until
    if deleted:
        named = pc.is_in(keys, value_set=pa.array(list(deleted), keys.type))
        for row in np.flatnonzero(named.to_numpy(zero_copy_only=False)):
            if times[row] < deleted[keys[row].as_py()]:
                there[row] = False
    return np.flatnonzero(there)


def _stored_fields(
    schema: schema_pb2.CollectionSchema, files: Collection[int]
) -> list[schema_pb2.FieldSchema]:
    """Return the fields that have files. The catalog's schema lacks the dynamic one."""
    fields = [field for field in schema.fields if field.fieldID in files]
    known = {field.fieldID for field in fields} | _SYSTEM_FIELDS
    dynamic = [
        schema_pb2.FieldSchema(
            fieldID=each, name=_DYNAMIC, data_type=schema_pb2.JSON, is_dynamic=True
        )
        for each in sorted(set(files) - known)
        if schema.enable_dynamic_field
    ]
    return [*fields, *dynamic]


def _pieces(
    whole: Insert, taken: Sequence[tuple[schema_pb2.FieldSchema, pa.Array]]
) -> Iterator[Insert]:
    step = max(1, whole.rows * PIECE_BYTES // max(whole.size, 1))
    for first in range(0, whole.rows, step):
        made = tuple(
            columns.field_data(field, values.slice(first, step))
            for field, values in taken
        )
        yield replace(
            whole,
            rows=min(step, whole.rows - first),
            columns=made,
            size=sum(map(len, made)),
        )
