"""TaskLog: what is saved is there, on both databases, and what errors say."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteConnection

from cdc_actors.errors import (
    FailureClass,
    OperatorError,
    TaskConflictError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.store import postgres, sqlite
from cdc_actors.store.event_log import TaskLog
from cdc_actors.tasks import Task, TaskState
from tests.support.tasks import CLIENT, SUPERVISOR, new_task

SAYS = {"who": SUPERVISOR, "why": "test"}

SAVE_FOR_EVER = """
import sys
from cdc_actors.errors import FailureClass
from cdc_actors.store.event_log import TaskLog
from cdc_actors.tasks import Who
log = TaskLog.sqlite(sys.argv[1])
task = log.load(sys.argv[2])
while True:
    task.fail(
        "x", FailureClass.TRANSIENT, next_try=None, who=Who(kind="supervisor"), why="y"
    )
    log.save(task)
    print(task.version, flush=True)
"""


@pytest.fixture
def sqlite_log(tmp_path):
    """A log in a new file."""
    with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
def log(request):
    """An empty log, in each kind of database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_log")
        return
    with closing(TaskLog.postgres(request.getfixturevalue("postgres_url"))) as opened:
        yield opened


def saved_task(log: TaskLog) -> Task:
    """Return a new task that is in the log."""
    task = new_task()
    log.save(task)
    return task


def pause(task: Task) -> None:
    """Pause a task as somebody would."""
    task.pause("by hand", [], **SAYS)


def wait_for_answer(log: TaskLog) -> None:
    """Return as soon as the log answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return log.check()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise


class TestEachDatabase:
    """What holds for SQLite and PostgreSQL alike."""

    def test_loaded_equals_saved(self, log):
        """A task that is loaded is the one that was saved."""
        task = saved_task(log)
        pause(task)
        log.save(task)
        assert log.load(task.task_id) == task
        assert log.load(task.task_id).state is TaskState.PAUSED

    @pytest.mark.parametrize("task_id", ["0" * 32, "no-such-id", ""])
    def test_load_of_unknown(self, log, task_id):
        """An id that is free or malformed is unknown, in milvus-cdc's words."""
        with pytest.raises(UnknownTaskError) as caught:
            log.load(task_id)
        assert str(caught.value) == f"not found: [{task_id}]"

    def test_deleted_task_keeps_its_history_only(self, log):
        """A deleted task is neither loaded nor listed, but its history stays."""
        kept, task = saved_task(log), saved_task(log)
        task.delete("by hand", [], who=CLIENT, why="over")
        log.save(task)
        with pytest.raises(UnknownTaskError):
            log.load(task.task_id)
        assert log.alive_ids() == [kept.task_id]
        history = list(log.history(task.task_id))
        assert [event.TOPIC for event in history] == ["task.created", "task.deleted"]
        assert history[1].who["address"] == CLIENT.address

    def test_alive_ids_are_oldest_first(self, log):
        """Tasks are listed in the order of their creation."""
        tasks = [saved_task(log) for _ in range(20)]
        assert log.alive_ids() == [task.task_id for task in tasks]

    def test_history_of_unknown(self, log):
        """There is no history of a task that never was."""
        with pytest.raises(UnknownTaskError):
            log.history("0" * 32)

    def test_history_is_read_in_pages(self, log, monkeypatch):
        """A history that is longer than a page comes whole and in order."""
        monkeypatch.setattr("cdc_actors.store.event_log._PAGE", 3)
        task = saved_task(log)
        for _ in range(3):
            pause(task)
            task.resume(**SAYS)
        log.save(task)
        versions = [event.originator_version for event in log.history(task.task_id)]
        assert versions == list(range(1, 8))

    def test_stale_writer_conflicts(self, log):
        """Of two writers that loaded the same task one wins, and the other is told."""
        task_id = saved_task(log).task_id
        first, second = log.load(task_id), log.load(task_id)
        pause(first)
        log.save(first)
        second.delete("by hand", [], **SAYS)
        with pytest.raises(TaskConflictError, match=task_id):
            log.save(second)
        assert log.load(task_id) == first

    def test_id_is_never_used_twice(self, log):
        """An id stays taken, even after its task is deleted."""
        task = saved_task(log)
        task.delete("by hand", [], **SAYS)
        log.save(task)
        with pytest.raises(TaskConflictError, match="used before"):
            log.save(new_task(task_id=task.id))

    def test_many_threads(self, log):
        """Threads that save different tasks at the same time do not disturb another."""
        start = threading.Barrier(8)

        def work(_: int) -> str:
            start.wait(timeout=60)
            task = saved_task(log)
            for _ in range(5):
                pause(task)
                log.save(task)
                task = log.load(task.task_id)
                task.resume(**SAYS)
                log.save(task)
            return task.task_id

        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(work, range(8)))
        assert set(log.alive_ids()) == ids
        assert [log.load(task_id).version for task_id in ids] == [11] * 8

    @pytest.mark.parametrize("text", ["\ud800", "\x00", '"\\', "日本 🎉"])
    def test_any_text_survives(self, log, text):
        """Whatever a peer's error holds can be saved and loaded."""
        task = saved_task(log)
        task.fail(text, FailureClass.OPERATOR, next_try=None, **SAYS)
        log.save(task)
        assert log.load(task.task_id).failure.error == text

    def test_event_of_a_newer_version(self, log):
        """An event that this version does not know stops the load, and says why."""
        task = saved_task(log)
        newer = StoredEvent(task.id, 2, "task.unheard_of", b"{}")
        log.database.recorder.insert_events([newer])
        with pytest.raises(OperatorError, match=r"task\.unheard_of.*newer version"):
            log.load(task.task_id)

    @pytest.mark.parametrize(
        "kind", ["task.collection_set_aside", "task.paused", "task.created"]
    )
    def test_known_event_in_a_newer_version(self, log, kind):
        """It is not read as if it were of a version that is known, and said to be newer."""
        task = saved_task(log)
        newer = StoredEvent(task.id, 2, kind, b'{"class_version":7,"why":"-"}')
        log.database.recorder.insert_events([newer])
        told = f"{kind} is there in version 7, and known up to .*newer version"
        with pytest.raises(OperatorError, match=told):
            log.load(task.task_id)

    @pytest.mark.parametrize("state", [b"{", b"\xff"])
    def test_damaged_event(self, log, state):
        """An event that is not JSON stops the load, and names the event."""
        task = saved_task(log)
        damaged = StoredEvent(task.id, 2, "task.paused", state)
        log.database.recorder.insert_events([damaged])
        with pytest.raises(OperatorError, match=r"originator_version 2"):
            log.load(task.task_id)

    def test_missing_event(self, log):
        """A gap in a task's events stops the load."""
        task = saved_task(log)
        pause(task)
        log.save(task)
        log.database.write("DELETE FROM {events} WHERE originator_version = 2")
        task.resume(**SAYS)
        log.save(task)
        with pytest.raises(OperatorError, match="changed by hand"):
            log.load(task.task_id)

    def test_check_of_open_and_closed(self, log):
        """A log that is open answers, and a closed one says that it cannot."""
        task = saved_task(log)
        log.check()
        log.close()
        for call in (log.check, log.alive_ids, lambda: log.load(task.task_id)):
            with pytest.raises(UnavailableError, match="cannot answer"):
                call()

    def test_two_logs_on_one_database(self, log, request):
        """A second log on the same database sees the first one's tasks at once."""
        if log.database.names["p"] == "?":
            other = TaskLog.sqlite(str(request.getfixturevalue("tmp_path") / "cdc.db"))
        else:
            other = TaskLog.postgres(request.getfixturevalue("postgres_url"))
        with closing(other):
            task = saved_task(log)
            pause(other.load(task.task_id))
            assert other.alive_ids() == [task.task_id]


class TestSqlite:
    """What only an SQLite file can do wrong."""

    def test_commits_are_durable(self, sqlite_log):
        """Connections write ahead and sync at each commit."""
        read = sqlite_log.database.read
        assert read("PRAGMA journal_mode")[0][0] == "wal"
        assert read("PRAGMA synchronous")[0][0] == 2

    def test_saved_events_survive_a_kill(self, tmp_path):
        """What save returned for is there after kill -9 in the middle of saving."""
        path = str(tmp_path / "cdc.db")
        with closing(TaskLog.sqlite(path)) as log:
            task_id = saved_task(log).task_id
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, path, task_id],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            seen = [int(process.stdout.readline()) for _ in range(20)]
        finally:
            process.kill()
            seen += [int(line) for line in process.communicate()[0].splitlines()]
        with closing(TaskLog.sqlite(path)) as log:
            assert log.load(task_id).version >= seen[-1]

    def test_environment_of_the_library_is_not_read(self, tmp_path, monkeypatch):
        """Variables that the library knows change nothing."""
        elsewhere = tmp_path / "elsewhere.db"
        for name, value in {
            "SQLITE_DBNAME": str(elsewhere),
            "PERSISTENCE_MODULE": "eventsourcing.popo",
            "COMPRESSOR_TOPIC": "eventsourcing.compressor:ZlibCompressor",
            "CREATE_TABLE": "no",
        }.items():
            monkeypatch.setenv(name, value)
            monkeypatch.setenv(f"TASKLOG_{name}", value)
        with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as log:
            saved_task(log)
            stored = log.database.recorder.select_notifications(None, 1)
        assert stored[0].state.startswith(b'{"timestamp"')
        assert not elsewhere.exists()

    @pytest.mark.parametrize("name", [":memory:", "a b?mode=ro#c.db", "file:x"])
    def test_every_path_is_a_file(self, tmp_path, monkeypatch, name):
        """No file name is taken for SQLite's own notation."""
        monkeypatch.chdir(tmp_path)
        with closing(TaskLog.sqlite(name)) as log:
            task = saved_task(log)
        with closing(TaskLog.sqlite(str(tmp_path / name))) as log:
            assert log.alive_ids() == [task.task_id]

    def test_file_that_is_no_database(self, tmp_path):
        """A file of another kind is refused by name."""
        path = tmp_path / "cdc.db"
        path.write_text("notes, not a database\n" * 100)
        with pytest.raises(UnavailableError, match=rf"{path} .*not a database"):
            TaskLog.sqlite(str(path))

    def test_folder_that_is_missing(self, tmp_path):
        """A path that cannot be made is refused by name."""
        path = tmp_path / "missing" / "cdc.db"
        with pytest.raises(UnavailableError, match=f"{path}"):
            TaskLog.sqlite(str(path))

    def test_disk_full(self, sqlite_log):
        """A save on a full disk fails, and works when there is room again."""
        task = saved_task(sqlite_log)
        with sqlite_log.database.datastore.get_connection(commit=False) as connection:
            connection.cursor().execute("PRAGMA max_page_count = 1")
        task.pause("x" * 100_000, [], **SAYS)
        with pytest.raises(UnavailableError, match="full"):
            sqlite_log.save(task)
        task = sqlite_log.load(task.task_id)
        assert task.state is TaskState.RUNNING
        pause(task)
        sqlite_log.save(task)
        assert sqlite_log.load(task.task_id) == task

    def test_locked_by_another_process(self, tmp_path, monkeypatch):
        """A save gives up in time while another process writes, then works."""
        monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_SECONDS", 1)
        path = str(tmp_path / "cdc.db")
        with (
            closing(TaskLog.sqlite(path)) as log,
            closing(sqlite3.connect(path, isolation_level=None)) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError, match="locked"):
                saved_task(log)
            other.execute("ROLLBACK")
            saved_task(log)

    def test_locked_by_another_thread(self, sqlite_log, monkeypatch):
        """A save gives up in time while another thread writes, then works."""
        monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_SECONDS", 0.01)
        with (
            sqlite_log.database.datastore.get_connection(commit=True),
            pytest.raises(UnavailableError, match="another thread is writing"),
        ):
            saved_task(sqlite_log)
        saved_task(sqlite_log)

    def test_writer_without_a_connection(self, sqlite_log, monkeypatch):
        """A save that finds no connection does not keep later ones from writing."""

        def no_connection(*_: object, **__: object) -> None:
            raise sqlite3.OperationalError("unable to open database file")

        with sqlite_log.database.datastore.get_connection(commit=False):
            with monkeypatch.context() as patch:
                patch.setattr(sqlite3, "connect", no_connection)
                with pytest.raises(UnavailableError, match="unable to open"):
                    saved_task(sqlite_log)
            saved_task(sqlite_log)

    def test_commit_that_fails(self, sqlite_log, monkeypatch):
        """A commit that fails leaves neither the event nor an open transaction."""

        def fail(_: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        task = saved_task(sqlite_log)
        pause(task)
        with monkeypatch.context() as patch:
            patch.setattr(SQLiteConnection, "commit", fail)
            with pytest.raises(UnavailableError, match="disk I/O error"):
                sqlite_log.save(task)
        task = sqlite_log.load(task.task_id)
        assert task.state is TaskState.RUNNING
        pause(task)
        sqlite_log.save(task)

    @pytest.mark.parametrize("replaced", [False, True])
    def test_file_that_goes(self, sqlite_log, tmp_path, replaced):
        """What is written into a file that is at no path any more is not acknowledged."""
        task = saved_task(sqlite_log)
        (path,) = tmp_path.glob("*.db")
        aside = path.rename(tmp_path / "aside")
        if replaced:
            path.write_bytes(b"")
        calls = [sqlite_log.check, lambda: saved_task(sqlite_log), sqlite_log.alive_ids]
        for call in calls:
            with pytest.raises(UnavailableError, match="deleted or replaced"):
                call()
        aside.replace(path)
        assert sqlite_log.alive_ids() == [task.task_id]
        sqlite_log.check()


class TestPostgres:
    """What only a PostgreSQL server can do wrong."""

    def test_outage(self, postgres_server, postgres_url, monkeypatch):
        """While the server is away every call fails; when it is back they work."""
        monkeypatch.setattr(postgres, "TIMEOUT_SECONDS", 1)
        with closing(TaskLog.postgres(postgres_url)) as log:
            task_id = saved_task(log).task_id
            postgres_server.stop()
            try:
                for call in (
                    log.check,
                    log.alive_ids,
                    lambda: log.load(task_id),
                    lambda: saved_task(log),
                ):
                    with pytest.raises(UnavailableError, match="cannot answer"):
                        call()
            finally:
                postgres_server.start()
            wait_for_answer(log)
            assert log.alive_ids() == [task_id]
            saved_task(log)

    def test_killed_connection(self, postgres_server, postgres_url):
        """A connection that the server has closed is replaced unseen."""
        with (
            closing(TaskLog.postgres(postgres_url)) as log,
            postgres_server.connect() as other,
        ):
            task = saved_task(log)
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
            assert log.load(task.task_id) == task

    def test_locked_table(self, postgres_server, postgres_url, monkeypatch):
        """A save gives up in time while another session holds the table."""
        monkeypatch.setattr(postgres, "TIMEOUT_SECONDS", 1)
        schema = postgres_url.rpartition("schema=")[2]
        with (
            closing(TaskLog.postgres(postgres_url)) as log,
            postgres_server.connect() as other,
        ):
            with other.transaction():
                other.execute(f"LOCK TABLE {schema}.task_events")
                with pytest.raises(UnavailableError, match="timeout"):
                    saved_task(log)
            saved_task(log)

    def test_public_schema(self, postgres_server):
        """Without a schema in the URL the tables are in the schema public."""
        with closing(TaskLog.postgres(postgres_server.url(sslmode="prefer"))) as log:
            saved_task(log)
        with postgres_server.connect() as connection:
            rows = connection.execute("SELECT topic FROM public.task_events").fetchall()
        assert rows == [("task.created",)]

    def test_wrong_password(self, postgres_server):
        """A refusal is reported in the server's words, without the password."""
        url = postgres_server.url().replace(":p%40ss", ":wrong")
        with pytest.raises(UnavailableError, match="password authentication") as caught:
            TaskLog.postgres(url)
        assert "wrong" not in str(caught.value)

    def test_missing_schema(self, postgres_server):
        """A schema that does not exist is named."""
        with pytest.raises(UnavailableError, match="nowhere"):
            TaskLog.postgres(postgres_server.url(schema="nowhere"))

    def test_nobody_listens(self, unused_port):
        """A server that is not there is reported in the network's words."""
        with pytest.raises(UnavailableError, match="refused"):
            TaskLog.postgres(f"postgresql://u:pw@127.0.0.1:{unused_port}/db")

    @pytest.mark.parametrize(
        "url",
        [
            "mysql://u:hidden@h/db",
            "u:hidden@h/db",
            "postgresql://u:hidden@[::1/db",
            "postgresql://u:hid%zzden@h/db",
            "postgresql://u:hidden@h/db?no_such_parameter=1",
            "postgresql://u:hidden@h/db?schema=A-b",
            "",
        ],
    )
    def test_malformed_url(self, url):
        """A URL that cannot be read is refused without repeating the password."""
        with pytest.raises(OperatorError, match="must look like") as caught:
            TaskLog.postgres(url)
        assert "hid" not in str(caught.value)

    def test_without_psycopg(self, monkeypatch):
        """Without psycopg the error says what to install."""
        monkeypatch.setitem(sys.modules, "psycopg", None)
        monkeypatch.delitem(sys.modules, "eventsourcing.postgres")
        monkeypatch.delitem(sys.modules, "cdc_actors.store.postgres")
        with pytest.raises(
            OperatorError, match=r"pip install 'cdc-actors\[postgres\]'"
        ):
            TaskLog.postgres("postgresql://u:pw@h/db")


@pytest.fixture
def unused_port():
    """A port of this host that nobody listens on, held so that nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
