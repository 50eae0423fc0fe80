"""Loads that ask for more than the target has.

How many replicas a collection is loaded in, and in which resource groups, is about the
query nodes of the source. What is to be equal is that it can be searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.errors import OperationRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.target.connection import Connection

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
