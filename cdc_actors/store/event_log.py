"""The event log: where tasks become true, and what rebuilds them after a crash."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Repository
from eventsourcing.persistence import (
    DatetimeAsISO,
    EventStore,
    IntegrityError,
    JSONTranscoder,
    Mapper,
    StoredEvent,
)
from eventsourcing.utils import TopicError

from cdc_actors.errors import (
    OperatorError,
    TaskConflictError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.instruments import EVENT_LOG_APPEND_SECONDS
from cdc_actors.store.database import Database, reported
from cdc_actors.store.hash_chain import backfill_hashes
from cdc_actors.store.sqlite import open_sqlite
from cdc_actors.tasks.events import TaskCreated, TaskDeleted, TaskEvent, TaskUpdated
from cdc_actors.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cdc_actors.store.fence import Fence

_PAGE = 500

# Few of many events, found without a look at the others.
_CREATED_INDEX = (
    "CREATE INDEX IF NOT EXISTS tasks_created ON {events} (topic) "
    f"WHERE topic = '{TaskCreated.TOPIC}'"
)
_DELETED_INDEX = (
    "CREATE INDEX IF NOT EXISTS tasks_deleted ON {events} (originator_id) "
    f"WHERE topic = '{TaskDeleted.TOPIC}'"
)
_CHECKS_TABLE = (
    "CREATE TABLE IF NOT EXISTS {write_checks} (id INTEGER PRIMARY KEY, number BIGINT)"
)
_CHECK = (
    "INSERT INTO {write_checks} AS checks VALUES (1, 1) "
    "ON CONFLICT (id) DO UPDATE SET number = checks.number + 1"
)
_ALIVE = (
    "SELECT created.originator_id AS id FROM {events} AS created "  # noqa: S608
    f"WHERE created.topic = '{TaskCreated.TOPIC}' AND NOT EXISTS ("
    "SELECT 1 FROM {events} AS deleted "
    f"WHERE deleted.topic = '{TaskDeleted.TOPIC}' "
    "AND deleted.originator_id = created.originator_id) "
    "ORDER BY created.{order}"
)

_LIVES = (TaskCreated.TOPIC, TaskUpdated.TOPIC, TaskDeleted.TOPIC)
_LIVES_AFTER = (
    "SELECT {order} AS number, originator_id, originator_version, topic, state "  # noqa: S608
    f"FROM {{events}} WHERE {{order}} > {{p}} AND topic IN {_LIVES} "
    "ORDER BY {order}"
)

_FIRST_HASH = "SELECT log_hash FROM {hashes} ORDER BY number LIMIT 1"


class _Transcoder(JSONTranscoder):
    """JSON that takes every ``str``, also half a surrogate pair from a peer's error."""

    def encode(self, obj: object) -> bytes:
        return self.encoder.encode(obj).encode("utf-8", "backslashreplace")


class _Mapper(Mapper[UUID]):
    """Refuses what a newer version wrote; the library reads it as if it were old."""

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        event = super().to_domain_event(stored_event)
        if b'"class_version":' in stored_event.state:
            stored = self.transcoder.decode(stored_event.state).get("class_version", 1)
            known = getattr(type(event), "class_version", 1)
            if stored > known:
                raise TopicError(
                    f"{stored_event.topic} is there in version {stored}, and known up to "
                    f"version {known}"
                )
        return event


def event_mapper() -> Mapper[UUID]:
    """Return what turns events into stored ones and back: plain JSON."""
    transcoder = _Transcoder()
    transcoder.register(DatetimeAsISO())
    return _Mapper(transcoder)


def postgres_database(url: str, fence: Fence | None = None) -> Database:
    """Connect to PostgreSQL; see ``open_postgres``.

    Raises:
        OperatorError: The URL cannot be read, or psycopg is not installed.
    """
    try:
        from cdc_actors.store.postgres import open_postgres  # noqa: PLC0415
    except ImportError as error:
        raise OperatorError(
            f"PostgreSQL needs psycopg ({error}): `pip install 'cdc-actors[postgres]'`"
        ) from error
    return open_postgres(url, fence)


class TaskLog:
    """Saves and loads tasks. Any thread may use it.

    Its arguments alone decide where the log is; the environment variables of the
    library are not read. Every method raises ``UnavailableError``, in the database's
    words, if that is away, locked or full.
    """

    def __init__(self, database: Database) -> None:
        """Take over ``database``, which ``close`` closes."""
        self.database = database
        self._events: EventStore[UUID] = EventStore(event_mapper(), database.recorder)
        self._repository = Repository(self._events)
        database.write(_CREATED_INDEX, _DELETED_INDEX, _CHECKS_TABLE)
        backfill_hashes(database)

    @classmethod
    def sqlite(cls, path: str) -> Self:
        """Open the log in a file, which is made if there is none."""
        return cls(open_sqlite(path))

    @classmethod
    def postgres(cls, url: str, fence: Fence | None = None) -> Self:
        """Open the log in PostgreSQL; see ``open_postgres``.

        Raises:
            OperatorError: The URL cannot be read, or psycopg is not installed.
        """
        return cls(postgres_database(url, fence))

    def save(self, task: Task, check: Callable[[Any], None] | None = None) -> None:
        """Make the events that ``task`` has pending true, all or none.

        ``check``, if given, is called with a cursor in PostgreSQL's transaction, while
        nobody else writes events; what it raises is raised, and nothing saved.

        After an error the task in memory is ahead of the log and must be dropped and
        loaded again; after ``UnavailableError`` its events may have been saved or not.

        Raises:
            TaskConflictError: The task has other events since it was loaded, or its id
                is taken.
        """
        with reported(), EVENT_LOG_APPEND_SECONDS.time():
            try:
                more = {"check": check} if check else {}
                self._events.put(task.collect_events(), **more)
            except IntegrityError as error:
                raise TaskConflictError(
                    "the task was changed by somebody else at the same time, or its id "
                    f"was used before, task_id: {task.task_id}"
                ) from error

    def load(self, task_id: str, number: int | None = None) -> Task:
        """Return the task as its events have made it, up to a ``number`` if given.

        Raises:
            UnknownTaskError: There is no task of that id, or no longer.
        """
        with reported():
            try:
                task: Task = self._repository.get(
                    _uuid(task_id), version=number, projector_func=_replay
                )
            except AggregateNotFoundError:
                raise _unknown(task_id) from None
        if task.deleted:
            raise _unknown(task_id)
        return task

    def load_readable(self, task_id: str) -> Task:
        """Return what those events make of a task that come before one that makes no sense.

        If there are none, it is a task to nowhere, created in 1970.
        """
        with reported():
            stored = self.database.recorder.select_events(_uuid(task_id))
        task: Task | None = None
        # Whatever it is, it is the end: ``load`` has said what it is.
        with suppress(Exception):
            for each in stored:
                event: Any = self._events.mapper.to_domain_event(each)
                task = event.mutate(task)
        return task or Task.placeholder(_uuid(task_id))

    @cached_property
    def store_id(self) -> str:
        """What tells this log from others, 16 hexadecimal digits.

        It is of the first event's hash, so that it moves with an exported log.

        Raises:
            UnavailableError: There is no event yet.
        """
        first = self.database.read(_FIRST_HASH)
        if not first:
            raise UnavailableError("the event log is empty")
        return bytes(first[0]["log_hash"]).hex()[:16]

    def alive_ids(self) -> list[str]:
        """Return the ids of the tasks that are not deleted, oldest first."""
        return [UUID(str(row["id"])).hex for row in self.database.read(_ALIVE)]

    def lives(self, after: int, cursor: Any = None) -> list[tuple[int, TaskEvent]]:
        """Return what was created, updated and deleted behind an event's number in the log.

        Each with its own number, by the cursor of a transaction if one is given.
        """
        if cursor is None:
            rows = self.database.read(_LIVES_AFTER, after)
        else:
            names = self.database.names
            rows = cursor.execute(_LIVES_AFTER.format(**names), [after]).fetchall()
        with reported():
            return [(row["number"], self._event_of(row)) for row in rows]

    def _event_of(self, row: Any) -> TaskEvent:
        version, topic, state = row["originator_version"], row["topic"], row["state"]
        stored = StoredEvent(row["originator_id"], version, topic, bytes(state))
        return cast("TaskEvent", self._events.mapper.to_domain_event(stored))

    def history(self, task_id: str) -> Iterator[TaskEvent]:
        """Return the task's events, oldest first, also of one that is deleted.

        Raises:
            UnknownTaskError: There has never been a task of that id.
        """
        return self._pages(task_id, self.page(task_id, after=0))

    def page(self, task_id: str, *, after: int, limit: int = _PAGE) -> list[TaskEvent]:
        """Return up to ``limit`` of the task's events behind number ``after``.

        Raises:
            UnknownTaskError: There has never been a task of that id.
        """
        with reported():
            originator = _uuid(task_id)
            events = list(self._events.get(originator, gt=after, limit=limit))
        if not events:
            self.last_number(task_id)
        return cast("list[TaskEvent]", events)

    def last_number(self, task_id: str) -> int:
        """Return the number of the task's newest event.

        Raises:
            UnknownTaskError: There has never been a task of that id.
        """
        with reported():
            last = self.database.recorder.select_events(
                _uuid(task_id), desc=True, limit=1
            )
        if not last:
            raise _unknown(task_id)
        return last[0].originator_version

    def check(self) -> None:
        """Prove by a small write that the log takes events: a full one still reads."""
        self.database.write(_CHECK)

    def close(self) -> None:
        """Close the connections. What was saved is safe already."""
        self.database.close()

    def _pages(self, task_id: str, page: list[TaskEvent]) -> Iterator[TaskEvent]:
        while page:
            yield from page
            page = self.page(task_id, after=page[-1].originator_version)


def _replay(task: Task | None, events: Iterable[Any]) -> Task | None:
    """Apply events in order.

    The library's own way looks at each for what it is, which takes as long again.
    """
    for event in events:
        task = event.mutate(task)
    return task


def _uuid(task_id: str) -> UUID:
    try:
        return UUID(task_id)
    except ValueError:
        raise _unknown(task_id) from None


def _unknown(task_id: str) -> UnknownTaskError:
    return UnknownTaskError(f"not found: [{task_id}]")
