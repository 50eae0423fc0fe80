"""Which tasks are this service's, of several services on one store.

In a thread of its own: it claims tasks that nobody has, tells the supervisor of them, and
gives some back where others have fewer. What a former service sent for a task, and may be
under way, has come to its end before the task begins here.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.errors import CdcError
from cdc_actors.pipeline.owner_start import OwnerStart
from cdc_actors.service import rebuild
from cdc_actors.service.asking import ask
from cdc_actors.service.balance import MOST_MOVES, gives_back, to_claim, to_give_back
from cdc_actors.service.load_meter import LoadMeter
from cdc_actors.service.messages import HandOver, ListTasks, RebuildEnded, TaskLoaded
from cdc_actors.store.task_owners import Claimed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.service.comparisons import Comparisons
    from cdc_actors.service.stores import Stores
    from cdc_actors.store.task_owners import Census, TaskOwners

PASS_SECONDS = 0.5
"""How often to look for tasks that nobody has."""

MOST_CLAIMED = 500
"""How many are claimed at a time: who comes a moment later is to have some, too."""

REQUEST_SECONDS = 1.0
"""How long rows that a former service sent in time may take to be at a target."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A task that ends its work here; ``actor`` is None where there is none to end."""

    actor: pykka.ActorRef[Any] | None
    load: float


class Claiming:
    """Claims and gives back until it is ended. Begins at once."""

    def __init__(
        self,
        stores: Stores,
        owners: TaskOwners,
        supervisor: pykka.ActorRef[Any],
        comparisons: Comparisons,
    ) -> None:
        self._stores = stores
        self._owners = owners
        self._supervisor = supervisor
        self._comparisons = comparisons
        self._claimed: list[Claimed] = []
        self._resumed: list[str] = []
        self._left: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
        self._leaving: dict[str, _Leaving] = {}
        self._meter = LoadMeter()
        self._at_rest: dict[str, bool] = {}
        self._has_begun = False
        self._trouble = ""
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="claiming", daemon=True).start()

    def end(self) -> None:
        """Claim no more."""
        self._ended.set()

    def _run(self) -> None:
        # What is left to do when the supervisor has ended is nothing.
        with suppress(pykka.ActorDeadError):
            ids = rebuild.answer(self._stores.log.alive_ids, self._supervisor)
            rebuild.answer(lambda: self._owners.enrol(ids), self._supervisor)
            while not self._ended.is_set():
                if self._pass() and not self._has_begun:
                    self._has_begun = True
                    self._supervisor.tell(RebuildEnded())
                self._ended.wait(PASS_SECONDS)

    def _pass(self) -> bool:
        """Do what there is to do; tell whether the store has answered."""
        try:
            if self._trouble:
                self._find_ours()
            self._begin()
            self._give_back()
            self._measure()
            census = self._owners.census()
            self._claim(census)
            self._begin()
            self._hand_over(census)
        except pykka.ActorDeadError:
            raise
        except Exception as error:  # noqa: BLE001 - or nobody would claim here any more
            self._note(str(error) if isinstance(error, CdcError) else repr(error))
            return False
        self._note("")
        return True

    def _note(self, trouble: str) -> None:
        if trouble and not self._trouble:
            _log.warning("tasks_not_claimed", error=trouble)
        self._trouble = trouble

    def _find_ours(self) -> None:
        """Begin what a claim has made ours whose answer was lost."""
        ours = self._owners.ours()
        known = {*self._leaving, *(each.task_id for each in self._claimed)}
        if self._has_begun:
            known.update(self._known())
        self._claimed += [Claimed(i, was_left=True) for i in ours if i not in known]

    def _measure(self) -> None:
        """Have others know how much work our tasks are, as far as that has changed."""
        now = time.monotonic()
        if self._has_begun and self._meter.is_due(now):
            loads = self._meter.measure(ask(self._supervisor, ListTasks()), now)
            self._owners.note_loads(loads)
            self._meter.note_told(loads)

    def _claim(self, census: Census) -> None:
        if census.we_drain:
            return
        for share, paused in (census.running, False), (census.paused, True):
            count = min(MOST_CLAIMED, to_claim(share))
            self._claimed += self._owners.claim(count, paused=paused)

    def _begin(self) -> None:
        """Have the supervisor begin what was claimed; what fails is tried again."""
        owner_start, left = OwnerStart(), [i for i in self._claimed if i.was_left]
        if self._claimed:
            _log.info("tasks_claimed", tasks=len(self._claimed))
        self._load([i for i in self._claimed if not i.was_left], owner_start)
        if left and not self._ended.wait(REQUEST_SECONDS):
            self._load(left, owner_start)
        if self._resumed:
            self._comparisons.resume(self._resumed)
            self._resumed.clear()

    def _load(self, claimed: Sequence[Claimed], owner_start: OwnerStart) -> None:
        for each in claimed:
            snapshot = rebuild.load(
                each.task_id, self._stores, self._supervisor, was_moved=each.was_moved
            )
            if snapshot is None:
                self._owners.forget(each.task_id)
            else:
                self._meter.note_claimed(each, time.monotonic())
                self._supervisor.tell(TaskLoaded(snapshot, owner_start))
                self._resumed.append(each.task_id)
            self._claimed.remove(each)

    def _known(self) -> list[str]:
        seen = ask(self._supervisor, ListTasks())
        return [each.snapshot.task.task_id for each in seen]

    def _hand_over(self, census: Census) -> None:
        """Have the supervisor end the work for tasks, some of them for now."""
        ids = self._to_leave(census)
        if not ids:
            return
        self._comparisons.leave(ids)
        taken = ask(self._supervisor, HandOver(ids, self._left))
        for task_id, actor in taken.items():
            self._leaving[task_id] = _Leaving(actor, self._meter.told(task_id))
        self._resumed += [each for each in ids if each not in taken]

    def _to_leave(self, census: Census) -> list[str]:
        """Return the tasks that are to end here now, for others to have."""
        gone = [each.load for each in self._leaving.values()]
        room = max(0, MOST_MOVES - len(gone) + gone.count(0))
        if census.we_drain:
            running, paused = self._loads(self._known())
            return [*list(running)[:room], *paused]
        of_running = replace(census.running, ours=census.running.ours - sum(gone))
        of_paused = replace(census.paused, ours=census.paused.ours - gone.count(0))
        if not gives_back(of_running) and not gives_back(of_paused):
            return []
        now = time.monotonic()
        ids = [i for i in self._known() if not self._meter.stays(i, now)]
        running, paused = self._loads(ids)
        left = to_give_back(of_running, running)
        return left[:room] + to_give_back(of_paused, paused)

    def _loads(self, ids: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
        """Return the loads of the tasks that run, and 1 for each that is paused."""
        loads = {i: self._meter.told(i) for i in ids}
        running = {i: load for i, load in loads.items() if load}
        return running, dict.fromkeys(loads.keys() - running.keys(), 1.0)

    def _give_back(self) -> None:
        """Let others have what has come to its end here."""
        actors = {i: each.actor for i, each in self._leaving.items()}
        dead = [i for i, actor in actors.items() if actor and not actor.is_alive()]
        ended = dict(self._ended_runs())
        ended.update({i: True for i, actor in actors.items() if actor is None})
        # Who has died without a word may have sent what is under way.
        ended = dict.fromkeys(dead, False) | ended
        for at_rest in (True, False):
            ids = [i for i, rests in ended.items() if rests is at_rest]
            if ids:
                self._owners.give_back(ids, at_rest=at_rest)
                _log.info("tasks_given_back", tasks=len(ids))
            for task_id in ids:
                self._leaving.pop(task_id, None)
                self._at_rest.pop(task_id, None)

    def _ended_runs(self) -> dict[str, bool]:
        """Return the tasks that were left, and whether they are at rest."""
        with suppress(queue.Empty):
            while True:
                task_id, at_rest = self._left.get_nowait()
                self._at_rest[task_id] = at_rest
        return self._at_rest
