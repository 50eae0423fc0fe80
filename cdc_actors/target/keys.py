"""Primary keys of rows that the target has, asked for in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.collections import has_partition_key, primary_field

if TYPE_CHECKING:
    from cdc_actors.changes import FullName, Key
    from cdc_actors.target.connection import Connection

MOST_NUMBERS = 10_000
MOST_TEXTS = 1_000
"""How many keys one answer has at most: a text may have 65,535 bytes."""

_EMPTY = 26
"""The code of some older Milvus for a collection without rows."""


class KeyReader:
    """Reads the keys of one collection at the target, which is loaded there.

    ``field`` is the name of the primary key, ``is_text`` tells its type, and
    ``is_divided`` that Milvus itself divides the rows among partitions.

    Methods raise as ``Connection.call`` does.
    """

    def __init__(self, target: Connection, name: FullName, schema: bytes) -> None:
        """``schema`` is a serialized CollectionSchema."""
        parsed = schema_pb2.CollectionSchema.FromString(schema)
        key = primary_field(parsed)
        self.field = key.name
        self.is_text = key.data_type == schema_pb2.VarChar
        self.is_divided = has_partition_key(parsed)
        self._target = target
        self._database, self._name = name

    def page(self, partition: str, condition: str) -> list[Key]:
        """Return the smallest keys that meet a condition, in order, each once.

        "" stands for all partitions. Milvus goes by key always, Milvus Lite only in a
        query that says it is an iterator's. What was written before is seen.
        """
        request = milvus_pb2.QueryRequest(
            db_name=self._database,
            collection_name=self._name,
            partition_names=[partition] if partition else [],
            expr=condition,
            output_fields=[self.field],
            consistency_level=common_pb2.Strong,
        )
        most = MOST_TEXTS if self.is_text else MOST_NUMBERS
        request.query_params.add(key="limit", value=str(most))
        if self._target.is_lite:
            request.query_params.add(key="iterator", value="True")
        try:
            found = self._target.call("Query", request, self._database)
        except OperationRefusedError as refusal:
            if refusal.code != _EMPTY:
                raise
            return []
        return keys_in(found, self.field)


def keys_in(found: milvus_pb2.QueryResults, field: str) -> list[Key]:
    """Return the primary keys, in the field of that name, of rows that were found."""
    columns = [each.scalars for each in found.fields_data if each.field_name == field]
    return [
        key
        for scalars in columns
        for key in (scalars.long_data.data or scalars.string_data.data)
    ]
