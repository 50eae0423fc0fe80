"""What Milvus Lite does in another way than Milvus, and what makes up for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.target.connection import TargetRefusal

if TYPE_CHECKING:
    from cdc_actors.changes import Key
    from cdc_actors.target.connection import Connection


def keys_in_partition(
    target: Connection, request: milvus_pb2.DeleteRequest, key_field: str
) -> list[Key]:
    """Return which of the keys that a delete names are in its partition.

    Lite (3.2.2) deletes a key from whatever partition has it, whichever one is named;
    Milvus only from that one.
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
    except TargetRefusal:
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
        release = milvus_pb2.ReleaseCollectionRequest(**where)
        target.call("ReleaseCollection", release, query.db_name)
