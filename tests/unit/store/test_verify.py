"""The chain of hashes: whatever is done to a log behind its back is found and named."""
# ruff: noqa: S608 - tampering is done in SQL

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from cdc_actors.errors import OperatorError
from cdc_actors.store.audit.verify import Head, head_of, verify
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.hash_chain import Chain, stored_event
from tests.support.tasks import SUPERVISOR, new_task

SAYS = {"who": SUPERVISOR, "why": "test"}
SAVE = """
import sys
from uuid import UUID
from cdc_actors.store.event_log import TaskLog
from tests.support.tasks import SUPERVISOR, new_task
log = TaskLog.sqlite(sys.argv[1])
task = new_task()
for _ in range(50):
    task.pause("x", [], who=SUPERVISOR, why="y")
    task.resume(who=SUPERVISOR, why="y")
    log.save(task)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, tmp_path):
    """An empty log, in each kind of database."""
    if request.param == "sqlite":
        opened = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    else:
        opened = TaskLog.postgres(request.getfixturevalue("postgres_url"))
    with closing(opened):
        yield opened


@pytest.fixture
def database(log):
    """The database of a log in which two tasks wrote ten events, by turns."""
    tasks = [new_task(), new_task()]
    for task in tasks:
        log.save(task)
    for task in tasks * 2:
        task.pause("by hand", [], **SAYS)
        task.resume(**SAYS)
        log.save(task)
    return log.database


def rows(database) -> dict[int, StoredEvent]:
    """Return the events by number."""
    found = database.read("SELECT {order} AS number, * FROM {events}")
    return {row["number"]: stored_event(row) for row in found}


def edit(database) -> None:
    """Change one letter of event 5."""
    state = rows(database)[5].state.replace(b"by hand", b"by hend")
    assert state != rows(database)[5].state
    database.write_rows(
        "UPDATE {events} SET state = {p} WHERE {order} = {p}", [(state, 5)]
    )


def edit_topic(database) -> None:
    """Call event 5 something else."""
    database.write("UPDATE {events} SET topic = 'task.recovered' WHERE {order} = 5")


def edit_hash(database) -> None:
    """Give event 5 the hash of another."""
    database.write(
        "UPDATE {hashes} SET log_hash = stream_hash, stream_hash = log_hash "
        "WHERE number = 5"
    )


def edit_seal(database) -> None:
    """Claim that event 5 is older than the hashes."""
    database.write("UPDATE {hashes} SET sealed_at = '2020-01-01' WHERE number = 5")


def edit_and_hash(database) -> None:
    """Change event 5 and compute the hashes that it would have had."""
    events = rows(database)
    edit(database)
    changed = rows(database)[5]
    chain = Chain()
    for number in range(1, 6):
        event = changed if number == 5 else events[number]
        link = chain.next(event)
        chain.add(event, link)
    database.write_rows(
        "UPDATE {hashes} SET stream_hash = {p}, log_hash = {p} WHERE number = {p}",
        [(link.stream, link.log, 5)],
    )


def remove(database) -> None:
    """Take event 5 out, and leave its hash."""
    database.write("DELETE FROM {events} WHERE {order} = 5")


def remove_both(database) -> None:
    """Take event 5 out with its hash."""
    remove(database)
    database.write("DELETE FROM {hashes} WHERE number = 5")


def remove_and_close_up(database) -> None:
    """Take event 5 out with its hash, and let its task's later events move up."""
    task = rows(database)[5].originator_id.hex
    remove_both(database)
    for step in ("+ 1000", "- 1001"):
        database.write(
            f"UPDATE {{events}} SET originator_version = originator_version {step} "
            f"WHERE originator_id = '{task}' AND {{order}} > 5"
        )


def remove_hashes(database) -> None:
    """Take all hashes from event 5 on."""
    database.write("DELETE FROM {hashes} WHERE number >= 5")


def _swap(database, table: str, column: str) -> None:
    for old, new in ((5, -1), (6, 5), (-1, 6)):
        database.write(f"UPDATE {table} SET {column} = {new} WHERE {column} = {old}")


def swap(database) -> None:
    """Let events 5 and 6 change places."""
    _swap(database, "{events}", "{order}")


def swap_both(database) -> None:
    """Let events 5 and 6 change places, with their hashes."""
    swap(database)
    _swap(database, "{hashes}", "number")


def swap_other_task(database) -> None:
    """Let event 5 and one of the other task change places, with their hashes."""
    swapped = ((5, -1), (7, 5), (-1, 7))
    for table, column in (("{events}", "{order}"), ("{hashes}", "number")):
        for old, new in swapped:
            database.write(
                f"UPDATE {table} SET {column} = {new} WHERE {column} = {old}"
            )


def _insert(database, number: int) -> None:
    task = new_task()
    event = rows(database)[1]
    database.write_rows(
        "INSERT INTO {events} (originator_id, originator_version, topic, state) "
        "VALUES ({p}, {p}, {p}, {p})",
        [(task.id.hex, 1, event.topic, event.state)],
    )
    database.write(
        f"UPDATE {{events}} SET {{order}} = {number} "
        f"WHERE originator_id = '{task.id.hex}'"
    )


def insert_at_the_end(database) -> None:
    """Put in a task behind the last event."""
    _insert(database, 11)


def insert_at_the_beginning(database) -> None:
    """Put in a task before the first event."""
    _insert(database, -5)


def insert_between(database) -> None:
    """Put in a task with a hash as event 5, and let all later events move up."""
    _insert(database, -5)
    for step in ("+ 1000", "- 999"):
        database.write(
            f"UPDATE {{events}} SET {{order}} = {{order}} {step} WHERE {{order}} >= 5"
        )
        database.write(
            f"UPDATE {{hashes}} SET number = number {step} WHERE number >= 5"
        )
    database.write("UPDATE {events} SET {order} = 5 WHERE {order} = -5")
    database.write(
        "INSERT INTO {hashes} SELECT 5, stream_hash, log_hash, NULL "
        "FROM {hashes} WHERE number = 4"
    )


def truncate(database) -> None:
    """Cut off the end, and leave the hashes."""
    database.write("DELETE FROM {events} WHERE {order} > 8")


def truncate_both(database) -> None:
    """Cut off the end with its hashes: what is left is a good log."""
    truncate(database)
    database.write("DELETE FROM {hashes} WHERE number > 8")


def write_anew(database) -> None:
    """Change event 5 and make the whole chain anew."""
    edit(database)
    database.write("DELETE FROM {hashes}")
    chain = Chain()
    for number, event in sorted(rows(database).items()):
        link = chain.next(event)
        chain.add(event, link)
        database.write_rows(
            "INSERT INTO {hashes} VALUES ({p}, {p}, {p}, NULL)",
            [(number, link.stream, link.log)],
        )


FOUND = {
    edit: r"^event 5 of the log .* does not fit its hash",
    edit_topic: r"^event 5 of the log .* does not fit its hash",
    edit_hash: r"^event 5 of the log .* does not fit its hash",
    edit_seal: r"^event 5 of the log .* does not follow",
    edit_and_hash: r"^event 6 of the log .* does not fit its hash",
    remove: r"^event 5 of the log is missing$",
    remove_both: r"^event 6 of the log .* stands where event 2 of its task belongs$",
    remove_and_close_up: r"^event 6 of the log .* does not fit its hash",
    remove_hashes: r"^event 5 of the log .* has no hash",
    swap: r"^event 5 of the log .* stands where event 2 of its task belongs$",
    swap_both: r"^event 5 of the log .* stands where event 2 of its task belongs$",
    swap_other_task: r"^event 5 of the log .* does not follow what stands before it",
    insert_at_the_end: r"^event 11 of the log .* has no hash",
    insert_at_the_beginning: r"^event -5 of the log .* has no hash",
    insert_between: r"^event 5 of the log .* does not fit its hash",
    truncate: r"^event 9 of the log is missing$",
}
HIDDEN = {
    truncate_both: r"^event 9 is missing: .* 10 events, and this one ends with 8$",
    write_anew: r"^event 10 of the log .* not the one that the head was taken of",
}


def test_what_was_only_written_fits(log, database):
    """An untouched log fits, its head is the one that is printed, and it goes on."""
    head = head_of(database)
    result = verify(database, head)
    assert result.valid
    assert (result.mismatch, result.sealed, result.unsealed) == (None, 0, 0)
    assert result.head == head
    assert head.events == 10
    log.save(new_task())
    result = verify(database, head)
    assert (result.valid, result.head.events) == (True, 11)
    assert Head.parse(str(head)) == head


@pytest.mark.parametrize("tamper", FOUND, ids=lambda tamper: tamper.__name__)
def test_what_is_done_to_a_log_is_found(database, tamper):
    """The first event that does not fit is named, by number and by task."""
    tamper(database)
    result = verify(database)
    assert not result.valid
    assert_matches(result.mismatch, FOUND[tamper])


@pytest.mark.parametrize("tamper", HIDDEN, ids=lambda tamper: tamper.__name__)
def test_what_only_an_earlier_head_shows(database, tamper):
    """A log that was cut off, or written anew by an expert, fits; its head does not."""
    head = head_of(database)
    tamper(database)
    assert verify(database).valid
    result = verify(database, head)
    assert not result.valid
    assert_matches(result.mismatch, HIDDEN[tamper])


def assert_matches(text, pattern):
    """Check a text against a pattern, and show both."""
    with pytest.raises(OperatorError, match=pattern):
        raise OperatorError(text)


def test_events_go_on_behind_a_log_that_was_cut_off(log, database):
    """The service goes on, and what was done is still found."""
    truncate(database)
    task = new_task()
    log.save(task)
    task.pause("by hand", [], **SAYS)
    log.save(task)
    assert log.load(task.task_id) == task
    assert_matches(verify(database).mismatch, r"^event 9 of the log")


@pytest.mark.parametrize(
    "change",
    [
        "originator_id = 'x'",
        "originator_version = 'x'",
        "topic = NULL",
        "state = 'x'",
        "state = NULL",
        "state = 7",
    ],
)
def test_an_event_that_is_none(tmp_path, change):
    """What SQLite lets anybody write in place of an event is no traceback."""
    with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as log:
        for _ in range(3):
            log.save(new_task())
        log.database.write(f"UPDATE {{events}} SET {change} WHERE rowid = 2")
        assert_matches(verify(log.database).mismatch, r"^event 2 of the log cannot be")
        log.database.write("DELETE FROM {hashes}")
        with pytest.raises(OperatorError, match="event 2 of the log cannot be read"):
            TaskLog(log.database)


@pytest.mark.parametrize("change", ["log_hash = 'x'", "stream_hash = 7"])
def test_a_hash_that_is_none(tmp_path, change):
    """The same for a hash."""
    with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as log:
        log.save(new_task())
        log.database.write(f"UPDATE {{hashes}} SET {change}")
        assert_matches(verify(log.database).mismatch, r"^event 1 of the log")


def test_an_empty_log_fits(log):
    """It has a head, too."""
    result = verify(log.database, head_of(log.database))
    assert (result.valid, result.head.events) == (True, 0)


def test_log_of_an_earlier_version(log, database):
    """It is told from a good one, stays readable, and is sealed as it is found."""
    database.write("DELETE FROM {hashes}")
    result = verify(database)
    assert (result.valid, result.mismatch, result.unsealed) == (False, None, 10)
    log = TaskLog(database)
    ids = log.alive_ids()
    assert len(ids) == 2
    task = log.load(ids[0])
    task.pause("by hand", [], **SAYS)
    log.save(task)
    result = verify(database)
    assert (result.valid, result.sealed, result.head.events) == (True, 10, 11)
    assert result.sealed_at.startswith("20")
    edit(database)
    assert_matches(verify(database).mismatch, r"^event 5 of the log")


def test_a_sealed_log_is_not_sealed_again(database):
    """Hashes that are missing later are not made up for."""
    remove_hashes(database)
    TaskLog(database)
    assert_matches(verify(database).mismatch, r"^event 5 of the log .* has no hash")


def test_many_pages(log, database, monkeypatch):
    """A log that is longer than a page is seen whole."""
    monkeypatch.setattr("cdc_actors.store.audit.verify.PAGE", 3)
    monkeypatch.setattr("cdc_actors.store.hash_chain.PAGE", 3)
    seen = []
    assert verify(database, progress=seen.append).head.events == 10
    assert seen == [3, 3, 3]
    database.write("DELETE FROM {hashes}")
    TaskLog(database)
    assert verify(database).sealed == 10
    remove(database)
    assert_matches(verify(database).mismatch, "event 5 of the log is missing")


def test_while_others_write(log):
    """Threads that write do not disturb the chain, nor the one who verifies it."""
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            task = new_task()
            task.pause("by hand", [], **SAYS)
            log.save(task)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        verdicts = []
        while not verdicts or verdicts[-1].head.events < 200:
            verdicts.append(verify(log.database))
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert {result.mismatch for result in verdicts} == {None}
    assert verify(log.database).valid


def test_two_processes_write(tmp_path):
    """Processes on one file make one chain."""
    path = str(tmp_path / "cdc.db")
    command = [sys.executable, "-c", SAVE, path]
    with closing(TaskLog.sqlite(path)) as log:
        processes = [subprocess.Popen(command) for _ in range(2)]
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
        result = verify(log.database)
    assert (result.mismatch, result.head.events) == (None, 202)


@pytest.mark.parametrize("text", ["", "12", "x:" + "0" * 64, "1:" + "g" * 64])
def test_what_is_no_head(text):
    """A head that was mistyped is refused."""
    with pytest.raises(OperatorError, match="is no head"):
        Head.parse(text)


def test_the_hashes_are_a_file_format():
    """The same event has the same hashes for ever: heads are kept elsewhere."""
    chain = Chain()
    first = StoredEvent(UUID(int=7), 1, "task.created", b'{"a":1}')
    link = chain.next(first)
    chain.add(first, link)
    second = chain.next(StoredEvent(UUID(int=7), 2, "task.paused", b"{}"), "2026-01-01")
    assert [each.hex()[:16] for each in (link.stream, link.log)] == [
        "0716207c375e4c63",
        "789eed739a7339ed",
    ]
    assert [each.hex()[:16] for each in (second.stream, second.log)] == [
        "f30d4c6c86e959dd",
        "d496d06b092cbd42",
    ]
