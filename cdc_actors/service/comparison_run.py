"""One comparison of a task's source with its target, in a thread of its own.

It holds up neither the task nor the supervisor: it has connections of its own, and asks
the supervisor only how far the task is. What it has compared is stored every few seconds,
so that another process goes on where this one was killed.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.compare import (
    MAX_PAGE_ROWS,
    CollectionReport,
    Comparison,
    Endpoint,
    Pair,
    begin,
)
from cdc_actors.errors import (
    CdcError,
    OperatorError,
    TransientError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.service import backoff
from cdc_actors.service.asking import ask
from cdc_actors.service.comparison_repair import RowRepair
from cdc_actors.service.messages import GetTask, RecordCompared
from cdc_actors.target.connection import connect, tls_arguments
from cdc_actors.tasks import CollectionState, TaskState
from cdc_actors.tasks.names import contains

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.changes import FullName
    from cdc_actors.compare import Cursor, Side
    from cdc_actors.config import SourceConfig
    from cdc_actors.service.comparison_state import ComparisonState
    from cdc_actors.service.snapshot import TaskSnapshot
    from cdc_actors.store.comparisons import ComparisonRows
    from cdc_actors.store.secrets import SecretBox
    from cdc_actors.tasks import CollectionEntry, Task

SAVE_SECONDS = 1.0
"""How often what was compared is stored."""

POLL_SECONDS = 0.1
"""How often to look whether the task has come to a moment of the source."""

MOMENT_SECONDS = 60.0
"""How long that may take before what differs is said to be on its way, perhaps."""

_log = structlog.get_logger()


class _StoppedError(Exception):
    """The service ends, or has lost its store: the comparison goes on at another time."""


class _CancelledError(Exception):
    """A client has asked for the end."""


class ComparisonRun:
    """Conducts one comparison: see ``compare.collection.Conduct``."""

    looks = 2
    load = False

    def __init__(
        self,
        state: ComparisonState,
        source: SourceConfig,
        secrets: SecretBox,
        rows: ComparisonRows,
        supervisor: pykka.ActorRef[Any],
    ) -> None:
        """``rows`` is where it is stored."""
        self.state = state
        self._rows = rows
        self._source = source
        self._secrets = secrets
        self._supervisor = supervisor
        self._stop = threading.Event()
        self._cancelled = False
        self._attempt = 0
        self._saved_at = time.monotonic()
        self._pace = _Pace(state.request.rows_per_second)
        self.most_rows = min(
            state.request.rows_per_second or MAX_PAGE_ROWS, MAX_PAGE_ROWS
        )
        self._thread = threading.Thread(
            target=self._run, name="comparison", daemon=True
        )

    def start(self) -> None:
        """Begin, or go on, in a thread."""
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether there is anything left to do for it."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Have it end as cancelled, soon."""
        self._cancelled = True
        self._stop.set()

    def stop(self) -> None:
        """Have it end now; it is not over."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, for so many seconds at most."""
        if self.is_running:
            self._thread.join(seconds)

    def reach(self) -> bool:
        """Wait until the task has all that the source has now; see ``Conduct``."""
        moment = self._comparison.source_now()
        deadline = time.monotonic() + MOMENT_SECONDS
        while True:
            snapshot = self._snapshot()
            if (snapshot.confirmed_by_now or 0) >= moment:
                return True
            late = time.monotonic() > deadline
            if late or snapshot.state is not TaskState.RUNNING:
                return False
            # What was repaired is looked at again, also if nobody wants to wait for more.
            self._wait(POLL_SECONDS, until_stopped=self.state.request.repair)

    def repair_of(self, pair: Pair, source: Side) -> RowRepair | None:
        """Return what repairs a collection that is live: see ``Conduct``."""
        request, entry = self.state.request, self._entry(pair.source)
        if (
            not request.repair
            or entry is None
            or entry.state is not CollectionState.LIVE
        ):
            return None
        return RowRepair(
            source,
            entry,
            pair.target,
            self._open_target,
            self._save,
            deletes_extra=request.delete_extra,
        )

    def skipped(self, pair: Pair) -> frozenset[str]:
        """Return what the task has left out of a collection: see ``Conduct``."""
        entry = self._entry(pair.source)
        return frozenset(entry.skipped if entry is not None else ())

    def advanced(self, cursor: Cursor) -> None:
        """Store how far it is, now and then, and keep to the pace."""
        self._attempt, self.state.error = 0, None
        if time.monotonic() > self._saved_at + SAVE_SECONDS:
            self._save()
        self._wait(self._pace.delay(cursor.rows))

    def _run(self) -> None:
        log_context = structlog.contextvars.bound_contextvars(
            task_id=self.state.task_id
        )
        with log_context, suppress(_StoppedError):
            self._persist(self._compare)
            self._persist(self._record)

    def _persist(self, work: Callable[[], None]) -> None:
        """Work until it is done; who is away may come back."""
        done = False
        while not done:
            try:
                self._try(work)
                done = True
            except (TransientError, UnavailableError) as error:
                self._attempt += 1
                if self.state.ended is None:
                    self.state.error = str(error)
                _log.warning("comparison_delayed", error=str(error))
                with suppress(_CancelledError):
                    self._wait(backoff.delay(self._attempt))

    def _try(self, work: Callable[[], None]) -> None:
        """Work once; whatever else goes wrong is the outcome."""
        try:
            work()
        except _CancelledError:
            self.state.end("cancelled")
        except UnknownTaskError:
            self.state.end("failed", "the task was deleted")
            self.state.is_recorded = True
            self._rows.delete(self.state.task_id)
        except (_StoppedError, TransientError, UnavailableError):
            raise
        except CdcError as error:
            self.state.end("failed", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be said
            _log.exception("comparison_failed")
            self.state.end("failed", f"unexpected {type(error).__name__}: {error}")

    def _compare(self) -> None:
        if self.state.ended is not None:
            return
        task = self._snapshot().task
        token = self._secrets.decrypt(task.secret)
        target = task.spec.target
        self._open_target = lambda: connect(target, token, self._is_stopped)
        with Comparison(
            Endpoint("source", self._source.uri, self._source.token),
            Endpoint("target", target.uri, token, tls_arguments(target)),
            self,
        ) as self._comparison:
            self._compare_all(task)
        self.state.end(self.state.verdict)

    def _compare_all(self, task: Task) -> None:
        state = self.state
        pairs = self._pairs(task)
        state.total = len({*pairs, *map(_name, state.reports)})
        for name in sorted(pairs.keys() - set(map(_name, state.reports))):
            if state.cursor is None or _name(state.cursor.report) != name:
                state.cursor = begin(name)
            self._wait(0)
            self._pace.begin(state.cursor.rows)
            report = self._comparison.run(Pair(name, pairs[name]), state.cursor)
            _add_notes(report, pairs[name], self._entry(name))
            state.reports.append(report)
            state.cursor = None
        self._save()

    def _pairs(self, task: Task) -> dict[FullName, FullName]:
        """Return what is to be compared, with the names that it has at the target.

        That is what the task has, and what it is to have.

        Raises:
            OperatorError: Of what was asked for there is nothing: it would be equal.
        """
        entries = task.collections.values()
        known = {(e.database, e.name) for e in entries if _is_there(e)}
        there = {
            each for each in self._comparison.source_names() if task.spec.selects(*each)
        }
        done = set(map(_name, self.state.reports))
        asked = self.state.request.collections
        for pattern in asked:
            if not any(contains(pattern, name) for name in known | there | done):
                raise OperatorError(
                    f"the source has no collection {'.'.join(pattern)} that the task "
                    "replicates"
                )
        return {
            name: task.spec.target_name(*name)
            for name in known | there
            if not asked or any(contains(pattern, name) for pattern in asked)
        }

    def _entry(self, name: FullName) -> CollectionEntry | None:
        entries = self._snapshot().task.collections.values()
        named = (e for e in entries if _is_there(e) and (e.database, e.name) == name)
        return next(named, None)

    def _record(self) -> None:
        """Write the outcome down for good."""
        if not self.state.is_recorded:
            self._save()
            state = self.state
            self._ask(RecordCompared(state.task_id, state.result(), state.who))
            state.is_recorded = True
            self._save()

    def _snapshot(self) -> TaskSnapshot:
        snapshot: TaskSnapshot = self._ask(GetTask(self.state.task_id)).snapshot
        return snapshot

    def _ask(self, message: object) -> Any:
        try:
            return ask(self._supervisor, message)
        except pykka.ActorDeadError as error:
            raise UnavailableError("the task is just starting again") from error

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        self._rows.save(self.state.task_id, self.state.encode())

    def _is_stopped(self) -> bool:
        return self._stop.is_set() and not self._cancelled

    def _wait(self, seconds: float, *, until_stopped: bool = False) -> None:
        """Let time pass, unless it is to end; then raise what ends it.

        ``until_stopped`` is to wait although it was cancelled.
        """
        if self._cancelled and until_stopped:
            time.sleep(seconds)
        elif self._stop.wait(seconds):
            if self._cancelled and self.state.ended is None:
                raise _CancelledError
            if not self._cancelled:
                raise _StoppedError


class _Pace:
    """How fast rows may be read."""

    def __init__(self, rows_per_second: int | None) -> None:
        self._rate = rows_per_second
        self._rows = 0
        self._due = time.monotonic()

    def begin(self, rows: int) -> None:
        """Go on with a collection of which so many rows have been read before."""
        self._rows = rows

    def delay(self, rows: int) -> float:
        """Return the seconds to wait where so many rows of a collection have been read."""
        new, self._rows = max(0, rows - self._rows), rows
        if self._rate is None:
            return 0
        now = time.monotonic()
        self._due = max(now, self._due + new / self._rate)
        return self._due - now


def _name(report: CollectionReport) -> FullName:
    return report.database, report.name


def _is_there(entry: CollectionEntry) -> bool:
    return entry.state is not CollectionState.DROPPED


def _add_notes(
    report: CollectionReport, target: FullName, entry: CollectionEntry | None
) -> None:
    """Say what explains a difference."""
    if target != _name(report):
        report.notes.append(f"is called {'.'.join(target)} at the target")
    if entry is None:
        report.notes.append("is not known to the task (yet)")
    elif entry.reason:
        report.notes.append(f"{entry.state.value}: {entry.reason}")
    elif entry.shadow:
        report.notes.append("is served as it was, until its shadow takes its place")
