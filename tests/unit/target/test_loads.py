"""Loads that ask for more than the target has."""

from __future__ import annotations

from typing import Any

import pytest
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import Request
from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.requests import forward


class Target:
    """A Milvus with some query nodes, all in the default resource group."""

    is_lite = False

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self.loaded: tuple[int, list[str]] | None = None

    def call(self, method: str, request: Any, _database: str) -> None:
        """Load what there are nodes for; the words are those of Milvus 2.3.5."""
        assert method in {"LoadCollection", "LoadPartitions"}
        if request.resource_groups:
            raise OperationRefusedError("resource group not found[rg=rg9]", 300)
        if request.replica_number > self._nodes:
            raise OperationRefusedError("nodes not enough", 65535)
        self.loaded = request.replica_number, list(request.resource_groups)


def load(kind: str, target: Target, **fields: Any) -> str:
    """Forward a client's load; return what was done without."""
    message = getattr(milvus_pb2, f"{kind}Request")(**fields)
    request = Request(kind, 7, "default", ("a",), message.SerializeToString())
    return forward(target, request, ("default", "a"))


@pytest.mark.parametrize("kind", ["LoadCollection", "LoadPartitions"])
@pytest.mark.parametrize(
    ("replicas", "groups", "loaded"),
    [(0, [], 0), (1, [], 1), (1, ["rg9"], 1), (2, ["rg9"], 2), (4, ["rg9"], 3)],
)
def test_what_there_is_no_room_for_is_left_out(
    kind: str, replicas: int, groups: list[str], loaded: int
) -> None:
    """As many replicas as there are nodes for, in the groups that there are."""
    target = Target(nodes=3)
    reduced = load(kind, target, replica_number=replicas, resource_groups=groups)
    assert target.loaded == (loaded, [])
    assert bool(reduced) == bool(groups)


def test_it_is_said_what_was_left_out() -> None:
    """With the target's own words."""
    reduced = load(
        "LoadCollection", Target(1), replica_number=2, resource_groups=["rg9"]
    )
    assert reduced == (
        "1 replica in the default resource group instead of 2 replicas in rg9: resource "
        "group not found[rg=rg9]"
    )


def test_what_cannot_be_loaded_at_all_is_refused() -> None:
    """The refusal is that of what was asked, not of the last try."""
    with pytest.raises(OperationRefusedError, match="not found"):
        load("LoadCollection", Target(0), replica_number=2, resource_groups=["rg9"])
