"""Aliases at the target. Everything may be asked twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.target.connection import TargetRefusal

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection

_NOT_FOUND = 1600


def set_alias(target: Connection, database: str, name: str, alias: str) -> None:
    """Make an alias stand for a collection, whatever it stood for before."""
    names = {"db_name": database, "collection_name": name, "alias": alias}
    try:
        target.call("CreateAlias", milvus_pb2.CreateAliasRequest(**names), database)
    except TargetRefusal as refusal:
        try:
            target.call("AlterAlias", milvus_pb2.AlterAliasRequest(**names), database)
        except TargetRefusal:
            # There is no such alias: what was in its way is what the first answer says.
            raise refusal from None


def drop_alias(target: Connection, database: str, alias: str) -> None:
    """Drop an alias if it is there."""
    request = milvus_pb2.DropAliasRequest(db_name=database, alias=alias)
    try:
        target.call("DropAlias", request, database)
    except TargetRefusal as refusal:
        if refusal.code != _NOT_FOUND and "does not exist" not in str(refusal):
            raise
