"""What Milvus Lite does in another way than Milvus, and what makes up for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.indexes import described

if TYPE_CHECKING:
    from cdc_actors.changes import Key
    from cdc_actors.target.connection import Connection


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
    columns = [f.scalars for f in found.fields_data if f.field_name == key_field]
    return [
        key
        for scalars in columns
        for key in (scalars.long_data.data or scalars.string_data.data)
    ]


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
