"""Loads at the target, also those that ask for more than it has.

How many replicas a collection is loaded in, and in which resource groups, is about the
query nodes of the source. What is to be equal is that it can be searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from cdc_actors.errors import OperationRefusedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.target.connection import Connection

_LOAD_ATTEMPTS = 5
_LOAD_CHECK_DELAY = 0.5
"""Seconds after which a load is checked: Milvus Lite may have lost it by then."""

LOADS = frozenset({"LoadCollection", "LoadPartitions"})

_log = structlog.get_logger()


def load_with_less(
    target: Connection, kind: str, load: Any, refusal: OperationRefusedError
) -> str:
    """Ask what was refused of the default resource group, then for fewer replicas.

    Returns what was done without, and why.

    Raises:
        OperationRefusedError: The very ``refusal``, if nothing less is taken either.
    """
    for smaller in _smaller(load):
        try:
            target.call(kind, smaller, load.db_name)
        except OperationRefusedError:
            continue
        reduced = f"{_extent(smaller)} instead of {_extent(load)}: {refusal}"
        _log.warning("load_reduced", detail=reduced)
        return reduced
    raise refusal


def _smaller(load: Any) -> Iterator[Any]:
    """Yield the load with less and less."""
    smaller = type(load)()
    smaller.CopyFrom(load)
    if load.resource_groups:
        smaller.ClearField("resource_groups")
        yield smaller
    for replicas in range(load.replica_number - 1, 0, -1):
        smaller.replica_number = replicas
        yield smaller


def _extent(load: Any) -> str:
    replicas = max(1, load.replica_number)
    groups = ", ".join(load.resource_groups) or "the default resource group"
    return f"{replicas} replica{'s' * (replicas > 1)} in {groups}"


def load_and_check(target: Connection, database: str, name: str) -> None:
    """Load the collection, and see that it is.

    Milvus Lite (3.2.2) opens a collection that it has just renamed once for each request
    that comes at that time, and keeps the one that was opened last: the one that was
    loaded may be another.
    """
    request = milvus_pb2.LoadCollectionRequest(db_name=database, collection_name=name)
    for _ in range(_LOAD_ATTEMPTS):
        target.call("LoadCollection", request, database)
        target.wait(_LOAD_CHECK_DELAY)
        if is_loaded(target, database, name):
            return
    raise TransientError(f"the target does not keep {database}.{name} loaded")


def is_loaded(target: Connection, database: str, name: str) -> bool:
    """Tell whether the collection is loaded, or being loaded."""
    state = _state(target, database, name)
    return state in (common_pb2.LoadStateLoading, common_pb2.LoadStateLoaded)


def is_loading(target: Connection, database: str, name: str) -> bool:
    """Tell whether the collection is being loaded."""
    state = _state(target, database, name)
    return bool(state == common_pb2.LoadStateLoading)


def _state(target: Connection, database: str, name: str) -> Any:
    request = milvus_pb2.GetLoadStateRequest(db_name=database, collection_name=name)
    return target.call("GetLoadState", request, database).state


def wait_for_readers(target: Connection, database: str, name: str) -> None:
    """Wait until every reader of a loaded collection sees what was written until now.

    And until those have an answer that have asked for that. Others may see what was so
    some seconds before (seen on 2.3.5), but never less than anybody has seen.
    """
    request = milvus_pb2.QueryRequest(
        db_name=database,
        collection_name=name,
        output_fields=["count(*)"],
        consistency_level=common_pb2.Strong,
    )
    target.call("Query", request, database)
