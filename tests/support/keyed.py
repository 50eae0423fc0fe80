"""A collection at a real target, of texts or numbers as keys, and changes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Batch, Definition, Delete, Insert, Rows
from cdc_actors.compare.keys import any_key
from cdc_actors.errors import TransientError
from cdc_actors.target.collections import create_collection
from cdc_actors.target.connection import Connection
from cdc_actors.target.rows import RowWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdc_actors.changes import Key

NAME = "keyed"
PARTITIONS = ("_default", "a", "b")
KEY_BYTES = 400
_ALL = 16_384
"""The most rows that one query of Milvus returns."""


def insert(timestamp: int, keys: Sequence[Key], partition: str) -> Insert:
    """Return an insert whose rows have the timestamp as their value."""
    ids = schema_pb2.FieldData(field_id=100, field_name="id")
    if isinstance(keys[0], str):
        ids.type = schema_pb2.VarChar
        ids.scalars.string_data.data.extend(keys)
    else:
        ids.type = schema_pb2.Int64
        ids.scalars.long_data.data.extend(keys)
    vector = schema_pb2.FieldData(field_id=101, field_name="v", type=101)
    vector.vectors.dim = 2
    vector.vectors.float_vector.data.extend([timestamp, 0.5] * len(keys))
    columns = (ids.SerializeToString(), vector.SerializeToString())
    return Insert(
        1, "dml_0_1v0", partition, timestamp, len(keys), columns, sum(map(len, columns))
    )


def delete(timestamp: int, keys: Iterable[Key], partition: str) -> Delete:
    """Return a delete, from every partition if none is named."""
    return Delete(1, "dml_0_1v0", partition, timestamp, tuple(keys))


class Keyed:
    """The collection, loaded, and what writes to it; a context manager."""

    def __init__(self, uri: str, client: MilvusClient, kind: DataType) -> None:
        self._client = client
        self._target = Connection(uri, "")
        self.is_lite = self._target.is_lite
        self._schema = _schema(kind)
        self._every = any_key("id", text=kind == DataType.VARCHAR)
        create_collection(self._target, self._definition(), lambda: None)
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("v", index_type="FLAT", metric_type="L2")
        client.create_index(NAME, indexes)
        client.load_collection(NAME)
        self.restart()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._target.close()

    def restart(self) -> None:
        """Write as a process that has just been started, and knows nothing."""
        self.writer = RowWriter(self._target, "default", NAME, self._schema)

    def write(self, batch: Batch) -> None:
        """Write a batch and wait until it is answered."""
        self.writer.write(batch, lambda: None)
        self.writer.drain()

    def insert(self, keys: Sequence[Key], partition: str = "_default") -> None:
        """Insert rows of these keys."""
        self.write(Batch({}, (Rows(insert(1, keys, partition)),)))

    def delete(self, keys: Iterable[Key], partition: str = "") -> None:
        """Delete rows of these keys, again if a busy machine does not answer in time."""
        batch = Batch({partition: tuple(keys)}, ())
        while True:
            try:
                self.write(batch)
            except TransientError:
                self.writer.abandon()
            else:
                return

    def flush(self) -> None:
        """Have a Milvus Lite write down what it holds; a Milvus takes its time for it."""
        if self.is_lite:
            self._client.flush(NAME)

    def rows(self) -> dict[str, dict[Key, int]]:
        """Return key and value of each partition's rows, of those that have any."""
        there = self._client.list_partitions(NAME)
        found = {partition: self._rows(partition) for partition in there}
        return {partition: rows for partition, rows in found.items() if rows}

    def count(self) -> int:
        """Return how many rows there are; Milvus 2.3 does not return the largest key."""
        (found,) = self._client.query(
            NAME, self._every, output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(found["count(*)"])

    def _rows(self, partition: str) -> dict[Key, int]:
        rows = self._client.query(
            NAME,
            self._every,
            output_fields=["id", "v"],
            partition_names=[partition],
            consistency_level="Strong",
            limit=_ALL,
        )
        return {row["id"]: int(row["v"][0]) for row in rows}

    def _definition(self) -> Definition:
        return Definition(
            database="default",
            name=NAME,
            schema=self._schema,
            shards=1,
            consistency_level=0,
            properties={},
            partitions=PARTITIONS,
        )


def _schema(kind: DataType) -> bytes:
    made = schema_pb2.CollectionSchema(name=NAME)
    key = made.fields.add(fieldID=100, name="id", is_primary_key=True, data_type=kind)
    if kind == DataType.VARCHAR:
        key.type_params.add(key="max_length", value=str(KEY_BYTES))
    vector = made.fields.add(fieldID=101, name="v", data_type=DataType.FLOAT_VECTOR)
    vector.type_params.add(key="dim", value="2")
    return bytes(made.SerializeToString())
