"""Aliases at the target. Everything may be asked twice."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.target.connection import TargetRefusal

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection

_NOT_FOUND = 1600
_TRIES = 3


def set_alias(target: Connection, database: str, name: str, alias: str) -> None:
    """Make an alias stand for a collection, whatever it stood for before.

    What it stood for may be dropped at the same time by another task, and the alias with
    it: between the two requests it comes to be free.
    """
    names = {"db_name": database, "collection_name": name, "alias": alias}
    create = milvus_pb2.CreateAliasRequest(**names)
    alter = milvus_pb2.AlterAliasRequest(**names)
    with target.aliases:
        for _ in range(_TRIES):
            try:
                target.call("CreateAlias", create, database)
            except TargetRefusal as refusal:
                in_the_way = refusal
            else:
                return
            with suppress(TargetRefusal):
                target.call("AlterAlias", alter, database)
                return
    # There is no such alias: what is in its way is what the other answer says.
    raise in_the_way


def drop_alias(target: Connection, database: str, alias: str) -> None:
    """Drop an alias if it is there."""
    request = milvus_pb2.DropAliasRequest(db_name=database, alias=alias)
    try:
        target.call("DropAlias", request, database)
    except TargetRefusal as refusal:
        if refusal.code != _NOT_FOUND and "does not exist" not in str(refusal):
            raise
