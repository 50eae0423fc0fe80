"""Databases at the target, if it has any but the default one. Every call is idempotent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import KindRefusedError
from cdc_actors.target.outcomes import done_if

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection


def ensure_database(target: Connection, name: str) -> None:
    """Create the database unless it exists.

    A client's own request and the first collections of the database may create it at the
    same time.

    Raises:
        KindRefusedError: The target has no databases, or the user may not create any.
    """
    if name == DEFAULT_DATABASE or name in databases(target):
        return
    request = milvus_pb2.CreateDatabaseRequest(db_name=name)
    try:
        with done_if(lambda: name in databases(target)):
            target.call("CreateDatabase", request, DEFAULT_DATABASE)
    except KindRefusedError as refusal:
        raise KindRefusedError(
            f"{refusal}: allow it, or map {name} to `{DEFAULT_DATABASE}` with name_mapping",
        ) from refusal


def drop_database(target: Connection, name: str) -> None:
    """Drop the database if it exists."""
    if name in databases(target):
        request = milvus_pb2.DropDatabaseRequest(db_name=name)
        with done_if(lambda: name not in databases(target)):
            target.call("DropDatabase", request, DEFAULT_DATABASE)


def databases(target: Connection) -> set[str]:
    """Return the names of the databases; the default one alone if it has no others."""
    request = milvus_pb2.ListDatabasesRequest()
    try:
        return set(target.call("ListDatabases", request, DEFAULT_DATABASE).db_names)
    except KindRefusedError:
        return {DEFAULT_DATABASE}
