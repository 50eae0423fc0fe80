"""What Milvus Lite does in another way than Milvus, and what makes up for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.indexes import described
from cdc_actors.target.keys import keys_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdc_actors.changes import Key
    from cdc_actors.target.connection import Connection

REMEMBERED = 50_000
"""How many deleted keys are remembered before it is taken that any may have been."""


class UnflushedDeletes:
    """Which keys were deleted from Milvus Lite, and where, since it was told to flush.

    Of a deletion that it has not flushed Lite (3.2.2) forgets everything once the key is
    inserted again, into whatever partition. If that is another one, then whoever asks the
    old partition gets the old row again, a delete which names that partition takes the new
    row, and the old one is the key's once the new partition is dropped. Flushed before the
    insert, a deletion holds.
    """

    def __init__(self) -> None:
        self._unknown = True
        self._partitions: dict[Key, str] = {}

    def add(self, partition: str, keys: Sequence[Key]) -> None:
        """Remember what is about to be deleted; no partition stands for all of them."""
        for key in keys:
            other = self._partitions.get(key, partition) != partition
            self._partitions[key] = "" if other else partition
        if len(self._partitions) > REMEMBERED:
            self._partitions.clear()
            self._unknown = True

    def may_undo(self, partition: str, inserts: Iterable[Sequence[Key]]) -> bool:
        """Tell whether inserts may undo a delete: its key, another partition."""
        if self._unknown or not self._partitions:
            return self._unknown
        return any(
            self._partitions.get(key, partition) != partition
            for keys in inserts
            for key in keys
        )

    def flush(self, target: Connection, database: str, name: str) -> None:
        """Have Lite write down what was deleted, which then holds."""
        request = milvus_pb2.FlushRequest(db_name=database, collection_names=[name])
        target.call("Flush", request, database)
        self._partitions.clear()
        self._unknown = False


def send(target: Connection, kind: str, message: Any) -> None:
    """Send a request about a collection; raises as ``Connection.call`` does.

    In Lite (3.2.2) a collection without an index is always loaded, and stays so when it
    gets an index; in Milvus a client has to load it. Neither drops the index of a
    collection that is loaded, and at the source it was not loaded.
    """
    bare = kind == "CreateIndex" and not described(
        target, message.db_name, message.collection_name
    )
    if kind == "DropIndex":
        _insist_on_field(message)
        _release(target, message)
    target.call(kind, message, message.db_name)
    if bare:
        _release(target, message)


def _insist_on_field(request: milvus_pb2.DropIndexRequest) -> None:
    """Lite (3.2.2) forgets the names of indexes, and drops all where it knows no field."""
    if not request.field_name:
        raise OperationRefusedError(
            f"Milvus Lite would drop every index: of which field {request.index_name} was "
            "is not known any more"
        )


def _release(target: Connection, about: Any) -> None:
    request = milvus_pb2.ReleaseCollectionRequest(
        db_name=about.db_name, collection_name=about.collection_name
    )
    target.call("ReleaseCollection", request, about.db_name)


def keys_in_partition(
    target: Connection, request: milvus_pb2.DeleteRequest, key_field: str
) -> list[Key]:
    """Return which of the keys that a delete names are in its partition.

    Lite (3.2.2) deletes a key from every partition, although one is named; Milvus deletes
    it from that one only.
    """
    query = milvus_pb2.QueryRequest(
        db_name=request.db_name,
        collection_name=request.collection_name,
        partition_names=[request.partition_name],
        expr=request.expr,
        output_fields=[key_field],
    )
    try:
        found = target.call("Query", query, request.db_name)
    except OperationRefusedError:
        found = _query_unloaded(target, query)
    return keys_in(found, key_field)


def _query_unloaded(
    target: Connection, query: milvus_pb2.QueryRequest
) -> milvus_pb2.QueryResults:
    """Query a collection that is not to be loaded; raises as ``Connection.call`` does."""
    where = {"db_name": query.db_name, "collection_name": query.collection_name}
    load = milvus_pb2.LoadCollectionRequest(**where)
    target.call("LoadCollection", load, query.db_name)
    try:
        return target.call("Query", query, query.db_name)
    finally:
        _release(target, query)
