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

from cdc_actors.errors import CdcError, RequestError, UnavailableError
from cdc_actors.service.asking import ANSWER_SECONDS
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

POLL_SECONDS = 0.5
"""How often an owner looks whether it still is one, and who waits whether it may be."""

END_SECONDS = 5.0
"""How long the work of a lost tenure may take to end before another one begins."""

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
        self.comparisons.resume()
        if config.meta_store_config.verify_at_start:
            # Beside all else: nobody is to wait for it, and nothing can be undone by it.
            threading.Thread(
                target=_verify, args=[self.stores.log], daemon=True
            ).start()

    def suspend(self, reason: str) -> None:
        """Write nothing any more, at once; show the tasks as they were, and the reason."""
        self.store_check.end(reason)
        self.retention.end()
        self.comparisons.stop()
        self.stores.log.close()
        with suppress(pykka.ActorDeadError):
            self.supervisor.tell(StoreLost(reason))

    def end(self, deadline: float) -> None:
        """End all work and keep the checkpoints, until a time of the monotonic clock."""
        self.store_check.end(ENDING)
        self.retention.end()
        self.comparisons.stop()
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

    @property
    def other_owner(self) -> Owner | None:
        """Who owns the store, as far as that is known and is not this process."""
        return self._other

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
        left = self._lease.acquire()
        self._other = None
        if not self._stop.wait(left):
            self._lease.check()
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
