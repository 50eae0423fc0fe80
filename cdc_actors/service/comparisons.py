"""The comparisons of all tasks: one at a time for each, a few at a time for the service."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pykka
import structlog

from cdc_actors.errors import (
    TaskConflictError,
    TaskLimitError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.service.asking import ask
from cdc_actors.service.comparison_run import ComparisonRun
from cdc_actors.service.comparison_state import ComparisonState
from cdc_actors.service.messages import GetTask
from cdc_actors.store.comparisons import ComparisonRows
from cdc_actors.tasks import ANY, TaskState

if TYPE_CHECKING:
    from collections.abc import Collection

    from cdc_actors.config import SourceConfig
    from cdc_actors.service.comparison_state import ComparisonRequest
    from cdc_actors.service.stores import Stores
    from cdc_actors.service.views import ComparisonView
    from cdc_actors.tasks import Task, Who

LEAVE_SECONDS = 2.0
"""How long a comparison may take to end where it is."""

MAX_RUNNING = 4
"""How many comparisons run at a time."""

_log = structlog.get_logger()


class Comparisons:
    """Starts comparisons and knows the newest of each task. Any thread may use it."""

    def __init__(
        self, source: SourceConfig, stores: Stores, supervisor: pykka.ActorRef[Any]
    ) -> None:
        self._source = source
        self._secrets = stores.secrets
        self._rows = ComparisonRows(stores.log)
        self._supervisor = supervisor
        self._lock = threading.Lock()
        self._runs: dict[str, ComparisonRun] = {}

    def resume(self, task_ids: Collection[str] | None = None) -> None:
        """Go on with what another process was at, for all tasks or some.

        Raises:
            UnavailableError: The store does not answer.
        """
        for task_id, stored in self._rows.load_all().items():
            if task_ids is not None and task_id not in task_ids:
                continue
            if (before := self._runs.get(task_id)) and before.is_running:
                continue
            try:
                state = ComparisonState.decode(stored)
            except msgspec.MsgspecError as error:
                _log.warning("comparison_unreadable", task_id=task_id, error=str(error))
                continue
            run = self._runs[task_id] = self._run(state)
            if not state.is_recorded:
                run.start()

    def start(self, task_id: str, request: ComparisonRequest, who: Who) -> None:
        """Begin to compare.

        Raises:
            UnknownTaskError: There is no such task.
            TaskConflictError: It is just being compared, or has no such collection.
            TaskLimitError: Too many are.
            UnavailableError: The store does not take it.
        """
        self._refuse(task_id, request)
        with self._lock:
            running = [i for i, run in self._runs.items() if run.is_running]
            if task_id in running:
                raise TaskConflictError(
                    "the task is just being compared: wait until that is over, or "
                    f"cancel it, task_id: {task_id}"
                )
            if len(running) >= MAX_RUNNING:
                raise TaskLimitError(
                    f"{MAX_RUNNING} tasks are just being compared, try later"
                )
            now = datetime.now(UTC)
            state = ComparisonState(
                task_id=task_id, request=request, who=who, began=now
            )
            self._rows.save(task_id, state.encode())
            self._runs[task_id] = self._run(state)
            self._runs[task_id].start()

    def view(self, task_id: str) -> ComparisonView:
        """Return the newest comparison of a task; UnknownTaskError if there is none."""
        self._task(task_id)
        return self._find(task_id).state.view()

    def views(self) -> list[ComparisonView]:
        """Return the newest comparison of each task that has one."""
        return [run.state.view() for run in list(self._runs.values())]

    def cancel(self, task_id: str) -> None:
        """Have a comparison end.

        Raises:
            UnknownTaskError: There is none.
            TaskConflictError: It has ended.
        """
        run = self._find(task_id)
        if not run.is_running or run.state.ended is not None:
            raise TaskConflictError(
                f"the task is not being compared, task_id: {task_id}"
            )
        run.cancel()

    def leave(self, task_ids: Collection[str]) -> None:
        """Have those of some tasks end where they are, for another process to go on."""
        left = [run for i in task_ids if (run := self._runs.pop(i, None))]
        for run in left:
            run.stop()
        for run in left:
            run.wait(LEAVE_SECONDS)

    def stop(self) -> None:
        """Have all of them end where they are; ``resume`` goes on."""
        for run in list(self._runs.values()):
            run.stop()

    def _refuse(self, task_id: str, request: ComparisonRequest) -> None:
        """Refuse what the task has not, and is not to have, and a repair beside none."""
        task: Task = self._task(task_id)
        if request.repair and task.state is not TaskState.RUNNING:
            raise TaskConflictError(
                "what the log has yet to bring would come twice: a repair needs the task "
                f"to run, resume it, task_id: {task_id}"
            )
        known = {(each.database, each.name) for each in task.collections.values()}
        for name in request.collections:
            if ANY not in name and name not in known and not task.spec.selects(*name):
                raise TaskConflictError(
                    f"the task does not replicate {'.'.join(name)}, task_id: {task_id}"
                )

    def _task(self, task_id: str) -> Any:
        try:
            return ask(self._supervisor, GetTask(task_id)).snapshot.task
        except pykka.ActorDeadError as error:
            raise UnavailableError("the service is just starting again") from error

    def _run(self, state: ComparisonState) -> ComparisonRun:
        return ComparisonRun(
            state, self._source, self._secrets, self._rows, self._supervisor
        )

    def _find(self, task_id: str) -> ComparisonRun:
        run = self._runs.get(task_id)
        if run is None:
            raise UnknownTaskError(
                f"the task has not been compared yet, task_id: {task_id}"
            )
        return run
