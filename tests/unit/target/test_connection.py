"""What the target's answers mean: done, not now, or no."""

from __future__ import annotations

import pytest
from pymilvus.grpc_gen import common_pb2

from cdc_actors.errors import TransientError
from cdc_actors.target.connection import RateLimitError, TargetRefusal, check

UNEXPECTED = 65535
"""Milvus 2.3.5 has this code for whatever its components did not expect."""


def answer(code: int, reason: str = "") -> common_pb2.Status:
    """Return a status as Milvus answers it."""
    return common_pb2.Status(code=code, reason=reason)


@pytest.mark.parametrize(
    "reason",
    [
        "sync new partition failed, reason: NodeNotFound",
        "show collection failed: rpc error: code = Unavailable",
        "service not ready[querycoord=3]",
    ],
)
@pytest.mark.parametrize("method", ["CreatePartition", "LoadCollection", "Insert"])
def test_a_target_that_is_starting_is_asked_again(method: str, reason: str) -> None:
    """Operations are not given up, no more than rows, for a node that is away."""
    with pytest.raises(TransientError):
        check(answer(UNEXPECTED, reason), method)


@pytest.mark.parametrize("lite", [False, True])
def test_what_is_unclear_is_no_for_operations_and_not_now_for_rows(
    lite: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """An operation may be left out and is told of; rows may not."""
    unclear = answer(UNEXPECTED, "at most one distinct index is allowed per field")
    with pytest.raises(TargetRefusal, match="at most one"):
        check(unclear, "CreateIndex", lite=lite)
    with pytest.raises(TransientError):
        check(unclear, "Insert", lite=lite)


def test_rows_of_a_partition_that_is_not_known_yet() -> None:
    """Milvus (2.3.5) has answered so of one that it had just created."""
    with pytest.raises(TransientError):
        check(answer(200, "partition not found[partition=maps]"), "Insert")


def test_a_rate_limit_is_told_apart() -> None:
    """It is no failure: nothing was done, and waiting helps."""
    with pytest.raises(RateLimitError):
        check(answer(8, "rate limit exceeded"), "Flush")


def test_success_is_silent() -> None:
    """Milvus's own zero, old and new."""
    check(answer(0), "Insert")
