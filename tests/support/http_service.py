"""A service in memory for tests of the HTTP app, and short ways to call the app."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from falcon import testing

from cdc_actors.compare import CollectionReport
from cdc_actors.errors import TaskConflictError, UnknownTaskError
from cdc_actors.service.comparison_state import ComparisonState
from cdc_actors.service.metrics import families
from cdc_actors.service.snapshot import Statistics
from cdc_actors.service.views import (
    Health,
    LagSamples,
    Overview,
    PositionView,
    Readiness,
    TaskSummary,
    TaskView,
)
from cdc_actors.store.history import Entry, Page
from cdc_actors.tasks import TOKEN
from cdc_http import create_app
from tests.support.tasks import checkpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.config.model import LogLevel
    from cdc_actors.service.comparison_state import ComparisonRequest
    from cdc_actors.service.metric_family import Family
    from cdc_actors.service.views import ComparisonView
    from cdc_actors.store.history import Moment
    from cdc_actors.store.ownership import Node, Owner
    from cdc_actors.tasks.resyncs import ResyncMethod
    from cdc_actors.tasks.spec import TaskSpec
    from cdc_actors.tasks.state import Who

WHEN = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
TARGET = {"uri": "http://localhost:19530"}
ALL = [{"name": "*"}]


@dataclass
class FakeService:
    """Keeps tasks as the real service promises to, and what it was asked.

    ``failure`` is raised by every method if set; requests wait for ``gate``. ``unfit`` is
    what it says of the targets of all tasks, ``owner`` who has the store instead of it,
    ``owners`` who has which task, ``in_log`` what the log has of tasks, and ``on_store``
    which services there are.
    """

    tasks: dict[str, TaskView] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[Entry] = field(default_factory=list)
    compared: dict[str, ComparisonState] = field(default_factory=dict)
    unfit: list[str] = field(default_factory=list)
    past: dict[Moment | None, TaskView] = field(default_factory=dict)
    lags: dict[str, list[float | None]] = field(default_factory=dict)
    since: datetime = WHEN
    failure: Exception | None = None
    owner: Owner | None = None
    owners: dict[str, Owner] = field(default_factory=dict)
    cut_off: bool = False
    in_log: dict[str, TaskView] = field(default_factory=dict)
    on_store: Sequence[Node] = ()
    ready: Readiness = field(default_factory=lambda: Readiness(ready=True, missing={}))
    is_alive: bool = True
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.gate.set()

    def create(self, task_id: str | None, spec: TaskSpec, who: Who) -> str:
        """Create a task, once for each id."""
        self._ask("create", task_id, spec, who)
        with self._lock:
            new = task_id or f"{len(self.tasks):032x}"
            self.tasks.setdefault(new, task_view(new, spec))
        return new

    def misfits(self, task_id: str) -> Sequence[str]:
        """Return what the test set; of a task, as ``tasks`` must know it."""
        assert task_id in self.tasks
        return self.unfit

    def list(self) -> list[TaskView]:
        """Return every task."""
        self._ask("list")
        return list(self.tasks.values())

    def overview(self) -> Overview:
        """Return every task at a glance."""
        self._ask("overview")
        tasks = [self._summary(view) for view in self.tasks.values()]
        return Overview(missing=self.ready.missing, tasks=tasks)

    def lag_samples(self, after: int) -> LagSamples:
        """Return what the test set, behind that sample."""
        self._ask("lag_samples", after)
        last = max(map(len, self.lags.values()), default=0)
        seconds = range(15 * after, 15 * last, 15)
        times = [self.since + timedelta(seconds=each) for each in seconds]
        return LagSamples(
            since=self.since,
            every_seconds=15,
            last=last,
            times=times,
            lag_seconds={task: lags[after:] for task, lags in self.lags.items()},
        )

    def _summary(self, view: TaskView) -> TaskSummary:
        return TaskSummary(
            task_id=view.spec.task_name or view.task_id,
            uri=view.spec.target.uri,
            state=view.state,
            reason=view.reason,
            created_at=view.created_at,
            last_event=len(self.events),
            health=view.health,
            lag_seconds=view.lag_seconds,
            rows_applied=view.rows_applied,
            collections=Counter(each.state for each in view.collections),
            operations_refused=view.refused,
        )

    def get(self, task_id: str, as_of: Moment | None = None) -> TaskView:
        """Return one task."""
        self._ask("get", task_id, *([] if as_of is None else [as_of]))
        if task_id not in self.tasks:
            raise UnknownTaskError(f"not found: [{task_id}]")
        return self.past.get(as_of, self.tasks[task_id])

    def history(self, task_id: str, *, after: int, limit: int) -> Page:
        """Return what was put into ``events``, which may grow meanwhile."""
        self._ask("history", task_id, after, limit)
        behind = [entry for entry in self.events if entry.number > after]
        more = len(behind) > limit
        return Page(task_id=task_id, events=behind[:limit], more=more)

    def positions(self, task_id: str) -> tuple[PositionView, ...]:
        """Return a position of rows and one of requests, of each task asked for."""
        self._ask("positions", task_id)
        if task_id and task_id not in self.tasks:
            raise UnknownTaskError(f"not found: [{task_id}]")
        wanted = [task_id] if task_id else self.tasks
        return tuple(
            PositionView(task_id=each, checkpoint=checkpoint(channel), of_requests=last)
            for each in wanted
            for channel, last in (("dml_0", False), ("requests", True))
        )

    def set_log_level(self, level: LogLevel) -> None:
        """Take note of the level."""
        self._ask("set_log_level", level)

    def pause(self, task_id: str, who: Who) -> None:
        """Pause a running task."""
        self._ask("pause", task_id, who)
        self._move(task_id, "Paused", "the task has paused", "manually paused")

    def resume(self, task_id: str, who: Who) -> None:
        """Resume a paused task."""
        self._ask("resume", task_id, who)
        self._move(task_id, "Running", "the task has running", None)

    def resync(
        self,
        task_id: str,
        collections: Sequence[FullName],
        who: Who,
        *,
        method: ResyncMethod,
    ) -> None:
        """Take down what is to be brought anew, and how."""
        self._ask("resync", task_id, collections, who, method)

    def retry(self, task_id: str, collections: Sequence[FullName], who: Who) -> None:
        """Take note of what is to be taken up again."""
        self._ask("retry", task_id, collections, who)
        if task_id not in self.tasks:
            raise UnknownTaskError(f"not found the task, task_id: {task_id}")

    def acknowledge(self, task_id: str, kinds: Sequence[str], who: Who) -> None:
        """Take note of what is accepted as not done."""
        self._ask("acknowledge", task_id, kinds, who)
        if task_id not in self.tasks:
            raise UnknownTaskError(f"not found the task, task_id: {task_id}")

    def update(
        self,
        task_id: str,
        before: TaskSpec,
        spec: TaskSpec,
        who: Who,
        *,
        same_milvus: bool,
    ) -> Sequence[str]:
        """Change a task; a token is always a new one."""
        told = [same_milvus] if same_milvus else []
        self._ask("update", task_id, before, spec, who, *told)
        with self._lock:
            self.tasks[task_id] = replace(self.tasks[task_id], spec=spec)
        token = [TOKEN] if spec.token else []
        return [*before.differing_members(spec), *token]

    def delete(self, task_id: str, who: Who, *, ignore_not_found: bool) -> None:
        """Delete a task."""
        self._ask("delete", task_id, who, ignore_not_found)
        with self._lock:
            if not self.tasks.pop(task_id, None) and not ignore_not_found:
                raise UnknownTaskError(f"not found the task, task_id: {task_id}")

    @property
    def others(self) -> FakeService:
        """Speak for the other services, too."""
        return self

    def owner_of(self, task_id: str) -> Owner | None:
        """Return whom the test set, for all tasks or for this one."""
        return self.owner or self.owners.get(task_id)

    def is_cut_off(self) -> bool:
        """Say what the test set."""
        return self.cut_off

    def with_tasks(self) -> Sequence[Owner]:
        """Return those that the test set."""
        return list(self.owners.values())

    def drain(self, node_id: str, *, drains: bool) -> bool:
        """Know the nodes that the test set."""
        self._ask("drain", node_id, drains)
        return any(each.node_id == node_id for each in self.on_store)

    def unheard(self, heard: Collection[str]) -> Iterable[TaskView]:
        """Return what the test set that nobody has told of."""
        return [view for i, view in self.in_log.items() if i not in heard]

    def nodes(self) -> Sequence[Node]:
        """Return what the test set."""
        self._ask("nodes")
        return self.on_store

    def readiness(self) -> Readiness:
        """Return what the test set."""
        self._ask("readiness")
        return self.ready

    def metrics(self) -> Iterator[Family]:
        """Return those of its tasks, of whose actors nothing is known."""
        self._ask("metrics")
        nothing = Statistics(
            observations=(), mailboxes={}, restarts={}, memory_held=0, memory_limit=1
        )
        return families(
            [self._summary(view) for view in self.tasks.values()],
            nothing,
            self.ready,
            store_takes_writes=True,
            retention={},
            now=0,
        )

    @property
    def comparisons(self) -> FakeComparisons:
        """Return comparisons of the tasks, each of which is equal at once."""
        return FakeComparisons(self)

    def alive(self) -> bool:
        """Return what the test set."""
        self._ask("alive")
        return self.is_alive

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        self.entered.set()
        assert self.gate.wait(60)
        if self.failure:
            raise self.failure

    def _move(self, task_id: str, state: str, no: str, reason: str | None) -> None:
        with self._lock:
            if task_id not in self.tasks:
                raise UnknownTaskError(f"not found the task, task_id: {task_id}")
            if self.tasks[task_id].state == state:
                raise TaskConflictError(f"{no}, task_id: {task_id}")
            task = replace(self.tasks[task_id], state=state, reason=reason)
            self.tasks[task_id] = task


@dataclass
class FakeComparisons:
    """Comparisons that are equal as soon as they begin."""

    service: FakeService

    def start(self, task_id: str, request: ComparisonRequest, who: Who) -> None:
        """Begin one, unless there is one."""
        self.service._ask("compare", task_id, request, who)
        self.service.get(task_id)
        if task_id in self.service.compared:
            raise TaskConflictError("the task is just being compared")
        state = ComparisonState(task_id=task_id, request=request, who=who, began=WHEN)
        state.reports.append(CollectionReport(database="default", name="books"))
        state.end("equal")
        state.is_recorded = True
        self.service.compared[task_id] = state

    def view(self, task_id: str) -> ComparisonView:
        """Return what was begun."""
        self.service._ask("comparison", task_id)
        if task_id not in self.service.compared:
            raise UnknownTaskError("the task has not been compared yet")
        return self.service.compared[task_id].view()

    def cancel(self, task_id: str) -> None:
        """Forget what was begun."""
        self.service._ask("cancel_comparison", task_id)
        if self.service.compared.pop(task_id, None) is None:
            raise UnknownTaskError("the task has not been compared yet")


def task_view(task_id: str, spec: TaskSpec) -> TaskView:
    """Return a running task of which nothing is known yet."""
    return TaskView(
        task_id=task_id,
        spec=spec,
        state="Running",
        reason=None,
        created_at=WHEN,
        health=Health(status="starting", since=WHEN),
        lag_seconds=None,
        rows_applied=0,
        databases=(),
        collections=(),
    )


def entry(number: int, event: str = "resumed") -> Entry:
    """Return one event of a history."""
    return Entry(
        number=number,
        time=WHEN,
        event=event,
        who={"kind": "client", "address": "192.0.2.7", "token_name": None},
        why="asked by a client",
        text=event,
        content={},
    )


class Api:
    """The app over a fake service, without a socket."""

    def __init__(self, service: FakeService | None = None, **bounds: Any) -> None:
        self.service = service or FakeService()
        self.client = testing.TestClient(create_app(self.service, **bounds))

    def send(self, body: bytes | str, **more: Any) -> testing.Result:
        """Post a body as it is."""
        more.setdefault("headers", {"Content-Type": "application/json"})
        return self.client.simulate_post("/cdc", body=body, **more)

    def ask(self, kind: Any, data: Any = None, **more: Any) -> testing.Result:
        """Post a request of that type."""
        body = {"request_type": kind, "request_data": data}
        return self.client.simulate_post("/cdc", json=body, **more)

    def create(self, **fields: Any) -> testing.Result:
        """Ask for a task of everything unless told otherwise."""
        data = {"milvus_connect_param": TARGET, "collection_infos": ALL, **fields}
        return self.ask("create", {k: v for k, v in data.items() if v is not None})

    def created(self, **fields: Any) -> TaskSpec:
        """Return the task that such a create asks the service for."""
        answer = self.create(**fields)
        assert answer.status_code == 200, answer.text
        return self.service.asked[-1][2]


def error_of(answer: testing.Result, status: int) -> str:
    """Return the message of an error, whose code must repeat the status."""
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"code", "message"}
    assert (answer.status_code, answer.json["code"]) == (status, status), answer.text
    return answer.json["message"]
