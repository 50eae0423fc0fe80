"""Exports and imports of a whole log, from and to each kind of database."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from cdc_actors.errors import OperatorError, UnavailableError
from cdc_actors.store.audit.export import export, import_log
from cdc_actors.store.audit.verify import head_of, verify
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.send_horizons import SendHorizons
from tests.support.tasks import SUPERVISOR, checkpoint, new_task

SAYS = {"who": SUPERVISOR, "why": "test"}
KINDS = ["sqlite", "postgres"]


@pytest.fixture
def opened(request, tmp_path):
    """Return what opens a new log of a kind."""
    logs = []

    def open_log(kind: str) -> TaskLog:
        if kind == "sqlite":
            logs.append(TaskLog.sqlite(str(tmp_path / f"{len(logs)}.db")))
        else:
            server = request.getfixturevalue("postgres_server")
            logs.append(TaskLog.postgres(server.new_schema()))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


@pytest.fixture
def log(opened, tmp_path):
    """A log of three tasks, one deleted, with a secret and with places."""
    return filled(opened("sqlite"), tmp_path)


def filled(log: TaskLog, tmp_path) -> TaskLog:
    """Write into an empty log."""
    box = SecretBox.open(tmp_path / "cdc.key", {})
    tasks = [new_task(secret=box.encrypt("root:pl4nted")) for _ in range(3)]
    for task in tasks:
        log.save(task)
    for task in tasks:
        task.pause("日本 🎉 \ud800", [checkpoint()], **SAYS)
        log.save(task)
    tasks[0].delete("over", [], **SAYS)
    log.save(tasks[0])
    Checkpoints(log).save(tasks[1].task_id, [checkpoint("a", 5), checkpoint("b", 6)])
    SendHorizons(log).save(tasks[1].task_id, {"a": 7})
    return log


def test_each_log_has_an_id_of_its_own(opened, tmp_path):
    """From its first event on, also where the same is written into two."""
    logs = [opened("sqlite") for _ in range(2)]
    with pytest.raises(UnavailableError, match="empty"):
        _ = logs[0].store_id
    ids = {filled(log, tmp_path).store_id for log in logs}
    assert [len(each) for each in ids] == [16, 16]


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_there_and_everything(opened, tmp_path, source, target):
    """A copy has the same tasks, secrets, places and head, and goes on from there."""
    log, copy = filled(opened(source), tmp_path), opened(target)
    lines = list(export(log))
    assert import_log(copy, lines) == head_of(log.database)
    assert copy.alive_ids() == log.alive_ids()
    assert copy.store_id == log.store_id
    for task_id in log.alive_ids():
        assert copy.load(task_id) == log.load(task_id)
        assert Checkpoints(copy).load(task_id) == Checkpoints(log).load(task_id)
        assert SendHorizons(copy).load(task_id) == SendHorizons(log).load(task_id)
    secret = copy.load(copy.alive_ids()[0]).secret
    box = SecretBox.open(tmp_path / "cdc.key", {})
    assert box.decrypt(secret) == "root:pl4nted"
    assert b"pl4nted" not in b"".join(lines)
    task = copy.load(copy.alive_ids()[0])
    task.resume(**SAYS)
    copy.save(task)
    result = verify(copy.database, head_of(log.database))
    assert (result.mismatch, result.head.events) == (None, 8)


def test_many_pages(opened, log, monkeypatch):
    """A log that is longer than a page is copied whole."""
    monkeypatch.setattr("cdc_actors.store.audit.export.PAGE", 2)
    monkeypatch.setattr("cdc_actors.store.audit.verify.PAGE", 2)
    copy = opened("sqlite")
    import_log(copy, export(log))
    assert verify(copy.database, head_of(log.database)).valid


def test_seals_are_kept(opened, log):
    """Events that are older than the hashes stay known as such."""
    log.database.write("DELETE FROM {hashes}")
    log, copy = TaskLog(log.database), opened("sqlite")
    import_log(copy, export(log))
    assert verify(copy.database) == verify(log.database)
    assert verify(copy.database).sealed == 7


def test_an_empty_log(opened, log):
    """Nothing can be copied, too."""
    copy = opened("postgres")
    assert import_log(copy, export(opened("sqlite"))).events == 0


def changed(lines: list[bytes], number: int, **fields) -> list[bytes]:
    """Return the lines with one of them changed."""
    line = json.loads(lines[number]) | fields
    return [*lines[:number], json.dumps(line).encode(), *lines[number + 1 :]]


WRONG = {
    "an event changed": lambda lines: changed(lines, 4, topic="task.resumed"),
    "an event removed": lambda lines: lines[:4] + lines[5:],
    "a hash that is none": lambda lines: changed(lines, 4, log_hash="x"),
    "two events swapped": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "an unknown field": lambda lines: changed(lines, 4, more=1),
    "the end missing": lambda lines: lines[:-1],
    "a send horizon missing": lambda lines: lines[:-2] + lines[-1:],
    "a line behind the end": lambda lines: [*lines, lines[-1]],
    "the header missing": lambda lines: lines[1:],
    "the header twice": lambda lines: [lines[0], *lines],
    "another head": lambda lines: changed(lines, 0, head="7:" + "0" * 64),
    "no head": lambda lines: changed(lines, 0, head="x"),
    "another format": lambda lines: changed(lines, 0, line="cdc-actors log 2"),
    "no JSON": lambda lines: [*lines[:4], b"{", *lines[5:]],
    "no text": lambda lines: [*lines[:4], b"\xff", *lines[5:]],
    "nothing": lambda _: [],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", WRONG)
def test_what_is_not_an_export(opened, log, kind, change):
    """Lines that were changed or are not all there leave the log empty."""
    copy = opened(kind)
    lines = WRONG[change](list(export(log)))
    with pytest.raises(OperatorError):
        import_log(copy, lines)
    assert copy.alive_ids() == []
    assert head_of(copy.database).events == 0
    assert import_log(copy, export(log)) == head_of(log.database)


def test_into_a_log_with_events(log):
    """An import never mixes with what is there."""
    with pytest.raises(OperatorError, match="into an empty one"):
        import_log(log, export(log))


def test_export_of_a_changed_log(log):
    """What does not fit is not passed on as if it did."""
    log.database.write("UPDATE {events} SET topic = 'task.resumed' WHERE rowid = 5")
    with pytest.raises(OperatorError, match="cannot be exported: event 5"):
        list(export(log))


def test_export_while_others_write(opened, log):
    """An export is the log at the moment of its beginning."""
    lines = export(log)
    first = [next(lines)]
    log.save(new_task())
    copy = opened("sqlite")
    assert import_log(copy, [*first, *lines]).events == 7
    with closing(log):
        assert verify(log.database).head.events == 8
