"""Tasks of one target fit beside each other, whoever has them; a real PostgreSQL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from msgspec.structs import replace

from cdc_actors.config import Config
from cdc_actors.config.model import (
    MetaStoreConfig,
    Natsmq,
    Postgres,
    SourceConfig,
    Sqlite,
)
from cdc_actors.errors import TaskConflictError, TaskLimitError
from cdc_actors.service import current_run
from cdc_actors.service.asking import ask
from cdc_actors.service.messages import (
    CreateTask,
    DeleteTask,
    GetTask,
    RebuildEnded,
    UpdateTask,
)
from cdc_actors.service.neighbours import BesideChangedError, Neighbours
from cdc_actors.service.source_clock import SourceClock
from cdc_actors.service.stores import Stores
from cdc_actors.service.supervisor_actor import Supervisor
from cdc_actors.service.task_requests import TRIES, TaskRequests
from cdc_actors.store.postgres_lease import PostgresLease
from cdc_actors.tasks import ConnectParam, NameMapping, TaskState
from tests.support.tasks import CLIENT, SPEC, new_task
from tests.unit.service.test_supervisor import IdleRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdc_actors.service.neighbours import Beside
    from cdc_actors.tasks import TaskSpec

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
LIMIT = 8
ELSEWHERE = ConnectParam(uri="http://elsewhere:19530")
TARGET = "target:19530"


def spec(*names: str, **changes: Any) -> TaskSpec:
    """Return the specification of a task with collections of these names."""
    return replace(SPEC, collection_infos=names, **changes)


class Member:
    """A service on the store, with its supervisor."""

    def __init__(self, url: str, folder: Path) -> None:
        config = Config(
            source_config=SourceConfig(natsmq=Natsmq(address="nats://127.0.0.1:1")),
            max_task_num=LIMIT,
            meta_store_config=MetaStoreConfig(
                store_type="postgres",
                postgres=Postgres(url=url),
                sqlite=Sqlite(path=str(folder / "unused.db")),
            ),
        )
        self.lease = PostgresLease(url)
        self.lease.acquire()
        self.stores = Stores.open(config, self.lease)
        self.supervisor = Supervisor.start(config, self.stores, SourceClock())
        self.supervisor.tell(RebuildEnded())
        tenure = SimpleNamespace(stores=self.stores, supervisor=self.supervisor)
        ownership: Any = SimpleNamespace(
            tenure=tenure, refuse_moving=lambda _task_id: None
        )
        self.requests = TaskRequests(lambda: ownership)

    @property
    def neighbours(self) -> Neighbours:
        """What it knows of other tasks."""
        assert self.stores.neighbours is not None
        return self.stores.neighbours

    def create(self, asked: TaskSpec, task_id: str | None = None) -> str:
        """Create a task as a client asks for it."""
        message = CreateTask(task_id, asked, CLIENT)
        target = asked.target.uri
        return str(self.requests.ask_beside(message, target, task_id or ""))

    def update(self, task_id: str, **changes: Any) -> None:
        """Change members of a task's specification."""
        before = replace(self.stores.log.load(task_id).spec, token="")
        after = replace(before, **changes)
        message = UpdateTask(task_id, before, after, CLIENT)
        self.requests.ask_beside(message, after.target.uri, task_id)

    def delete(self, task_id: str) -> None:
        """Delete a task."""
        ask(self.supervisor, DeleteTask(task_id, CLIENT))

    def spec(self, task_id: str) -> TaskSpec:
        """Return a task's specification, as its supervisor has it."""
        seen = ask(self.supervisor, GetTask(task_id)).snapshot.task
        assert seen.state is TaskState.RUNNING
        found: TaskSpec = seen.spec
        return found

    def interrupt(self, act: Callable[[], Any], times: int = 1) -> list[int]:
        """Have something done each time this one has looked; return how often it looked."""
        looks: list[int] = []
        beside = self.neighbours.beside

        def looking(target_uri: str, task_id: str) -> Beside:
            found = beside(target_uri, task_id)
            looks.append(len(found.specs))
            if len(looks) <= times:
                act()
            return found

        vars(self.neighbours)["beside"] = looking
        return looks


@pytest.fixture
def members(
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Member, Member]]:
    """Yield two services on an empty store; runs of their tasks do nothing."""
    monkeypatch.setenv("CDC_ACTORS_KEY", KEY)
    monkeypatch.setattr(current_run, "Run", IdleRun)
    one, two = Member(postgres_url, tmp_path), Member(postgres_url, tmp_path)
    yield one, two
    pykka.ActorRegistry.stop_all()
    for each in (one, two):
        each.stores.log.close()
        each.lease.release()


def test_what_another_service_has_is_in_the_way(members: tuple[Member, Member]) -> None:
    """Until that task is deleted; and at another target it never is."""
    one, two = members
    books = one.create(spec("books"))
    with pytest.raises(TaskConflictError, match=f"existing task.*task_id: {books}"):
        two.create(spec("films", "books"))
    two.create(spec("books", target=ELSEWHERE))
    one.delete(books)
    again = two.create(spec("films", "books"))
    with pytest.raises(TaskConflictError, match=f"task_id: {again}"):
        one.create(spec("books"))


def test_everything_leaves_out_what_another_service_has(
    members: tuple[Member, Member],
) -> None:
    """Also what another has got by an update meanwhile."""
    one, two = members
    task_id = one.create(spec("books"))
    one.update(task_id, collection_infos=("books", "films"))
    everything = two.create(SPEC)
    assert sorted(two.spec(everything).excludes) == [
        ("default", "books"),
        ("default", "films"),
    ]


def test_an_update_finds_what_another_service_has(
    members: tuple[Member, Member],
) -> None:
    """It is refused, and the task goes on as it was."""
    one, two = members
    books, films = one.create(spec("books")), two.create(spec("films"))
    with pytest.raises(TaskConflictError, match=f"task_id: {films}"):
        one.update(books, collection_infos=("books", "films"))
    assert one.spec(books).collection_infos == ("books",)
    one.update(books, collection_infos=("books", "songs"))
    assert one.spec(books).collection_infos == ("books", "songs")


def test_one_that_another_creates_meanwhile_is_noticed(
    members: tuple[Member, Member],
) -> None:
    """Before a task is in the log that overlaps with it; then it is looked at again."""
    one, two = members
    looks = one.interrupt(lambda: two.create(spec("books")))
    with pytest.raises(TaskConflictError, match="existing task"):
        one.create(spec("books"))
    assert looks == [0, 1]
    assert len(one.stores.log.alive_ids()) == 1


def test_one_that_fits_beside_what_came_meanwhile_is_created(
    members: tuple[Member, Member],
) -> None:
    """Of the id that was asked for, and without what the other has."""
    one, two = members
    looks = one.interrupt(lambda: two.create(spec("books")))
    task_id = one.create(SPEC, "a" * 32)
    assert (task_id, looks) == ("a" * 32, [0, 1])
    assert one.spec(task_id).excludes == (("default", "books"),)


def test_an_update_notices_what_came_meanwhile(members: tuple[Member, Member]) -> None:
    """And is done, or refused, beside that; the task runs in any case."""
    one, two = members
    task_id = one.create(spec("books"))
    looks = one.interrupt(lambda: two.create(spec("films")))
    one.update(task_id, collection_infos=("books", "songs"))
    assert looks == [0, 1]
    assert one.spec(task_id).collection_infos == ("books", "songs")
    one.interrupt(lambda: two.create(spec("plays")))
    with pytest.raises(TaskConflictError, match="existing task"):
        one.update(task_id, collection_infos=("books", "plays"))
    assert one.spec(task_id).collection_infos == ("books", "songs")


def test_what_comes_at_another_target_disturbs_nobody(
    members: tuple[Member, Member],
) -> None:
    """Nor does a task that is deleted: it can only make room."""
    one, two = members
    films = two.create(spec("films"))

    def act() -> None:
        two.create(spec("books", target=ELSEWHERE))
        two.delete(films)

    looks = one.interrupt(act)
    one.create(spec("books"))
    assert looks == [1]


def test_it_ends_where_others_come_all_the_time(members: tuple[Member, Member]) -> None:
    """The client is told to try again, and nothing is created."""
    one, two = members
    names = iter("abcdefgh")

    def create() -> None:
        two.stores.log.save(new_task(spec=spec(next(names))))

    looks = one.interrupt(create, times=TRIES)
    with pytest.raises(BesideChangedError, match="try again"):
        one.create(spec("books"))
    assert looks == list(range(TRIES))
    assert len(one.stores.log.alive_ids()) == TRIES


def test_the_limit_counts_all_tasks_of_the_store(
    members: tuple[Member, Member],
) -> None:
    """Whoever has them, and whatever their targets are."""
    one, two = members
    for number in range(LIMIT):
        member = members[number % 2]
        member.create(
            spec(f"c{number}", target=ConnectParam(uri=f"http://t{number}:1"))
        )
    for each in members:
        with pytest.raises(TaskLimitError, match=f"reach the limit, {LIMIT}"):
            each.create(spec("more"))
    one.delete(one.stores.log.alive_ids()[0])
    two.create(spec("more"))


def test_the_last_place_is_for_one_of_two_who_ask_at_the_same_time(
    members: tuple[Member, Member],
) -> None:
    """Whatever their targets are; the other is told of the limit."""
    one, two = members
    for number in range(LIMIT - 1):
        one.create(spec(f"c{number}"))
    looks = one.interrupt(lambda: two.create(spec("films", target=ELSEWHERE)))
    with pytest.raises(TaskLimitError, match=f"reach the limit, {LIMIT}"):
        one.create(spec("books"))
    assert len(looks) == 2
    assert len(one.stores.log.alive_ids()) == LIMIT


def test_names_are_held_across_services(members: tuple[Member, Member]) -> None:
    """By one task each; only that lets go of one, or all of its own."""
    one, two = (each.stores.names for each in members)
    mine, theirs = one.of("a", TARGET), two.of("b", TARGET)
    book, film = ("default", "book"), ("default", "film")
    assert mine.reserve(book) is None
    assert mine.reserve(book) is None
    assert theirs.reserve(book) == "a"
    assert theirs.held_by_another(book) == "a"
    assert mine.held_by_another(book) is None
    assert two.of("b", "elsewhere:1").reserve(book) is None
    theirs.release(book)
    assert theirs.held_by_another(book) == "a"
    mine.release(book)
    assert theirs.reserve(book) is None
    mine.reserve(film)
    moved = theirs.moved(TARGET, [film, ("default", "song")])
    assert moved.held_by_another(film) == "a"
    assert mine.reserve(("default", "song")) == "b"
    assert mine.reserve(book) is None
    one.release_all("a")
    assert moved.held_by_another(film) is moved.held_by_another(book) is None


def test_a_name_that_a_task_of_another_service_holds_is_taken(
    members: tuple[Member, Member],
) -> None:
    """No new task may call a collection so; once it is deleted one may."""
    one, two = members
    task_id = one.create(spec("books"))
    one.stores.names.of(task_id, TARGET).reserve(("default", "held"))
    rule = {"source_db": "default", "target_db": "default"}
    mapping = (NameMapping(**rule, collection_mapping={"films": "held"}),)
    with pytest.raises(TaskConflictError):
        two.create(spec("films", name_mapping=mapping))
    one.delete(task_id)
    two.create(spec("films", name_mapping=mapping))
