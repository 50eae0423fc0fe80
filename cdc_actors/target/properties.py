"""Properties of collections and databases at the target, and descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.collections import describe, key_values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from cdc_actors.target.connection import Connection

DESCRIPTION = "collection.description"
"""What Milvus (2.5) calls the description where it is altered; it is no property."""


CONSISTENCY = "consistency_level"
"""The property that alters the level that searches have unless they ask for another."""


def description_of(schema: bytes) -> str:
    """Return the description in a serialized ``schema.CollectionSchema``."""
    return str(schema_pb2.CollectionSchema.FromString(schema).description)


def alter_properties(
    target: Connection,
    database: str,
    name: str,
    altered: Mapping[str, str],
    dropped: Collection[str] = (),
) -> None:
    """Set some properties, and drop others; those that it has besides stay as they are.

    Raises:
        OperationRefusedError: The target refuses, or is too old for some of it: Milvus
            2.3 calls that done and does nothing.
    """
    for members in apart(altered, dropped):
        _alter(target, database, name, members)
    if dropped or altered.keys() & {DESCRIPTION, CONSISTENCY}:
        found = describe(target, database, name)
        undone = _undone(found, altered, dropped) if found is not None else []
        # Milvus Lite has one level of consistency.
        if undone and not (target.is_lite and undone == [CONSISTENCY]):
            raise OperationRefusedError(
                "the target is too old to drop properties or to alter the description or "
                f"the consistency level: {', '.join(undone)}"
            )


def alter_database(
    target: Connection,
    name: str,
    altered: Mapping[str, str],
    dropped: Collection[str],
) -> None:
    """Set some properties of a database, and drop others.

    Raises:
        OperationRefusedError: The target refuses, or is older than 2.4.
    """
    for members in apart(altered, dropped):
        request = milvus_pb2.AlterDatabaseRequest(db_name=name, **members)
        target.call("AlterDatabase", request, DEFAULT_DATABASE)


def apart(
    altered: Mapping[str, str], dropped: Collection[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield what requests say that set and drop something: Milvus takes none with both."""
    if altered:
        yield {"properties": key_values(altered)}
    if dropped:
        yield {"delete_keys": dropped}


def _alter(
    target: Connection, database: str, name: str, members: Mapping[str, Any]
) -> None:
    """Ask twice: Milvus (2.3.5) stores, and shows after a restart, what was before."""
    request = milvus_pb2.AlterCollectionRequest(
        db_name=database, collection_name=name, **members
    )
    for _ in range(1 if target.is_lite else 2):
        target.call("AlterCollection", request, database)


def _undone(
    found: Any, altered: Mapping[str, str], dropped: Collection[str]
) -> list[str]:
    kept = sorted(each.key for each in found.properties if each.key in dropped)
    description = altered.get(DESCRIPTION, found.schema.description)
    level = common_pb2.ConsistencyLevel.Name(found.consistency_level)
    differing = {
        DESCRIPTION: found.schema.description != description,
        CONSISTENCY: level != altered.get(CONSISTENCY, level),
    }
    return [*kept, *(name for name, differs in differing.items() if differs)]
