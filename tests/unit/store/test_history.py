"""The history of a task: what it tells, in pages, and what a task once was."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from cdc_actors.errors import FailureClass, InvalidRequestError, UnknownTaskError
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.history import History, entry_of, moment_of
from cdc_actors.tasks import Operation, TaskEvent, TaskState
from cdc_actors.tasks.descriptions import describe
from tests.support.tasks import CLIENT, SUPERVISOR, entry, new_task
from tests.unit.tasks.test_golden_events import concrete, every_event

SAYS = {"who": SUPERVISOR, "why": "test"}
START = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


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
def clock(monkeypatch):
    """Let a minute pass between any event and the next."""
    times = (START + timedelta(minutes=number) for number in range(1000))
    monkeypatch.setattr(
        TaskEvent, "create_timestamp", staticmethod(lambda: next(times))
    )


@pytest.fixture
def task(log, clock):
    """A saved task that was paused (2), resumed (3) and deleted (4)."""
    task = new_task()
    task.pause("by hand", [], **SAYS)
    task.resume(**SAYS)
    task.delete("over", [], **SAYS)
    log.save(task)
    return task


def numbers(page) -> list[int]:
    """Return which events a page holds."""
    return [each.number for each in page.events]


class TestEntries:
    """What is told of each event."""

    @pytest.mark.parametrize(
        "kind", sorted(concrete(TaskEvent), key=lambda kind: kind.TOPIC)
    )
    def test_every_event_has_words_and_no_secret(self, kind):
        """Each kind of event is told in a line, and its content is JSON."""
        event = every_event()[kind.TOPIC]
        told = entry_of(event)
        assert told.text
        assert "\n" not in told.text
        assert "secret" not in json.dumps(told.content)
        assert told.event == kind.TOPIC.removeprefix("task.")
        assert told.time == event.timestamp

    def test_words(self):
        """A life reads as a story."""
        told = [describe(event) for event in every_event().values()]
        assert told[0] == (
            "created, to replicate default.a, default.*, db.*, *.b to https://target:19530"
        )
        assert told[1] == (
            "the source is the Milvus set up at 2026-11-28T21:56:40.123+00:00, "
            "which was at http://s:19530"
        )
        assert told[2] == "reading started, channels: 1"
        assert told[3] == "CreateCollection of default.c445 applied at the target"
        assert told[4] == "DropCollection of default.c445 started at the target"
        assert told[5] == "default.c445 set aside: schema differs"
        assert told[6] == "taken up again from where they stood: default.c445"
        assert told[7] == "acknowledged as not done: CreateDatabase of db"
        assert told[8].startswith("failed, attempt 1, next try at 2026-01-02T03:04:07")
        assert told[8].endswith(": away")
        assert told[9:] == [
            "recovered",
            "paused: by hand",
            "resumed",
            "the target's token is encrypted with a newer key",
            (
                "updated, another collection_infos, db_collections, "
                "milvus_connect_param.token; not replicated any more: default.c445"
            ),
            "snapshot of db.c9 started: 100 rows in 5,000 bytes of files",
            "snapshot of db.c9 completed: 90 rows in 1.5 s; the log follows",
            "to be brought anew into a shadow each: db.c9",
            "to be brought anew, the target's are dropped first: db.c9",
            (
                "compared with the target, different: collections 2, rows 3,000, "
                "missing 1; db.b"
            ),
            "deleted: over",
        ]

    def test_failure_for_good(self):
        """A failure that is not tried again says so."""
        task = new_task()
        task.fail("refused\n by it", FailureClass.OPERATOR, next_try=None, **SAYS)
        told = entry_of(task.collect_events()[1])
        assert told.text == "failed, attempt 1, not tried again: refused by it"
        assert told.content["error"] == "refused\n by it"

    def test_operation_that_was_refused(self):
        """It does not read as if it had been done."""
        task = new_task()
        refused = Operation(
            kind="CreateAlias",
            timestamp=7,
            database="db",
            name="c",
            detail={"alias": "al", "refused": "no"},
        )
        task.apply_operation(refused, **SAYS)
        told = describe(task.collect_events()[1])
        assert told == "CreateAlias of db.c refused: no"

    def test_operation_that_was_done_with_less(self):
        """It says what it was done without."""
        task = new_task()
        done = Operation(
            kind="LoadCollection",
            timestamp=7,
            database="db",
            name="c",
            detail={"reduced": "1 replica instead of 2: nodes not enough"},
        )
        task.apply_operation(done, **SAYS)
        told = describe(task.collect_events()[1])
        assert told == (
            "LoadCollection of db.c applied at the target, 1 replica instead of 2: nodes "
            "not enough"
        )

    def test_content_of_a_created_collection(self):
        """The shards are told, the bytes of the schema are not."""
        task = new_task()
        task.apply_operation(Operation.create_collection(entry()), **SAYS)
        content = entry_of(task.collect_events()[1]).content
        assert content["detail"] == {"shards": ["by-dev-rootcoord-dml_0_445v0"]}

    def test_words_of_a_peer_that_are_no_unicode(self):
        """Half a character does not keep a history from being sent."""
        task = new_task()
        task.fail("x\ud800", FailureClass.OPERATOR, next_try=None, **SAYS)
        told = entry_of(task.collect_events()[1])
        assert told.content["error"] == "x?"
        assert told.text.endswith("x?")


class TestPages:
    """Reading the log piece by piece, on both databases."""

    def test_pages(self, log, task):
        """Pages follow each other without a gap, and the last one says so."""
        history = History(log)
        first = history.page(task.task_id, after=0, limit=3)
        rest = history.page(task.task_id, after=3, limit=3)
        assert (numbers(first), first.more) == ([1, 2, 3], True)
        assert (numbers(rest), rest.more) == ([4], False)
        assert first.events[0].who["address"] == CLIENT.address

    def test_page_that_ends_with_the_log(self, log, task):
        """A full page behind which there is nothing does not promise more."""
        page = History(log).page(task.task_id, after=0, limit=4)
        assert (numbers(page), page.more) == ([1, 2, 3, 4], False)

    def test_nothing_new(self, log, task):
        """Behind the last event there is an empty page, not an error."""
        page = History(log).page(task.task_id, after=4, limit=1)
        assert (page.events, page.more) == ([], False)

    @pytest.mark.parametrize("after", [0, 7])
    def test_unknown_task(self, log, after):
        """A task that never was has no history."""
        with pytest.raises(UnknownTaskError):
            History(log).page("0" * 32, after=after, limit=1)


class TestPast:
    """A task as it was, by number and by time, on both databases."""

    @pytest.mark.parametrize(
        ("number", "state"),
        [(1, TaskState.RUNNING), (2, TaskState.PAUSED), (3, TaskState.RUNNING)],
    )
    def test_as_of_event_and_time(self, log, task, number, state):
        """The same state is found by an event's number and by any time up to the next."""
        history = History(log)
        begins = START + timedelta(minutes=number - 1)
        ends = begins + timedelta(seconds=59.999999)
        found = [history.task(task.task_id, at) for at in (number, begins, ends)]
        assert {each.version for each in found} == {number}
        assert {each.state for each in found} == {state}

    @pytest.mark.parametrize(
        "moment",
        [4, START + timedelta(minutes=3), START - timedelta(microseconds=1)],
        ids=["number of the deletion", "after the deletion", "before the creation"],
    )
    def test_not_there(self, log, task, moment):
        """Before it was created and once it is deleted a task is unknown."""
        with pytest.raises(UnknownTaskError):
            History(log).task(task.task_id, moment)

    @pytest.mark.parametrize("number", [0, 5])
    def test_number_that_is_none(self, log, task, number):
        """An event that is not there is refused with those that are."""
        with pytest.raises(InvalidRequestError, match="has events 1 to 4"):
            History(log).task(task.task_id, number)

    def test_moments_as_text(self):
        """Digits are a number, the rest is a time, in UTC unless it says otherwise."""
        assert moment_of("20260102") == 20260102
        assert moment_of("2026-01-02T03:00") == START
        assert moment_of("2026-01-02T04:00+01:00") == START
        assert moment_of("2026-01-02T03:00:00Z") == START
        for text in ("yesterday", "", "-1", "2026-13-01", "9" * 5000):
            with pytest.raises(InvalidRequestError, match="number of an event"):
                moment_of(text)
