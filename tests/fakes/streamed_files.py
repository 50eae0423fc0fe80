"""A folder with what a Milvus of 2.6 would have written of a recorded life into files.

Rows and times are those of the recorded log, files and keys in the form that Milvus gives
them (2.6.18: ``internal/storage``, ``internal/metastore/kv/datacoord``).
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa
from msgspec import structs
from pymilvus.grpc_gen import msg_pb2, schema_pb2

from cdc_actors.changes import Delete, Insert, channel_of
from cdc_actors.source.storage import listing, segments_pb2
from cdc_actors.source.streamed import decode_streamed
from tests.support.milvus_files import file_of_deletes, file_of_group, file_of_rows
from tests.support.stored_rows import arrays, groups_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cdc_actors.changes import Key
    from cdc_actors.source.catalog.model import Pairs
    from tests.fakes.streamed_source import StreamedSource
    from tests.support.recorded_life import NodeMessage

FLUSHED, DROPPED, OF_DELETES = 4, 6, 1
IN_GROUPS = 2
_ROWS_IN_GROUP = 2
_INSERT, _IMPORT, _COMMIT = "2", "11", "901"


@dataclass(slots=True)
class _Written:
    """What is to be written of one partition of one shard."""

    inserts: list[Insert] = field(default_factory=list)
    deletes: list[tuple[Key, int]] = field(default_factory=list)


class StreamedFiles:
    """Writes them, and the catalog's keys of them. The test's thread uses it.

    Every second segment has a file for each field, as before 2.6; the others have one for
    a group. Deletes are in segments of their own, as Milvus first writes them.
    """

    def __init__(self, source: StreamedSource, root: Path) -> None:
        (root / "insert_log").mkdir(parents=True)
        self._source = source
        self._root = root
        self._numbers = count(9_000)
        self._until: dict[str, int] = {}
        self._starts: dict[str, str] = {}

    def flush(self) -> None:
        """Have all that came so far in files, and the log go on from there."""
        for channel, log in self._source.delivered.items():
            last = _last_confirmed(log)
            until, since = int(last.properties["_tt"], 36), self._until.get(channel, 0)
            self._until[channel] = until
            self._starts[channel] = last.properties.get("_lc", last.id)
            self._write(log, since, until)
        self._put_checkpoints()

    def forget_log(self) -> None:
        """Have the log lose what stands before the places where it goes on."""
        for channel, start in self._starts.items():
            ids = [each.id for each in self._source.delivered[channel]]
            self._source.nodes.lose(channel, ids.index(start))

    def add_import(self, shard: str) -> list[int]:
        """Have rows in files that a bulk import brought; return their keys.

        They have the time of the import's message, and the columns of rows before it.
        """
        log = self._source.delivered[channel_of(shard)]
        of_shard = [each for each in log if each.properties.get("_vc") == shard]
        message = next(each for each in of_shard if each.properties["_t"] == _IMPORT)
        first = next(each for each in of_shard if each.properties["_t"] == _INSERT)
        like = decode_streamed(first.properties, first.payload)
        body = msg_pb2.InsertRequest.FromString(first.payload)
        assert isinstance(like, Insert)
        keys = [number + 1_000_000 for number in range(like.rows)]
        columns = list(like.columns)
        key = schema_pb2.FieldData.FromString(columns[0])
        key.scalars.long_data.data[:] = keys
        imported = structs.replace(
            like,
            timestamp=int(message.properties["_tt"], 36),
            columns=(key.SerializeToString(), *columns[1:]),
        )
        place = like.collection, body.partitionID, shard
        self._write_inserts(*place, [imported])
        return keys

    def compact(self) -> None:
        """Have every segment of rows made anew, and remove what it was made of."""
        with closing(self._source.etcd.catalog()) as catalog:
            pairs = catalog.read_below([listing.SEGMENTS, listing.INSERT_FILES])
        for key, value in pairs:
            old = segments_pb2.Segment.FromString(value)
            if (
                key.startswith(listing.SEGMENTS)
                and old.state == FLUSHED
                and old.level == 0
            ):
                self._make_anew(key.removeprefix(listing.SEGMENTS), old, pairs)

    def _make_anew(self, place: str, old: segments_pb2.Segment, pairs: Pairs) -> None:
        new = segments_pb2.Segment.FromString(old.SerializeToString())
        new.id, new.is_invisible, new.created_by_compaction = (
            next(self._numbers),
            False,
            True,
        )
        moved = f"{place.rpartition('/')[0]}/{new.id}"
        (self._root / f"insert_log/{place}").rename(self._root / f"insert_log/{moved}")
        old.state = DROPPED
        put, prefix = self._source.etcd.put, f"{listing.INSERT_FILES}{place}/"
        put(f"{listing.SEGMENTS}{place}", old.SerializeToString())
        put(f"{listing.SEGMENTS}{moved}", new.SerializeToString())
        for key, value in pairs:
            if key.startswith(prefix):
                put(f"{listing.INSERT_FILES}{moved}/{key.removeprefix(prefix)}", value)

    def _write(self, log: Iterable[NodeMessage], since: int, until: int) -> None:
        written: defaultdict[tuple[int, int, str], _Written] = defaultdict(_Written)
        for message in log:
            change = decode_streamed(message.properties, message.payload)
            if isinstance(change, Insert) and since < change.timestamp <= until:
                body = msg_pb2.InsertRequest.FromString(message.payload)
                place = change.collection, body.partitionID, change.shard
                written[place].inserts.append(change)
            elif isinstance(change, Delete) and since < change.timestamp <= until:
                body = msg_pb2.DeleteRequest.FromString(message.payload)
                place = change.collection, body.partitionID, change.shard
                deletes = ((key, change.timestamp) for key in change.keys)
                written[place].deletes.extend(deletes)
        for place, found in written.items():
            self._write_inserts(*place, found.inserts)
            if found.deletes:
                self._write_deletes(*place, found.deletes)

    def _write_inserts(
        self, collection: int, partition: int, shard: str, inserts: list[Insert]
    ) -> None:
        """A flush ends where a field is added: rows of a segment have the same columns."""
        by_fields: defaultdict[tuple[int, ...], list[dict[int, pa.Array]]]
        by_fields = defaultdict(list)
        for each in inserts:
            times = pa.array([each.timestamp] * each.rows, pa.int64())
            columns = {0: times, 1: times, **arrays(each.columns)}
            by_fields[tuple(columns)].append(columns)
        for sets in by_fields.values():
            number = next(self._numbers)
            form = IN_GROUPS if number % 2 else 0
            place = f"{collection}/{partition}/{number}"
            self._put_segment(place, shard, storage_version=form)
            for columns in sets:
                self._write_set(place, columns, is_in_groups=form == IN_GROUPS)

    def _write_set(
        self, place: str, columns: Mapping[int, pa.Array], *, is_in_groups: bool
    ) -> None:
        rows = len(columns[1])
        if not is_in_groups:
            for each, values in columns.items():
                self._put_file(f"{place}/{each}", file_of_rows(values), rows)
            return
        for group, fields in groups_of(columns).items():
            content = file_of_group({i: columns[i] for i in fields}, _ROWS_IN_GROUP)
            self._put_file(f"{place}/{group}", content, rows, fields)

    def _write_deletes(
        self,
        collection: int,
        partition: int,
        shard: str,
        deletes: list[tuple[Key, int]],
    ) -> None:
        place = f"{collection}/{partition}/{next(self._numbers)}"
        self._put_segment(place, shard, level=OF_DELETES)
        number = next(self._numbers)
        self._keep(f"delta_log/{place}/{number}", file_of_deletes(deletes))
        made = segments_pb2.FieldFiles(field_id=100)
        made.files.add(rows=len(deletes), id=number)
        self._source.etcd.put(
            f"{listing.DELETE_FILES}{place}/100", made.SerializeToString()
        )

    def _put_segment(self, place: str, shard: str, **fields: int) -> None:
        collection, partition, number = map(int, place.split("/"))
        made = segments_pb2.Segment(
            id=number,
            collection_id=collection,
            partition_id=partition,
            channel=shard,
            state=FLUSHED,
            is_invisible=True,
            **fields,
        )
        self._source.etcd.put(f"{listing.SEGMENTS}{place}", made.SerializeToString())

    def _put_file(
        self, place: str, content: bytes, rows: int, fields: Iterable[int] = ()
    ) -> None:
        """Add a file to those of a field or group."""
        number, key = next(self._numbers), f"{listing.INSERT_FILES}{place}"
        self._keep(f"insert_log/{place}/{number}", content)
        with closing(self._source.etcd.catalog()) as catalog:
            before = dict(catalog.read_below([key])).get(key, b"")
        made = segments_pb2.FieldFiles.FromString(before)
        made.field_id = int(place.rpartition("/")[2])
        made.files.add(rows=rows, size=len(content), id=number)
        made.child_fields[:] = fields
        self._source.etcd.put(key, made.SerializeToString())

    def _keep(self, path: str, content: bytes) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def _put_checkpoints(self) -> None:
        with closing(self._source.etcd.catalog()) as catalog:
            found = catalog.snapshot().collections.values()
        for shard in (shard for each in found for shard in each.shards):
            channel = channel_of(shard)
            made = segments_pb2.Position(
                channel_name=shard,
                message_id=self._source.catalog_id(self._starts[channel]),
                timestamp=self._until[channel],
            )
            self._source.etcd.put(
                f"{listing.CHECKPOINTS}{shard}", made.SerializeToString()
            )


def _last_confirmed(log: list[NodeMessage]) -> NodeMessage:
    """Return the newest message of those whose confirmed one was recorded."""
    ids = {each.id for each in log}
    return next(
        each
        for each in reversed(log)
        if "_np" not in each.properties and _is_whole(each)
        if each.properties.get("_lc", each.id) in ids
    )


def _is_whole(message: NodeMessage) -> bool:
    """Tell whether nothing of a message's time comes behind it."""
    return "_tx" not in message.properties or message.properties["_t"] == _COMMIT
