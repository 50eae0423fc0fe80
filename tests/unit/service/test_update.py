"""What supervisor and task make of an update."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import pytest
from msgspec.structs import replace

from cdc_actors.config import Config, Natsmq, SourceConfig
from cdc_actors.errors import (
    AccessRefusedError,
    CollectionError,
    FailureClass,
    PassedOverError,
    TargetRefusedError,
    TaskConflictError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.pipeline.messages import (
    RecordCollectionSetAside,
    RecordStarts,
    RunFailed,
)
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.service import current_run, target_trial, task_actor
from cdc_actors.service.messages import (
    CreateTask,
    GetTask,
    ListTasks,
    PauseTask,
    Rebuild,
    ResumeTask,
    UpdateTask,
)
from cdc_actors.service.service import Service
from cdc_actors.service.source_clock import SourceClock
from cdc_actors.service.stores import Stores
from cdc_actors.service.supervisor_actor import Supervisor
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.tasks import (
    TOKEN,
    CollectionsRetried,
    ConnectParam,
    NameMapping,
    Operation,
    Task,
    TaskUpdated,
)
from tests.support.cdc import wait_until
from tests.support.tasks import CLIENT, SPEC, checkpoint, entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.pipeline.reservations import NameReservations
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.tasks import TaskSpec

CONFIG = Config(source_config=SourceConfig(natsmq=Natsmq(address="nats://127.0.0.1:1")))
ANSWER = 60.0
AB = replace(SPEC, collection_infos=("a", "b"), token="")
OTHER = ConnectParam(uri="http://other:19530")


class RecordingRun:
    """A run that does nothing, and says what it was begun with."""

    age = 0.0
    applied = NO_ROWS
    applied_by: ClassVar = {}
    progress = None
    begun: list[RunSpec]

    def __init__(self, number: int, _task: object, spec: RunSpec, *_: object) -> None:
        self.number = number
        self.begun.append(spec)

    def end(self) -> bool:
        """It has nothing to finish."""
        return True

    def checkpoints(self) -> dict[str, Any]:
        """Return where it is."""
        return {"dml_0": checkpoint("dml_0", 5)}

    def sent(self) -> dict[str, int]:
        """Return nothing."""
        return {}


class World:
    """A supervisor over stores of its own."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.begun = RecordingRun.begun
        self.ref = Supervisor.start(CONFIG, stores, SourceClock())
        self.ref.ask(Rebuild())
        wait_until(self._answers, "the log is read")

    def _answers(self) -> bool:
        try:
            self.ref.ask(ListTasks(), timeout=ANSWER)
        except UnavailableError:
            return False
        return True

    def ask(self, message: object) -> Any:
        """Ask the supervisor, and the task behind it."""
        return self.ref.ask(message, timeout=ANSWER).get(timeout=ANSWER)

    def create(self, spec: TaskSpec = AB) -> str:
        """Create a task."""
        return str(self.ask(CreateTask(None, replace(spec, token="root:old"), CLIENT)))

    def update(self, task_id: str, **changes: Any) -> None:
        """Change some members of a task's specification."""
        before = self.task(task_id).spec
        self.ask(UpdateTask(task_id, before, replace(before, **changes), CLIENT))

    def task(self, task_id: str) -> Task:
        """Return a task as the log has it."""
        return self.stores.log.load(task_id)

    def view(self, task_id: str) -> Task:
        """Return a task as it is shown."""
        shown: Task = self.ref.ask(GetTask(task_id), timeout=ANSWER).snapshot.task
        return shown

    def has(self, task_id: str, name: str) -> None:
        """Let the task have a collection."""
        task = self.stores.log.load(task_id)
        made = Operation.create_collection(entry(name=name))
        task.apply_operation(made, who=CLIENT, why="test")
        self.stores.log.save(task)


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    """Yield empty stores, for tasks whose runs do nothing."""
    monkeypatch.setattr(current_run, "Run", RecordingRun)
    monkeypatch.setattr(RecordingRun, "begun", [], raising=False)
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    secrets = SecretBox.open(tmp_path / "cdc.key", {})
    yield Stores(log, Checkpoints(log), SendHorizons(log), SegmentsDone(log), secrets)
    pykka.ActorRegistry.stop_all()
    log.close()


@pytest.fixture
def names(stores: Stores) -> NameReservations:
    """Return the names that are held."""
    return stores.names


@pytest.fixture
def world(stores: Stores) -> World:
    """Return a supervisor without tasks."""
    return World(stores)


def test_a_running_task_begins_again_with_what_is_new(world: World) -> None:
    """One event has it all, with the checkpoints; the token is in it only encrypted."""
    task_id = world.create()
    world.update(task_id, token="root:n3w", collection_infos=("a", "c"))
    first, second = world.begun
    assert (first.token, second.token) == ("root:old", "root:n3w")
    assert second.task.collection_infos == ("a", "c")
    event = list(world.stores.log.history(task_id))[-1]
    assert isinstance(event, TaskUpdated)
    assert event.changed == ["collection_infos, db_collections", TOKEN]
    assert event.checkpoints["dml_0"]["tick"] == 5
    assert event.who["token_name"] == CLIENT.token_name
    assert "n3w" not in repr(vars(event))
    (past,) = second.past_selections
    assert past.ticks == {"dml_0": 5}
    assert world.view(task_id).state == "Running"


def test_a_paused_task_stays_paused_with_its_new_token(world: World) -> None:
    """It is used once the task is resumed; after a restart of the service, too."""
    task_id = world.create()
    world.ask(PauseTask(task_id, CLIENT))
    world.update(task_id, token="root:new")
    assert world.view(task_id).state == "Paused"
    assert len(world.begun) == 1
    world.ref.stop()
    again = World(world.stores)
    again.update(task_id, collection_infos=("a", "c"))
    again.ask(ResumeTask(task_id, CLIENT))
    first, second = world.begun
    assert (first.token, second.token) == ("root:old", "root:new")
    assert [past.ticks for past in second.past_selections] == [{"dml_0": 5}]


def test_a_task_that_waits_for_its_next_try_begins_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its patience with a refused login begins anew; the timer of before does nothing."""
    later: list[Any] = []
    monkeypatch.setattr(
        task_actor.backoff, "send_after", lambda ref, what, _: later.append((ref, what))
    )
    task_id = world.create()
    (actor,) = pykka.ActorRegistry.get_by_class(task_actor.TaskActor)
    actor.tell(RunFailed(1, AccessRefusedError("the target refuses the login")))
    wait_until(lambda: later, "it waits")
    world.update(task_id, token="root:new")
    assert [spec.token for spec in world.begun] == ["root:old", "root:new"]
    for ref, what in later:
        ref.tell(what)
    world.update(task_id, token="root:newer")
    assert len(world.begun) == 3


def test_what_was_passed_over_is_read_from_its_beginning_by_itself(
    world: World,
) -> None:
    """Once the run has opened, and all of it at once; other set-aside ones stay so."""
    task_id = world.create()
    world.update(task_id, collection_infos=("a", "b", "c", "d"))
    (actor,) = pykka.ActorRegistry.get_by_class(task_actor.TaskActor)
    stood = {"dml_0": checkpoint("dml_0", 1)}
    missed = PassedOverError("read before")
    for number, name in enumerate(("c", "d"), 1):
        aside = RecordCollectionSetAside(2, entry(number, name=name), missed, stood)
        actor.ask(aside, timeout=ANSWER)
    refused = CollectionError("no")
    other = RecordCollectionSetAside(2, entry(3, name="a"), refused, stood)
    actor.ask(other, timeout=ANSWER)
    assert len(world.begun) == 2
    actor.ask(RecordStarts(2, {}, "the run opens"), timeout=ANSWER)
    wait_until(lambda: len(world.begun) == 3, "it begins again")
    events = list(world.stores.log.history(task_id))
    (retried,) = [each for each in events if isinstance(each, CollectionsRetried)]
    assert [each["name"] for each in retried.collections] == ["c", "d"]
    assert (retried.who["kind"], retried.why) == ("supervisor", "an update selected it")
    replayed = {each.name: each.replay for each in world.begun[-1].entries}
    assert replayed == {"a": False, "c": True, "d": True}


def test_names_of_what_exists_stay(world: World) -> None:
    """Another mapping of it is refused with its name, and the run is not ended."""
    task_id = world.create()
    world.ask(PauseTask(task_id, CLIENT))
    world.has(task_id, "a")
    world.ref.stop()
    again = World(world.stores)
    again.ask(ResumeTask(task_id, CLIENT))
    begun = len(world.begun)

    def mapping(name: str) -> tuple[NameMapping, ...]:
        names = {name: "z"}
        return (
            NameMapping(
                source_db="default", target_db="default", collection_mapping=names
            ),
        )

    with pytest.raises(TaskConflictError, match=r"\[default\.a\]"):
        again.update(task_id, name_mapping=mapping("a"))
    assert len(world.begun) == begun
    again.update(task_id, name_mapping=mapping("b"))
    assert again.task(task_id).spec.target_name("default", "b") == ("default", "z")


def test_collections_of_other_tasks(world: World) -> None:
    """What another task has is refused; what a task leaves another may have."""
    task_id, other = world.create(), world.create(replace(AB, collection_infos=("c",)))
    with pytest.raises(TaskConflictError, match="duplicate"):
        world.update(task_id, collection_infos=("a", "c"))
    world.update(task_id, collection_infos=("a",))
    world.update(other, collection_infos=("b", "c"))
    with pytest.raises(TaskConflictError, match="duplicate"):
        world.update(task_id, collection_infos=("a", "b"))
    world.update(task_id, collection_infos=("*",))
    assert set(world.task(task_id).spec.excludes) == {
        ("default", "b"),
        ("default", "c"),
    }


def test_an_address_where_another_task_has_the_collections(world: World) -> None:
    """The tasks of the new address count; another login at the old one needs no look."""
    task_id = world.create()
    elsewhere = world.create(replace(AB, target=OTHER))
    with pytest.raises(TaskConflictError, match="duplicate"):
        world.update(elsewhere, target=SPEC.target)
    world.update(task_id, token="root:new")
    world.update(task_id, target=replace(SPEC.target, connect_timeout=3))
    assert world.task(task_id).spec.target.connect_timeout == 3


@pytest.mark.parametrize("paused", [False, True])
def test_names_at_the_target_are_free_once_their_collection_leaves(
    world: World,
    names: NameReservations,
    paused: bool,  # noqa: FBT001
) -> None:
    """Another task's collection may have the name; before, it could not."""
    task_id = world.create()
    world.ask(PauseTask(task_id, CLIENT))
    world.has(task_id, "a")
    world.ref.stop()
    again = World(world.stores)
    if not paused:
        again.ask(ResumeTask(task_id, CLIENT))
    name = "target:19530", ("default", "a")
    assert names.holder(name) == task_id
    again.update(task_id, collection_infos=("b",))
    assert names.holder(name) is None


@pytest.fixture
def renaming(world: World) -> World:
    """Return a supervisor that has begun anew; a paused task has a rename half done.

    And a collection that was set aside before anything of it was created.
    """
    task_id = world.create(replace(AB, collection_infos=("*",)))
    world.ask(PauseTask(task_id, CLIENT))
    world.has(task_id, "a")
    task = world.stores.log.load(task_id)
    rename = Operation(
        kind="RenameCollection",
        timestamp=1,
        database="default",
        name="a",
        collection_id=445,
        detail={"to_database": "default", "to_name": "b"},
    )
    task.start_operation(rename, who=CLIENT, why="test")
    unmade = entry(446, name="c", schema=b"")
    task.set_aside(unmade, "no", FailureClass.OPERATOR, who=CLIENT, why="test")
    world.stores.log.save(task)
    world.ref.stop()
    return World(world.stores)


def test_both_names_of_a_rename_are_held_after_a_restart(
    renaming: World, names: NameReservations
) -> None:
    """It may be done already, and is not known to be; a name that nothing has is free."""
    held = {n for n in "abc" if names.holder(("target:19530", ("default", n)))}
    assert held == {"a", "b"}


def mapped_to(name: str) -> TaskSpec:
    """Return a task whose one collection has this name at the target."""
    mapping = NameMapping(
        source_db="other", target_db="default", collection_mapping={"x": name}
    )
    return replace(
        AB,
        collection_infos=(),
        db_collections={"other": ("x",)},
        name_mapping=(mapping,),
    )


def test_a_new_task_may_have_the_names_that_no_other_holds(renaming: World) -> None:
    """Those of a rename that is half done are the other's, both."""
    for name in ("a", "b"):
        with pytest.raises(TaskConflictError, match=rf"names \[default\.{name}\]"):
            renaming.create(mapped_to(name))
    renaming.create(mapped_to("c"))


def test_names_move_with_the_address(world: World, names: NameReservations) -> None:
    """They are free at the old address, and held at the new one."""
    task_id = world.create()
    world.ask(PauseTask(task_id, CLIENT))
    world.has(task_id, "a")
    world.ref.stop()
    again = World(world.stores)
    again.update(task_id, target=OTHER)
    assert names.holder(("target:19530", ("default", "a"))) is None
    assert names.holder(("other:19530", ("default", "a"))) == task_id


def test_two_updates_at_once(world: World) -> None:
    """The second was made of what the task is no more: it is refused."""
    task_id = world.create()
    before = world.task(task_id).spec
    world.update(task_id, collection_infos=("a",))
    late = UpdateTask(task_id, before, replace(before, token="x"), CLIENT)
    with pytest.raises(TaskConflictError, match="changed meanwhile"):
        world.ask(late)
    with pytest.raises(UnknownTaskError):
        world.ask(replace_id(late))


def replace_id(message: UpdateTask) -> UpdateTask:
    """Return the same for a task that is not there."""
    return UpdateTask("f" * 32, message.before, message.spec, CLIENT)


@pytest.mark.parametrize("saved", [False, True])
def test_an_update_whose_answer_was_lost(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    saved: bool,  # noqa: FBT001
) -> None:
    """It is done or it is not, as the log says; the task goes on either way."""
    task_id = world.create()
    save, fails = TaskLog.save, [True]

    def losing(log: TaskLog, task: Task, check: object) -> None:
        assert check is None
        if saved or not fails:
            save(log, task)
        if fails:
            fails.pop()
            raise UnavailableError("the event log cannot answer")

    monkeypatch.setattr(TaskLog, "save", losing)
    with pytest.raises(UnavailableError):
        world.update(task_id, collection_infos=("a",))
    selected = ("a",) if saved else ("a", "b")
    assert world.begun[-1].task.collection_infos == selected
    assert len(world.begun) == 2
    assert world.view(task_id).spec.collection_infos == selected
    world.update(task_id, collection_infos=("b",))


class Target:
    """A target as the service connects to it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def close(self) -> None:
        """Do nothing."""


def owned(world: World) -> Any:
    """Return what owns the stores of a world, with all tasks."""
    tenure = SimpleNamespace(stores=world.stores, supervisor=world.ref)
    return SimpleNamespace(tenure=tenure, refuse_moving=lambda _: None)


@pytest.fixture
def service(world: World, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return the service over the world; every target answers and is no source."""
    service = Service(CONFIG)
    service._ownership = owned(world)
    monkeypatch.setattr(target_trial, "connect", lambda param, _: Target(param.uri))
    for check in ("refuse_source", "refuse_standby"):
        monkeypatch.setattr(target_trial, check, lambda *_: None)
    return service


def test_what_changes_nothing_is_not_written(service: Service, world: World) -> None:
    """Nor is the target connected to: it may be away."""
    task_id = world.create()
    spec = world.task(task_id).spec
    service._target_trial = None
    assert service.update(task_id, spec, spec, CLIENT) == []
    same = replace(spec, token="root:old")
    assert service.update(task_id, spec, same, CLIENT) == []
    assert world.task(task_id).version == 1


def test_a_target_that_refuses(
    service: Service, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, and its words are the answer's."""
    task_id = world.create()
    spec = world.task(task_id).spec

    def refuse(_param: object, token: str) -> None:
        raise AccessRefusedError(f"no {token}")

    monkeypatch.setattr(target_trial, "connect", refuse)
    new = replace(spec, token="root:new")
    with pytest.raises(TargetRefusedError, match="connect the milvus, no root:new"):
        service.update(task_id, spec, new, CLIENT)
    other = replace(spec, target=OTHER)
    with pytest.raises(TargetRefusedError, match="no root:old"):
        service.update(task_id, spec, other, CLIENT)
    assert world.task(task_id).version == 1


@pytest.mark.parametrize("written", [False, True])
def test_another_address_is_checked_once_something_was_written(
    service: Service,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    written: bool,  # noqa: FBT001
) -> None:
    """A task that has nothing at its target yet may have any other."""
    task_id = world.create()
    world.ask(PauseTask(task_id, CLIENT))
    if written:
        world.has(task_id, "a")
    world.ref.stop()
    again = World(world.stores)
    asked: list[str] = []

    def check(target: Target, *_: object, told: bool) -> None:
        assert told
        asked.append(target.uri)

    monkeypatch.setattr(target_trial, "refuse_other", check)
    service._ownership = owned(again)
    spec = again.task(task_id).spec
    other = replace(spec, target=OTHER)
    told = service.update(task_id, spec, other, CLIENT, same_milvus=True)
    assert told == ["milvus_connect_param"]
    assert asked == [OTHER.uri] * written
    event = list(world.stores.log.history(task_id))[-1]
    assert event.why.endswith("who says that the target is the same Milvus")
