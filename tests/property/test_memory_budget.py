"""The service's memory is shared, bounded, and never all taken by others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.memory_budget import MemoryBudget

LIMIT = 1000


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 50)), max_size=200),
)
def test_whoever_has_room_stays_below_the_ceiling(
    holders: int, requests: list[tuple[int, int]]
) -> None:
    """Together they hold the limit at most, and one read of each beyond."""
    memory = MemoryBudget(LIMIT)
    quotas = [memory.quota(2.0) for _ in range(holders)]
    for who, size in requests:
        quota = quotas[who % holders]
        if quota.has_room():
            quota.hold(size)
        assert memory.used == sum(each.held for each in quotas)
        assert memory.used <= LIMIT + 50


@pytest.mark.parametrize("hogs", [1, 3, 20])
def test_there_is_always_room_for_one_that_begins(hogs: int) -> None:
    """However many take all they may, a late one gets two thirds of what they left."""
    memory = MemoryBudget(100 * LIMIT)
    quotas = [memory.quota(2.0) for _ in range(hogs)]
    while any(quota.has_room() for quota in quotas):
        for quota in quotas:
            if quota.has_room():
                quota.hold(1)
    left = memory.limit - memory.used
    assert left >= memory.limit / (2 * hogs + 1) - hogs
    late = memory.quota(2.0)
    while late.has_room():
        late.hold(1)
    assert late.held >= 2 * left // 3


def test_a_hold_is_released_once() -> None:
    """However often it is released, and resized between, the rest stays counted."""
    memory = MemoryBudget(LIMIT)
    quota = memory.quota(1.0)
    kept, released = quota.hold(3), quota.hold(10)
    released.resize(4)
    assert (memory.used, quota.held) == (7, 7)
    released.release()
    released.release()
    assert (memory.used, quota.held, kept.size) == (3, 3, 3)


def test_what_was_closed_holds_nothing() -> None:
    """What a thread that was left behind gives back later is not counted twice."""
    memory = MemoryBudget(LIMIT)
    quota = memory.quota(1.0)
    hold = quota.hold(10)
    quota.close()
    hold.release()
    quota.hold(5)
    quota.close()
    assert (memory.used, quota.held) == (0, 0)
