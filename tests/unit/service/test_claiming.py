"""How services of one store come to their tasks, and let others have some."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from cdc_actors.errors import UnavailableError
from cdc_actors.pipeline.work import AppliedRows
from cdc_actors.service import claiming, load_meter
from cdc_actors.service.claiming import Claiming
from cdc_actors.service.messages import HandOver, ListTasks, RebuildEnded, TaskLoaded
from cdc_actors.service.snapshot import Observation, ProgressMonitor
from cdc_actors.store.task_owners import Census, Claimed, Share
from tests.support.cdc import wait_until
from tests.support.tasks import CLIENT, new_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cdc_actors.service.snapshot import TaskSnapshot
    from cdc_actors.tasks import Task

MEGABYTE = 1_000_000


class Rows:
    """The rows of a store: who has a task, how it was left, and its load."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = {each.task_id: each for each in tasks}
        self.owner = dict.fromkeys(self.tasks, "")
        self.left: dict[str, Claimed] = {i: Claimed(i) for i in self.tasks}
        self.loads = dict.fromkeys(self.tasks, 1.0)
        self.services: list[str] = []
        self.drains: set[str] = set()
        self.refused: Counter[str] = Counter()
        self.is_away = self.loses_an_answer = False
        self.lock = threading.RLock()

    def of(self, token: str) -> list[str]:
        """Return the tasks that a service has, or nobody."""
        with self.lock:
            return [i for i, owner in self.owner.items() if owner == token]

    def work(self, token: str) -> float:
        """Return the loads of these."""
        with self.lock:
            return sum(self.loads[i] for i in self.of(token))


class Owners:
    """The rows, as one service uses them: see ``TaskOwners``."""

    def __init__(self, rows: Rows, token: str) -> None:
        self.rows, self.token = rows, token
        rows.services.append(token)

    def enrol(self, task_ids: Iterable[str]) -> None:
        """Look that they are tasks."""
        self._ask()
        assert set(task_ids) <= self.rows.owner.keys()

    def census(self) -> Census:
        """Count them."""
        self._ask()
        with self.rows.lock:
            others = {*self.rows.services} - {self.token} - self.rows.drains
            kinds = [self._share(sorted(others), paused=paused) for paused in (0, 1)]
            we_drain = self.token in self.rows.drains and bool(others)
            return Census(kinds[0], kinds[1], we_drain)

    def _share(self, others: list[str], *, paused: int) -> Share:
        def loads(token: str) -> list[float]:
            found = [self.rows.loads[i] for i in self.rows.of(token)]
            return (
                [1.0 for load in found if not load]
                if paused
                else [*filter(None, found)]
            )

        free = loads("")
        sums = [sum(loads(each)) for each in (self.token, *others)]
        return Share(sums[0], sums[1:], sum(free), len(free))

    def claim(self, limit: int, *, paused: bool = False) -> list[Claimed]:
        """Have tasks that nobody has."""
        self._ask()
        with self.rows.lock:
            free = [i for i in self.rows.of("") if (self.rows.loads[i] == 0) is paused]
            self.rows.owner.update(dict.fromkeys(free[:limit], self.token))
            found = [replace(self.rows.left[i], load=self.rows.loads[i]) for i in free]
        if found[:limit] and self.rows.loses_an_answer:
            self.rows.loses_an_answer = False
            raise UnavailableError("the answer was lost")
        return found[:limit]

    def note_loads(self, loads: Mapping[str, float]) -> None:
        """Know the loads of tasks that it has."""
        self._ask()
        with self.rows.lock:
            assert loads.keys() <= set(self.ours())
            self.rows.loads.update(loads)

    def ours(self) -> list[str]:
        """Return what it has."""
        return self.rows.of(self.token)

    def give_back(self, task_ids: Sequence[str], *, at_rest: bool) -> None:
        """Let others have some of these."""
        self._ask()
        with self.rows.lock:
            assert {*task_ids} <= {*self.ours()}
            for each in task_ids:
                self.rows.left[each] = Claimed(each, not at_rest, was_moved=True)
                self.rows.owner[each] = ""

    def forget(self, task_id: str) -> None:
        """Know that a task is no more."""
        with self.rows.lock:
            del self.rows.owner[task_id]

    def _ask(self) -> None:
        if self.rows.is_away:
            self.rows.refused[self.token] += 1
            raise UnavailableError("the store is away")


class FakeSupervisor(pykka.ThreadingActor):
    """Has tasks, to some of which rows are applied all the time."""

    def __init__(self, busy: Mapping[str, int]) -> None:
        super().__init__()
        self.busy = busy
        self.tasks: dict[str, TaskSnapshot] = {}
        self.told: list[Any] = []
        self.actors: dict[str, Any] = {}

    def on_receive(self, message: Any) -> Any:
        """Do what is asked of a supervisor."""
        match message:
            case TaskLoaded():
                self.told.append(message)
                self.tasks[message.snapshot.task.task_id] = message.snapshot
            case RebuildEnded():
                self.told.append(message)
            case ListTasks():
                return [self._observed(i) for i in self.tasks]
            case HandOver():
                return self._hand_over(message)
        return None

    def _observed(self, task_id: str) -> Observation:
        snapshot = self.tasks[task_id]
        sent = snapshot.applied.inserted_bytes + self.busy.get(task_id, 0)
        applied = AppliedRows(inserted_bytes=sent)
        self.tasks[task_id] = snapshot = replace(snapshot, applied=applied)
        return Observation(snapshot, ProgressMonitor(0, 0))

    def _hand_over(self, message: HandOver) -> dict[str, Any]:
        taken = {i: self.actors.get(i) for i in message.task_ids if i in self.tasks}
        for task_id, actor in taken.items():
            del self.tasks[task_id]
            if actor and actor.is_alive():
                message.left.put((task_id, True))
        return taken


class Comparisons:
    """Goes on with the comparisons of tasks; see there."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def resume(self, task_ids: Iterable[str]) -> None:
        """Count the tasks for which it went on."""
        self.of.update(task_ids)

    def leave(self, task_ids: Iterable[str]) -> None:
        """Count those that left."""
        self.of.subtract(task_ids)


class Services:
    """Services on one store that are started."""

    def __init__(self, rows: Rows, busy: Mapping[str, int]) -> None:
        self.rows, self.busy = rows, busy
        self.started: list[tuple[Claiming, pykka.ActorRef[Any]]] = []

    def start(self, token: str) -> tuple[pykka.ActorRef[Any], Comparisons]:
        """Start one."""
        log = SimpleNamespace(
            alive_ids=lambda: list(self.rows.tasks), load=self.rows.tasks.__getitem__
        )
        stores: Any = SimpleNamespace(
            log=log,
            names=SimpleNamespace(hold_only=lambda _names, _task_id: None),
            secrets=SimpleNamespace(is_outdated=lambda _secret: False),
        )
        ref, comparisons = FakeSupervisor.start(self.busy), Comparisons()
        owners: Any = Owners(self.rows, token)
        compares: Any = comparisons
        self.started.append((Claiming(stores, owners, ref, compares), ref))
        return ref, comparisons

    def end(self) -> None:
        """End all."""
        for each, ref in self.started:
            each.end()
            ref.stop()


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    """Return a store of four tasks that nobody has, in a world that goes faster."""
    monkeypatch.setattr(claiming, "PASS_SECONDS", 0.01)
    monkeypatch.setattr(load_meter, "MEASURE_SECONDS", 0.05)
    tasks = [new_task() for _ in range(4)]
    for each in tasks:
        each.collect_events()
    return Rows(tasks)


@pytest.fixture
def busy() -> dict[str, int]:
    """Return how many bytes are applied to a task from one measuring to the next."""
    return {}


@pytest.fixture
def services(rows: Rows, busy: dict[str, int]) -> Iterator[Services]:
    """Yield services of which none is started."""
    services = Services(rows, busy)
    yield services
    services.end()


def told(ref: pykka.ActorRef[Any]) -> list[Any]:
    """Return what a supervisor was told."""
    found: list[Any] = ref.proxy().told.get()
    return found


def test_the_first_one_has_all_and_a_second_one_half(
    rows: Rows, services: Services
) -> None:
    """Each task begins where it is, and its comparison goes on there alone."""
    first, compared = services.start("a")
    wait_until(lambda: len(rows.of("a")) == 4, "the first one has all")
    wait_until(lambda: RebuildEnded() in told(first), "it knows all of them")
    second, compared_too = services.start("b")
    wait_until(lambda: len(rows.of("b")) == 2, "the second one has half")
    wait_until(lambda: len(second.proxy().tasks.get()) == 2, "they have begun")
    assert sorted([*first.proxy().tasks.get(), *second.proxy().tasks.get()]) == sorted(
        rows.tasks
    )
    assert told(first).count(RebuildEnded()) == 1
    wait_until(lambda: compared_too.of.total() == 2, "their comparisons, too")
    assert compared.of + compared_too.of == Counter([*rows.tasks])


def test_two_tasks_with_much_work_come_to_be_of_two_services(
    rows: Rows, services: Services, busy: dict[str, int]
) -> None:
    """Though each had as many tasks before; and then they stay."""
    services.start("a")
    services.start("b")
    wait_until(lambda: [len(rows.of(each)) for each in "ab"] == [2, 2], "half each")
    one, other = rows.of("a")
    busy.update(dict.fromkeys([one, other], 10 * MEGABYTE))
    wait_until(lambda: rows.owner[one] != rows.owner[other] != "", "they are apart")
    wait_until(lambda: min(map(rows.work, "ab")) > 50, "both have work")


def test_what_is_paused_is_spread_apart(rows: Rows, services: Services) -> None:
    """Two of four are: each service has one of them, and one that runs."""
    paused = [*rows.tasks][:2]
    rows.loads.update(dict.fromkeys(paused, 0.0))
    for each in paused:
        rows.tasks[each].pause("for the test", [], who=CLIENT, why="test")
        rows.tasks[each].collect_events()
    services.start("a")
    services.start("b")

    def spread() -> bool:
        counts = [Counter(i in paused for i in rows.of(each)) for each in "ab"]
        return counts == [{True: 1, False: 1}] * 2

    wait_until(spread, "each has one of each kind")


def test_a_claim_whose_answer_was_lost_is_found(rows: Rows, services: Services) -> None:
    """The store had it done: the tasks begin once it answers, late enough."""
    rows.loses_an_answer = True
    ref, _ = services.start("a")
    wait_until(lambda: RebuildEnded() in told(ref), "all have begun")
    wait_until(lambda: len(ref.proxy().tasks.get()) == 4, "all have begun")


def test_who_drains_has_none_in_the_end(
    rows: Rows, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And some again if it may, while nothing is lost on the way."""
    monkeypatch.setattr(load_meter, "STAY_SECONDS", 0.0)
    services.start("a")
    services.start("b")
    wait_until(lambda: not rows.of(""), "all are had")
    rows.drains.add("a")
    wait_until(lambda: len(rows.of("b")) == 4, "the other one has all")
    rows.drains.add("b")
    wait_until(lambda: not rows.of(""), "where all drain, all are had")
    rows.drains.clear()
    wait_until(lambda: not rows.of(""), "all are had")
    wait_until(lambda: [len(rows.of(each)) for each in "ab"] == [2, 2], "half each")


def test_a_store_that_was_away_is_asked_again(rows: Rows, services: Services) -> None:
    """From the first question on; what was to be given back is, later."""
    rows.is_away = True
    ref, _ = services.start("a")
    wait_until(lambda: rows.refused["a"], "it was asked in vain")
    rows.is_away = False
    wait_until(lambda: len(ref.proxy().tasks.get()) == 4, "all have begun")
    rows.refused.clear()
    rows.is_away = True
    services.start("b")
    rows.drains.add("a")
    wait_until(lambda: rows.refused["a"] and rows.refused["b"], "both ask in vain")
    rows.is_away = False
    wait_until(lambda: len(rows.of("b")) == 4, "the other one has all")


def test_one_whose_actor_has_died_may_have_sent_something(
    rows: Rows, services: Services
) -> None:
    """Who has it next waits until that has come to its end."""
    ref, _ = services.start("a")
    wait_until(lambda: len(ref.proxy().tasks.get()) == 4, "all have begun")
    dead = FakeSupervisor.start({})
    dead.stop()
    one = next(iter(rows.tasks))
    ref.proxy().actors = {one: dead}
    services.start("b")
    rows.drains.add("a")
    wait_until(lambda: len(rows.of("b")) == 4, "the other one has all")
    assert [i for i, left in rows.left.items() if left.was_left] == [one]
