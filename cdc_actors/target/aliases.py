"""Aliases at the target. Every call is idempotent."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import KindRefusedError, OperationRefusedError

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection

_NOT_FOUND = 1600
_ATTEMPTS = 3


def set_alias(target: Connection, database: str, name: str, alias: str) -> None:
    """Point an alias at a collection, whatever it pointed at before.

    Another task may drop that collection, and the alias with it, at the same time: then
    the alias exists for the first request and is free at the second, or the reverse.
    """
    names = {"db_name": database, "collection_name": name, "alias": alias}
    create = milvus_pb2.CreateAliasRequest(**names)
    alter = milvus_pb2.AlterAliasRequest(**names)
    with target.alias_lock:
        for _ in range(_ATTEMPTS):
            try:
                target.call("CreateAlias", create, database)
            except KindRefusedError:
                raise
            except OperationRefusedError as refusal:
                create_refusal = refusal
            else:
                return
            with suppress(OperationRefusedError):
                target.call("AlterAlias", alter, database)
                return
    # The alias does not exist, so the answer to its creation names the obstacle.
    raise create_refusal


def aliases_of(target: Connection, database: str, name: str) -> list[str]:
    """Return the aliases of a collection that is there."""
    names = {"db_name": database, "collection_name": name}
    if target.is_lite:
        # It does not show them with the collection.
        listing = milvus_pb2.ListAliasesRequest(**names)
        return list(target.call("ListAliases", listing, database).aliases)
    request = milvus_pb2.DescribeCollectionRequest(**names)
    return list(target.call("DescribeCollection", request, database).aliases)


def drop_alias(target: Connection, database: str, alias: str) -> None:
    """Drop an alias if it is there; the caller holds ``alias_lock``."""
    request = milvus_pb2.DropAliasRequest(db_name=database, alias=alias)
    try:
        target.call("DropAlias", request, database)
    except OperationRefusedError as refusal:
        if refusal.code != _NOT_FOUND and "does not exist" not in str(refusal):
            raise
