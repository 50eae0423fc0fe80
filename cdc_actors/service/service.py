"""The service as its API and its command line use it: messages to the supervisor."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pykka

from cdc_actors.errors import (
    RequestError,
    SourceRefusedError,
    TaskElsewhereError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.service.health import health_at, lag_at, view_at
from cdc_actors.service.lag_history import LagHistory
from cdc_actors.service.messages import (
    AcknowledgeOperations,
    CreateTask,
    DeleteTask,
    GetStatistics,
    GetTask,
    ListTasks,
    PauseTask,
    ResumeTask,
    ResyncCollections,
    RetryCollections,
    UpdateTask,
)
from cdc_actors.service.misfits import misfits
from cdc_actors.service.other_services import OtherServices, node_of
from cdc_actors.service.overview import client_id, summary_at
from cdc_actors.service.position_checks import refuse_positions
from cdc_actors.service.projection import past_view_of
from cdc_actors.service.resume_checks import refuse_resume
from cdc_actors.service.resync_checks import refuse_resync
from cdc_actors.service.retry_checks import refuse_retry
from cdc_actors.service.scrape import scraped
from cdc_actors.service.source_clock import SourceClock
from cdc_actors.service.source_probe_actor import SourceProbe, SourceState
from cdc_actors.service.target_trial import TargetTrial, refuse_move
from cdc_actors.service.task_requests import TaskRequests
from cdc_actors.service.tenure import STARTING, Ownership, Tenure
from cdc_actors.service.views import Overview, PositionView, Readiness
from cdc_actors.store.leases import lease_of
from cdc_actors.tasks import (
    TOKEN,
    TaskState,
    known_token,
    refuse_other_body,
    updates,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.config import Config
    from cdc_actors.config.model import LogLevel
    from cdc_actors.service.comparisons import Comparisons
    from cdc_actors.service.metric_family import Family
    from cdc_actors.service.snapshot import Observation
    from cdc_actors.service.views import HealthStatus, LagSamples, TaskView
    from cdc_actors.store.history import Moment, Page
    from cdc_actors.tasks import ResyncMethod, TaskSpec, Who


ASKED = "asked by a client"
SAME_MILVUS = "asked by a client, who says that the target is the same Milvus"
"""Why an update is done that relies on the client's word."""


class Service:
    """Everything behind the API, and ``others`` on the store. Any thread may use it."""

    def __init__(
        self, config: Config, set_log_level: Callable[[LogLevel], None] = lambda _: None
    ) -> None:
        """``set_log_level`` has the process log from a level on, until the next start."""
        self._config = config
        self._clock = SourceClock()
        self._source = SourceState({"service": "starting"})
        self._ownership: Ownership | None = None
        self._target_trial = TargetTrial(config.source_config)
        self.set_log_level = set_log_level
        self._lag_history = LagHistory(self._lags)
        self._node = node_of(config)
        self._requests = TaskRequests(lambda: self._started)
        self.others = OtherServices(lambda: self._started)

    def start(self) -> None:
        """Begin to rebuild the tasks; does not wait for them.

        While another process owns the store, wait for it in the background instead.

        Raises:
            OperatorError: The log or the key to its secrets cannot be used.
            UnavailableError: The log does not answer.
        """
        lease = lease_of(self._config.meta_store_config, self._config.node_url)
        self._ownership = Ownership(
            lease, lambda: Tenure(self._config, self._clock, lease)
        )
        self._ownership.start()
        SourceProbe.start(self._config.source_config, self._source, self._clock)
        self._lag_history.start()

    def stop(self, timeout: float) -> None:
        """End all work within ``timeout`` seconds and keep the checkpoints."""
        self._lag_history.stop()
        if self._ownership is not None:
            self._ownership.stop(time.monotonic() + timeout)
            pykka.ActorRegistry.stop_all(block=False)

    def create(self, task_id: str | None, spec: TaskSpec, who: Who) -> str:
        """Create a task, once its target has been connected to; return its id.

        Raises:
            SourceRefusedError: The source is of a version that cannot be read, or its
                settings are those of two Milvus.
            TargetRefusedError: The target cannot be reached, refuses, is the source, or
                would not show what is written to it.
            TaskConflictError: There is a task of that id that is another one, or one of
                the same collections; or it cannot begin at its positions.
            TaskLimitError: There are too many tasks.
            UnavailableError: Whether it can begin at its positions cannot be told.
        """
        if task_id is not None and self._is_repeated(task_id, spec):
            return task_id
        if self._source.refusal:
            raise SourceRefusedError(self._source.refusal)
        refuse_positions(spec, self._config.source_config)
        self._target_trial.run(spec)
        create = CreateTask(task_id, spec, who)
        return str(self._requests.ask_beside(create, spec.target.uri, task_id or ""))

    def misfits(self, task_id: str) -> Sequence[str]:
        """Return a sentence for each collection of a task that its target has otherwise.

        And one if the selection leaves out databases of the source, or takes nothing yet.
        Takes a few seconds at most, and raises nothing: what was asked is done.
        """
        if self._source.lacks_catalog:
            return []
        with suppress(RequestError):
            seen: Observation = self._requests.ask(GetTask(task_id))
            task = seen.snapshot.task
            token = known_token(task, self._tenure.stores.secrets.decrypt) or ""
            return misfits(task.spec, token, self._config.source_config)
        return []

    def list(self) -> list[TaskView]:
        """Return every task, the oldest first."""
        moment = self._clock.moment()
        return [view_at(each, moment, self._node) for each in self._observations()]

    def overview(self) -> Overview:
        """Return every task, the oldest first, without what there is of collections."""
        moment = self._clock.moment()
        return Overview(
            missing=dict(self._source.missing),
            tasks=[
                summary_at(each, moment, self._node) for each in self._observations()
            ],
        )

    def lag_samples(self, after: int) -> LagSamples:
        """Return the lags of the last hour, as far as the service knows, by task."""
        return self._lag_history.after(after)

    def get(self, task_id: str, as_of: Moment | None = None) -> TaskView:
        """Return one task, as it is or once was; UnknownTaskError if there is none."""
        if as_of is not None:
            return past_view_of(self._tenure.history.task(task_id, as_of))
        try:
            seen = self._requests.ask(GetTask(task_id))
        except TaskElsewhereError:
            return self.others.view(task_id)
        return view_at(seen, self._clock.moment(), self._node)

    def history(self, task_id: str, *, after: int, limit: int) -> Page:
        """Return some of the events of a task, also of one that is deleted.

        Read from the log in the caller's thread: the supervisor, which every request
        goes through, must not wait for a long read, and the log is true without it.
        """
        return self._tenure.history.page(task_id, after=after, limit=limit)

    def positions(self, task_id: str) -> tuple[PositionView, ...]:
        """Return up to where a task, or every one if ``task_id`` is empty, has come.

        As saved, once a second and at a pause; UnknownTaskError without that task.
        """
        checkpoints = self._tenure.stores.checkpoints
        seen = (
            [self._requests.ask(GetTask(task_id))]
            if task_id
            else self._requests.ask(ListTasks())
        )
        requests = self._config.source_config.replicate_chan
        return tuple(
            PositionView(
                task_id=each, checkpoint=checkpoint, of_requests=channel == requests
            )
            for each in (one.snapshot.task.task_id for one in seen)
            for channel, checkpoint in sorted(checkpoints.load(each).items())
        )

    @property
    def comparisons(self) -> Comparisons:
        """The comparisons of tasks; UnavailableError while there are none."""
        return self._tenure.comparisons

    def pause(self, task_id: str, who: Who) -> None:
        """Pause a task; nothing more reaches the target once this returns."""
        self._requests.ask(PauseTask(task_id, who))

    def resume(self, task_id: str, who: Who) -> None:
        """Let a paused task continue, with what was set aside as far as it can go on.

        Raises:
            TaskConflictError: It is running, or cannot go on where it stopped.
        """
        self._look_before_resume(task_id)
        self._requests.ask(ResumeTask(task_id, who))

    def retry(self, task_id: str, collections: Sequence[FullName], who: Who) -> None:
        """Take up again what was set aside, or of it ``collections``, from where it stood.

        Raises:
            TaskConflictError: One is not set aside, or cannot go on, or the source is
                another Milvus; the text says why.
        """
        seen: Observation = self._requests.ask(GetTask(task_id))
        refuse_retry(seen.snapshot.task, collections, self._config.source_config)
        self._requests.ask(RetryCollections(task_id, tuple(collections), who, ASKED))

    def resync(
        self,
        task_id: str,
        collections: Sequence[FullName],
        who: Who,
        *,
        method: ResyncMethod,
    ) -> None:
        """Bring collections anew; a task whose log had lost a position goes on.

        Raises as ``refuse_resync`` does.
        """
        task = self._requests.ask(GetTask(task_id)).snapshot.task
        at = self._tenure.stores.checkpoints.load(task.task_id).values()
        refuse_resync(task, collections, at, self._config.source_config)
        self._requests.ask(ResyncCollections(task_id, tuple(collections), method, who))

    def acknowledge(self, task_id: str, kinds: Sequence[str], who: Who) -> None:
        """Accept that operations of some kinds, or of all, were refused by the target.

        Raises:
            TaskConflictError: There is none that still matters.
        """
        self._requests.ask(AcknowledgeOperations(task_id, tuple(kinds), who))

    def update(
        self,
        task_id: str,
        before: TaskSpec,
        spec: TaskSpec,
        who: Who,
        *,
        same_milvus: bool = False,
    ) -> Sequence[str]:
        """Make ``spec`` of a task that is ``before``; return the members that differ.

        A token in ``spec`` is a new one, none keeps the present one. A target with another
        address or login is connected to as for ``create``; ``same_milvus`` is the client's
        word, where nothing else tells, that another address leads to the Milvus that it
        was. Where nothing differs, nothing is done.

        Raises:
            UnknownTaskError: There is no such task.
            TargetRefusedError: The target cannot be reached, refuses, is the source, or
                at another address is not known to be the Milvus that it was.
            TaskConflictError: The task is another one by now, another task has some of
                the collections, or what the target has would get another name.
        """
        seen: Observation = self._requests.ask(GetTask(task_id))
        task = seen.snapshot.task
        decrypt = self._tenure.stores.secrets.decrypt
        differ = before.differing_members(spec)
        if spec.token and spec.token != known_token(task, decrypt):
            differ.append(TOKEN)
        if not differ:
            return []
        if {"milvus_connect_param", TOKEN} & set(differ):
            token = spec.token or known_token(task, decrypt) or ""
            asked = msgspec.structs.replace(spec, token=token)
            self._target_trial.run(
                asked, lambda target: refuse_move(target, task, token, told=same_milvus)
            )
        why = SAME_MILVUS if same_milvus else ASKED
        update = UpdateTask(task_id, before, spec, who, why)
        if updates.may_conflict(before, spec):
            self._requests.ask_beside(update, spec.target.uri, task_id)
        else:
            self._requests.ask(update)
        return differ

    def delete(self, task_id: str, who: Who, *, ignore_not_found: bool = False) -> None:
        """End a task for good; the target keeps what it has."""
        try:
            self._requests.ask(DeleteTask(task_id, who))
        except UnknownTaskError:
            if not ignore_not_found:
                raise

    def readiness(self) -> Readiness:
        """Tell whether the service can do its work, and what is missing."""
        seen, missing = self._ask_readily(
            ListTasks(), lambda tenure: tenure.stores.log.check()
        )
        tasks: Counter[HealthStatus] | None = None
        if seen is not None:
            moment = self._clock.moment()
            tasks = Counter(health_at(each, moment).status for each in seen)
        return Readiness(ready=not missing, missing=missing, tasks=tasks)

    def metrics(self) -> Iterable[Family]:
        """Return the metric families of service and tasks; writes nothing."""
        statistics, missing = self._ask_readily(
            GetStatistics(), lambda tenure: tenure.store_check.refuse_failing()
        )
        ownership, moment = self._ownership, self._clock.moment()
        return scraped(statistics, missing, ownership, moment, lambda: self.comparisons)

    def alive(self) -> bool:
        """Tell whether the supervisor answers, or this service waits for the store."""
        return self._ownership is not None and self._ownership.answers()

    def _observations(self) -> Sequence[Observation]:
        """Return what is known of each task, the oldest first."""
        seen: list[Observation] = self._requests.ask(ListTasks())
        return sorted(seen, key=lambda each: each.snapshot.task.created_at)

    def _lags(self) -> dict[str, float | None]:
        """Return the lag of each task, and let the other services know of them."""
        seen, moment = self._observations(), self._clock.moment()
        lags = {client_id(o.snapshot.task): lag_at(o, moment) for o in seen}
        self._started.note_lags(lags.values())
        return lags

    def _is_repeated(self, task_id: str, spec: TaskSpec) -> bool:
        """Tell whether there is a task of that id; it must be the one that is asked for."""
        try:
            seen: Observation = self._requests.ask(GetTask(task_id))
        except UnknownTaskError:
            return False
        refuse_other_body(seen.snapshot.task, spec, self._tenure.stores.secrets.decrypt)
        return True

    def _look_before_resume(self, task_id: str) -> None:
        """Look whether the source still has what is next for a task that has paused."""
        try:
            task = self._requests.ask(GetTask(task_id)).snapshot.task
        except UnknownTaskError:
            return
        if task.state is TaskState.PAUSED:
            checkpoints = self._tenure.stores.checkpoints.load(task.task_id)
            refuse_resume(task, checkpoints.values(), self._config.source_config)

    @property
    def _tenure(self) -> Tenure:
        return self._started.tenure

    @property
    def _started(self) -> Ownership:
        if self._ownership is None:
            raise UnavailableError(STARTING)
        return self._ownership

    def _ask_readily(
        self, message: object, check_store: Callable[[Tenure], None]
    ) -> tuple[Any | None, dict[str, str]]:
        """Ask the supervisor; return its answer, if any, and what is missing by name.

        ``check_store`` raises ``UnavailableError`` if the store does not take writes.
        """
        missing = dict(self._source.missing)
        answer = None
        try:
            answer = self._requests.ask(message)
            check_store(self._tenure)
        except RequestError as error:
            missing["tasks"] = str(error)
        return answer, missing
