"""Indexes at the target: which there are, and whether a refused request is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import OperationRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.target.connection import Connection


def described(target: Connection, database: str, collection: str) -> list[Any]:
    """Return an IndexDescription for each index of the collection."""
    request = milvus_pb2.DescribeIndexRequest(
        db_name=database, collection_name=collection
    )
    try:
        found = target.call("DescribeIndex", request, database)
    except OperationRefusedError:  # Without an index this is an error.
        return []
    return list(found.index_descriptions)


def is_done(target: Connection, kind: str, message: Any) -> bool:
    """Tell whether what a refused request asks for is so: an equal index, or none.

    Milvus refuses an equal index of another name, Milvus Lite (3.2.2) every index of a
    field that has one; Milvus from 2.5 on refuses to drop what is not there.
    """
    if kind not in {"CreateIndex", "DropIndex"}:
        return False
    existing = described(target, message.db_name, message.collection_name)
    if kind == "CreateIndex":
        return any(_is_equal(index, message) for index in existing)
    if message.field_name:
        return all(index.field_name != message.field_name for index in existing)
    return all(index.index_name != message.index_name for index in existing)


def _is_equal(index: Any, wanted: milvus_pb2.CreateIndexRequest) -> bool:
    """What a server does not show (Milvus Lite: parameters) counts as equal."""
    shown = _params(index.params)
    return index.field_name == wanted.field_name and all(
        shown.get(name, value) == value
        for name, value in _params(wanted.extra_params).items()
    )


def _params(pairs: Iterable[Any]) -> dict[str, str]:
    """Return parameters by name; clients send some of them as one in JSON."""
    found = {pair.key: pair.value for pair in pairs}
    nested = json.loads(found.pop("params", "") or "{}")
    return found | {name: str(value) for name, value in nested.items()}
