"""The time in which this process owns the store: before it and after it, it writes nothing.

A lease says who owns it (``store.ownership``). Who does not get it waits, and takes over
when the owner is gone; who loses it ends all work at once, and starts again from the event
log once it has it again.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.errors import (
    CdcError,
    RequestError,
    TaskElsewhereError,
    TaskMovesError,
    UnavailableError,
)
from cdc_actors.service.asking import ANSWER_SECONDS
from cdc_actors.service.claiming import Claiming
from cdc_actors.service.comparisons import Comparisons
from cdc_actors.service.messages import ListTasks, Rebuild, Shutdown, StoreLost
from cdc_actors.service.retention import RetentionWatch
from cdc_actors.service.store_check import StoreCheck
from cdc_actors.service.stores import Stores
from cdc_actors.service.supervisor_actor import Supervisor
from cdc_actors.service.task_actor import TaskActor
from cdc_actors.store.audit.verify import verify
from cdc_actors.store.history import History
from cdc_actors.store.ownership import Owner, StoreOwnedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from cdc_actors.config import Config
    from cdc_actors.service.retention import Retention
    from cdc_actors.service.source_clock import SourceClock
    from cdc_actors.store.event_log import TaskLog
    from cdc_actors.store.ownership import Lease, Node
    from cdc_actors.store.task_owners import TaskOwners

POLL_SECONDS = 0.5
"""How often an owner looks whether it still is one, and who waits whether it may be."""

END_SECONDS = 5.0
"""How long the work of a lost tenure may take to end before another one begins."""

MOVING_SECONDS = 3.0
"""How long what is asked of a task that moves from one service to another is held up."""

MOVING_POLL_SECONDS = 0.1

STARTING = "the service is starting, try again in a moment"
ENDING = "the service is stopping, try again in a moment"

_log = structlog.get_logger()


class Tenure:
    """The open stores, and supervisor and comparisons of their tasks, for any thread."""

    def __init__(self, config: Config, clock: SourceClock, lease: Lease) -> None:
        """Open the stores, of which ``lease`` was taken, and begin to rebuild the tasks.

        Does not wait for them.

        Raises:
            OperatorError: The log or the key to its secrets cannot be used.
            UnavailableError: The log does not answer.
        """
        self.stores = Stores.open(config, lease)
        self.history = History(self.stores.log)
        self.store_check = StoreCheck(self.stores.log)
        self.supervisor = Supervisor.start(config, self.stores, clock)
        self.supervisor.tell(Rebuild())
        self.retention = RetentionWatch(
            config.source_config, self.stores.checkpoints, self.supervisor
        )
        self.comparisons = Comparisons(
            config.source_config, self.stores, self.supervisor
        )
        self._claiming: Claiming | None = None
        if owners := self.stores.owners:
            self._claiming = Claiming(
                self.stores, owners, self.supervisor, self.comparisons
            )
        else:
            self.comparisons.resume()
        if config.meta_store_config.verify_at_start:
            # Beside all else: nobody is to wait for it, and nothing can be undone by it.
            threading.Thread(
                target=_verify, args=[self.stores.log], daemon=True
            ).start()

    def suspend(self, reason: str) -> None:
        """Write nothing any more, at once; show the tasks as they were, and the reason."""
        self._end_helpers(reason)
        self.stores.log.close()
        with suppress(pykka.ActorDeadError):
            self.supervisor.tell(StoreLost(reason))

    def end(self, deadline: float) -> None:
        """End all work and keep the checkpoints, until a time of the monotonic clock."""
        self._end_helpers(ENDING)
        # Who has died has nothing to end. Who waits for a server that hangs is left
        # behind: its thread is a daemon.
        try:
            ends: Any = ()
            with suppress(pykka.Timeout, pykka.ActorDeadError):
                ends = self.supervisor.ask(Shutdown(), timeout=_left(deadline))
            _await(ends, deadline)
            tasks = pykka.ActorRegistry.get_by_class(TaskActor)
            _await([ref.stop(block=False) for ref in tasks], deadline)
            _await([self.supervisor.stop(block=False)], deadline)
        finally:
            self.stores.log.close()

    def _end_helpers(self, reason: str) -> None:
        self.store_check.end(reason)
        self.retention.end()
        self.comparisons.stop()
        if self._claiming is not None:
            self._claiming.end()


class Ownership:
    """Holds the lease, and the tenure while it does, by a thread of its own."""

    def __init__(self, lease: Lease, begin: Callable[[], Tenure]) -> None:
        """``begin`` is called whenever the lease was taken."""
        self._lease = lease
        self._begin = begin
        self._held = False
        self._tenure: Tenure | None = None
        self._reason = STARTING
        self._other: Owner | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Become the owner, or wait for that in the background.

        Raises:
            CdcError: The store cannot be used, for another reason than its owner.
        """
        try:
            self._acquire()
        except StoreOwnedError as error:
            self._wait(error)
        self._thread.start()

    def stop(self, deadline: float) -> None:
        """End the tenure and give the lease back."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_left(deadline))
        if self._tenure is not None:
            self._tenure.end(deadline)
        self._lease.release()

    @property
    def tenure(self) -> Tenure:
        """The present tenure, or the one just lost, while nobody else owns the store.

        Raises:
            UnavailableError: There is none; the text says why and who owns the store.
        """
        tenure = self._tenure
        if tenure is None:
            raise UnavailableError(self._reason)
        return tenure

    def other_owner(self, task_id: str) -> Owner | None:
        """Return which other service has the store, or a task of it, as far as is known.

        Of a task that moves just now, as soon as one has it.

        Raises:
            UnavailableError: The store does not answer.
        """
        if self._other is not None:
            return self._other
        owners = self._owners
        if not owners or not task_id:
            return None
        deadline = time.monotonic() + MOVING_SECONDS
        while (place := owners.place(task_id)) and place.is_free:
            if time.monotonic() > deadline:
                break
            time.sleep(MOVING_POLL_SECONDS)
        return place.other if place else None

    @property
    def is_sure(self) -> bool:
        """Whether nobody else can have what this process has; asks nobody."""
        return self._held and self._lease.term.time_left() > 0

    def others(self) -> Sequence[Owner]:
        """Return the other services that have tasks of the store.

        Raises:
            UnavailableError: The store does not answer, or is not ours just now.
        """
        if not self._held:
            raise UnavailableError(self._reason)
        owners = self._owners
        return owners.others() if owners else ()

    def last_others(self) -> Sequence[Owner]:
        """Return the other services that were there at the last renewal; asks nobody."""
        return self._lease.others

    def refuse_moving(self, task_id: str) -> None:
        """Look why the supervisor has no such task.

        Raises:
            TaskElsewhereError: Another service has it.
            TaskMovesError: It is about to be here, or elsewhere.
        """
        owners = self._owners
        if not owners or not task_id:
            return
        place = owners.place(task_id)
        if place and place.other:
            hint = "" if place.other.url else ", whose nodeUrl is not set"
            raise TaskElsewhereError(
                f"the task is for {place.other} to answer{hint}: ask there"
            )
        if place:
            raise TaskMovesError(
                "the task is just moving from one service to another, try again in a "
                "moment"
            )

    @property
    def _owners(self) -> TaskOwners | None:
        tenure = self._tenure
        return tenure.stores.owners if tenure and self._held else None

    def answers(self) -> bool:
        """Whether the supervisor answers, or this service waits for the store."""
        if not self.alive:
            return False
        try:
            self.tenure.supervisor.ask(ListTasks(), timeout=ANSWER_SECONDS)
        except pykka.Timeout:
            return False
        except (RequestError, pykka.ActorDeadError):
            # It answers that it does not, or the next one is about to begin.
            return self.alive
        return True

    def nodes(self) -> Sequence[Node]:
        """Return the services on the store; UnavailableError if it does not answer."""
        return self._lease.nodes()

    def drain(self, node_id: str, *, drains: bool) -> bool:
        """Have a service give its tasks to others, or have tasks; see ``Lease``."""
        return self._lease.drain(node_id, drains=drains)

    def note_lags(self, lags: Collection[float | None]) -> None:
        """Know the lags of all tasks, None for one that is unknown."""
        known = [each for each in lags if each is not None]
        longest = max(known, default=None) if len(known) == len(lags) else None
        self._lease.note_tasks(len(lags), longest)

    @property
    def retention(self) -> Mapping[str, Retention]:
        """What is known of what the log keeps, by task id."""
        tenure = self._tenure
        return tenure.retention.by_task if tenure else {}

    @property
    def store_takes_writes(self) -> bool | None:
        """Whether the store took the last write; None while it is not ours."""
        tenure = self._tenure
        return tenure.store_check.is_well if self._held and tenure else None

    @property
    def alive(self) -> bool:
        """Whether the service does its work, or waits for it."""
        tenure = self._tenure
        alive = tenure is None or tenure.supervisor.is_alive()
        return alive and self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                if self._held:
                    self._lease.check()
                else:
                    self._try()
            except CdcError as error:
                self._lose(str(error))

    def _try(self) -> None:
        try:
            self._acquire()
        except StoreOwnedError as error:
            self._wait(error)

    def _acquire(self) -> None:
        self._lease.acquire()
        self._other = None
        self._take_over()

    def _take_over(self) -> None:
        """Begin a tenure; a former one has been suspended."""
        former, self._tenure = self._tenure, None
        if former is not None:
            former.end(time.monotonic() + END_SECONDS)
        try:
            self._tenure = self._begin()
        except BaseException:
            self._lease.release()
            raise
        self._held = True
        _log.info("store_lease_taken", owner=str(Owner.this_process()))

    def _wait(self, error: StoreOwnedError) -> None:
        """Somebody else is the owner: what this process knew is true no more."""
        former, self._tenure = self._tenure, None
        self._other = error.owner
        self._say(f"{error}; this service waits until it is gone")
        if former is not None:
            former.end(time.monotonic() + END_SECONDS)

    def _lose(self, reason: str) -> None:
        self._other = None
        if self._held:
            self._held = False
            if self._tenure is not None:
                self._tenure.suspend(reason)
        self._say(reason)

    def _say(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            _log.warning("store_lease_missing", reason=reason)


def _left(deadline: float) -> float:
    return max(0.1, deadline - time.monotonic())


def _await(ends: Iterable[pykka.Future[Any]], deadline: float) -> None:
    for end in ends:
        with suppress(pykka.Timeout, pykka.ActorDeadError):
            end.get(timeout=_left(deadline))


def _verify(log: TaskLog) -> None:
    try:
        result = verify(log.database)
    except CdcError as error:
        _log.warning("event_log_not_verified", error=str(error))
        return
    if result.valid:
        _log.info("event_log_verified", head=str(result.head))
    else:
        _log.error("event_log_altered", mismatch=result.mismatch)
