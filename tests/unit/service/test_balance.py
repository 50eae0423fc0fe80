"""How services share the tasks of a store: all are had, evenly, and none moves for ever."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.service.balance import (
    MOST_MOVES,
    UNEVEN,
    UNEVEN_PART,
    to_claim,
    to_give_back,
)
from cdc_actors.store.task_owners import Share

if TYPE_CHECKING:
    from random import Random

LOADS = st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.2, 2.5, 7.0, 40.0]), max_size=20)
OF_SERVICES = st.lists(LOADS, min_size=1, max_size=5)
MOST_ROUNDS = 150
"""More than the moves of a hundred tasks, a few at a time, can take."""


@dataclass
class Store:
    """The loads of each service's tasks, and of nobody's, by name; some are ``going``."""

    tasks: list[dict[str, float]]
    free: dict[str, float]
    drains: list[bool]
    going: list[list[str]] = field(default_factory=list)
    moves: int = 0

    @classmethod
    def of(
        cls, tasks: list[list[float]], free: list[float], drains: list[bool]
    ) -> Store:
        """Return one with tasks of these loads."""
        named = [
            {f"{number}-{of}": load for number, load in enumerate(loads)}
            for of, loads in enumerate([*tasks, free])
        ]
        going: list[list[str]] = [[] for _ in tasks]
        return cls(named[:-1], named[-1], drains[: len(tasks)], going)

    def share(self, us: int) -> Share:
        """Count as ``TaskOwners.census`` does."""
        others = [
            sum(tasks.values())
            for number, tasks in enumerate(self.tasks)
            if number != us and not self.drains[number]
        ]
        free = sum(self.free.values())
        return Share(sum(self.tasks[us].values()), others, free, len(self.free))

    def do(self, us: int, *, rests: bool = True) -> bool:
        """Make one pass, in the order in which ``Claiming`` does; tell if it did a thing.

        What is on its way ends only if it ``rests``.
        """
        ours, going = self.tasks[us], self.going[us]
        ended = going if rests else []
        self.free.update({name: ours.pop(name) for name in ended})
        self.going[us] = going = [each for each in going if each not in ended]
        share = self.share(us)
        we_drain = self.drains[us] and bool(share.others)
        count = 0 if we_drain else to_claim(share)
        assert 0 <= count <= len(self.free)
        claimed = sorted(self.free)[:count]
        kept = {name: load for name, load in ours.items() if name not in going}
        share = replace(share, ours=sum(kept.values()))
        gone = list(kept) if we_drain else to_give_back(share, kept)
        gone = gone[: MOST_MOVES - len(going)]
        going += gone
        self.moves += len(gone)
        ours.update({name: self.free.pop(name) for name in claimed})
        return bool(ended or claimed or going)

    @property
    def working(self) -> list[dict[str, float]]:
        """What each has of those that are to have tasks."""
        kept = zip(self.tasks, self.drains, strict=True)
        return [tasks for tasks, drains in kept if not drains] or self.tasks

    def settle(self, random: Random) -> None:
        """Have the services make passes in any order until there is nothing to do."""
        for number in range(MOST_ROUNDS):
            order = random.sample(range(len(self.tasks)), len(self.tasks))
            rests = number % 2 == 0 or random.random() < 0.5
            if True not in [self.do(us, rests=rests) for us in order]:
                return
        pytest.fail(f"tasks still move: {self}")


@given(
    tasks=OF_SERVICES,
    free=LOADS,
    drains=st.lists(st.booleans(), min_size=5, max_size=5),
    random=st.randoms(use_true_random=False),
)
def test_all_tasks_are_had_evenly_in_the_end(
    tasks: list[list[float]], free: list[float], drains: list[bool], random: Random
) -> None:
    """From any start, with passes in any order; then nothing moves any more.

    What is uneven then is so by tasks that are themselves too large to move.
    """
    store = Store.of(tasks, free, drains)
    store.settle(random)
    assert not store.free
    assert sum(map(len, store.tasks)) == sum(map(len, tasks)) + len(free)
    if all(store.drains):
        return
    assert sum(map(len, store.working)) == sum(map(len, store.tasks))
    loads = [sum(each.values()) for each in store.working]
    mean = sum(loads) / len(loads)
    uneven = max(UNEVEN, UNEVEN_PART * mean)
    gap = max(loads) - min(loads)
    fullest = max(store.working, key=lambda each: sum(each.values()))
    too_large = [load for load in fullest.values() if load > gap - uneven / 2]
    others = sum(fullest.values()) - sum(too_large)
    assert gap < uneven or others < uneven


@given(
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=5),
    free=st.integers(0, 60),
    random=st.randoms(use_true_random=False),
)
def test_tasks_without_work_are_had_by_number(
    counts: list[int], free: int, random: Random
) -> None:
    """Each has as many, give or take one, or a fifth of them."""
    store = Store.of([[1.0] * n for n in counts], [1.0] * free, [False] * 5)
    store.settle(random)
    numbers = [len(each) for each in store.tasks]
    mean = sum(numbers) / len(numbers)
    assert max(numbers) - min(numbers) < max(2, 0.2 * mean) + 1


@given(counts=st.lists(st.integers(0, 20), min_size=1), free=st.integers(0, 60))
def test_there_is_always_one_that_claims(counts: list[int], free: int) -> None:
    """Whoever has least; nothing that is free stays so."""
    store = Store.of([[1.0] * n for n in counts], [2.5] * free, [False] * len(counts))
    claims = [to_claim(store.share(each)) for each in range(len(counts))]
    assert (max(claims) > 0) == (free > 0)
    assert claims[counts.index(min(counts))] == max(claims)


@pytest.mark.parametrize(
    ("share", "claims"),
    [
        (Share(0, [], 5, 5), 5),
        (Share(0, [0], 5, 5), 3),
        (Share(2, [2, 1], 1, 1), 0),
        (Share(0, [0, 100], 10, 10), 5),
        (Share(0, [9.5], 9, 2), 2),
        (Share(9.5, [0], 9, 2), 0),
        (Share(0, [6], 9, 2), 2),
        (Share(93, [2], 93, 1), 0),
        (Share(2, [93], 93, 1), 1),
        (Share(0, [0, 0], 1, 1), 1),
    ],
    ids=[
        *("alone", "the first of two", "one has less", "one has far too much"),
        *("another works more", "we work more", "what is too much for one"),
        *("we just gave it back", "another gave it back", "all are alike"),
    ],
)
def test_who_claims(share: Share, claims: int) -> None:
    """Who has least, up to where all have as much."""
    assert to_claim(share) == claims


ONES = {str(number): 1.0 for number in range(90)}
MIXED = {"large": 50.0, "a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    ("others", "free", "loads", "gives"),
    [
        ([2], 0, {"a": 1.0, "b": 1.0, "c": 1.0}, 0),
        ([1], 0, {"a": 1.0, "b": 1.0, "c": 1.0}, 1),
        ([0, 0], 0, ONES, 60),
        ([0, 0], 1, ONES, 0),
        ([80], 0, ONES, 0),
        ([10], 0, MIXED, 0),
        ([0], 0, {"a": 20.0, "b": 20.0}, 1),
        ([0], 0, {"a": 20.0}, 0),
        ([104.0] * 18 + [0], 0, {str(n): 1.0 for n in range(104)}, 10),
    ],
    ids=[
        *("even", "uneven", "very uneven", "some are free", "even enough"),
        *("one is too large to move", "one of two large ones", "only one"),
        "a new one among many",
    ],
)
def test_who_gives_back(
    others: list[float], free: int, loads: dict[str, float], gives: int
) -> None:
    """Who has far more than another, if what goes makes both more alike."""
    share = Share(sum(loads.values()), others, free, free)
    assert len(to_give_back(share, loads)) == gives


def test_few_large_ones_go_rather_than_many_small_ones() -> None:
    """Each that moves stands still for a moment."""
    loads = {"a": 1.0, "b": 9.0, "c": 1.0, "d": 9.0}
    assert to_give_back(Share(20, [0], 0, 0), loads) == ["b", "a"]


def test_a_third_one_gets_its_share_in_few_moves() -> None:
    """No task moves that need not."""
    store = Store.of([[1.0] * 4, [1.0] * 3, []], [], [False] * 3)
    for _ in range(9):
        for us in range(3):
            store.do(us)
    assert sorted(map(len, store.tasks)) == [2, 2, 3]
    assert store.moves == 2
