"""The events' file format: one golden file for each topic and version, for ever.

A golden file holds an event as the log stores it. They are never edited: an event that
changes gets a new version, a new file, and an upcast from the one before.
"""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent
from msgspec.structs import replace

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.errors import FailureClass, KindRefusedError
from cdc_actors.store.event_log import event_mapper
from cdc_actors.tasks import (
    ComparisonResult,
    ConnectParam,
    Operation,
    SourceIdentity,
    Task,
    TaskEvent,
    TaskSpec,
    snapshots,
)
from cdc_actors.tasks.model import Import, Resync
from tests.support.tasks import CLIENT, SUPERVISOR, checkpoint, entry, new_task

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("task.*.json"))
LACKING = {"task.collection_set_aside.v1": {"stood": {}}}
"""What older versions did not say, as it is read."""
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
EVENT_CLASSES = {
    value.TOPIC: value
    for value in vars(Task).values()
    if isinstance(value, type)
    and issubclass(value, TaskEvent)
    and value is not TaskEvent
}


def concrete(event_class: type[TaskEvent]) -> set[type[TaskEvent]]:
    """Return the event classes below ``event_class`` that have no others below."""
    below = event_class.__subclasses__()
    return set().union(*map(concrete, below)) if below else {event_class}


def every_event() -> dict[str, TaskEvent]:
    """Return one event of each class, of a task whose life goes through all of them."""
    spec = TaskSpec(
        target=ConnectParam(uri="https://target:19530", server_pem_path="/etc/s.pem"),
        collection_infos=("a", "*"),
        db_collections={"db": ("*",), "*": ("b",)},
    )
    task = Task.create(
        spec, secret="c2VjcmV0", who=CLIENT, why="POST /cdc", task_id=UUID(int=7)
    )
    says = {"who": SUPERVISOR, "why": "because"}
    source = SourceIdentity(created=1_795_903_000_123_456_789, address="http://s:19530")
    task.identify_source(source, **says)
    task.start([checkpoint("dml_0", 3)], **says)
    drop = Operation.drop_collection(entry(), 2000)
    task.apply_operation(Operation.create_collection(entry()), **says)
    task.start_operation(drop, **says)
    at = [checkpoint("dml_0", 4)]
    task.set_aside(entry(), "schema differs", FailureClass.OPERATOR, at, **says)
    task.retry([], [checkpoint("dml_0", 5)], **says)
    create = {"timestamp": 7, "database": "db", "name": "", "detail": {"refused": "no"}}
    task.unresolved = {"db": (Operation(kind="CreateDatabase", **create),)}
    task.acknowledge([], who=CLIENT, why="POST /cdc")
    next_try = NOW + timedelta(seconds=2)
    task.fail("away", FailureClass.TRANSIENT, next_try=next_try, **says)
    task.recover(**says)
    task.pause("by hand", [checkpoint("dml_0", 4)], **says)
    task.resume(**says)
    task.rekey("bmV3IHNlY3JldA==", **says)
    fewer = replace(spec, collection_infos=("a", "c"), db_collections={"db": ("*",)})
    asked = {"secret": "dG9rZW4=", "who": CLIENT, "why": "POST /cdc"}
    task.update(fewer, [checkpoint("dml_0", 6)], **asked)
    older = entry(
        9, database="db", snapshot=1500, stood={"dml_0": checkpoint("dml_0", 2)}
    )
    snapshots.start(task, older, rows=100, size=5000)
    snapshots.complete(task, 9, 90, 1.5, [checkpoint("dml_0", 5)])
    asked = {"who": CLIENT, "why": "POST /cdc"}
    snapshots.resync(task, [("db", "*")], method="shadow", **asked)
    task.collections = {9: older}
    snapshots.resync(task, [("db", "*")], method="drop_target", **asked)
    result = ComparisonResult(
        outcome="different",
        began="2026-01-02T03:04:00+00:00",
        selection=["default.a", "db.*"],
        repair=True,
        delete_extra=False,
        counts={"collections": 2, "rows": 3_000, "missing": 1},
        differing=["db.b"],
    )
    task.note_compared(result, who=CLIENT, why="POST /cdc")
    task.delete("over", [checkpoint("dml_0", 5)], who=CLIENT, why="POST /cdc")
    return {event.TOPIC: event for event in task.collect_events()}


@pytest.fixture
def events(monkeypatch):
    """One event of each class, all at the same moment."""
    monkeypatch.setattr(TaskEvent, "create_timestamp", staticmethod(lambda: NOW))
    return every_event()


def stored(path: Path, like: TaskEvent) -> StoredEvent:
    """Return the golden file in the place of an event of the same class."""
    return StoredEvent(
        like.originator_id, like.originator_version, like.TOPIC, path.read_bytes()
    )


def golden_file(event_class: type[TaskEvent], version: int) -> Path:
    """Return where the golden file of a version is."""
    return GOLDEN / f"{event_class.TOPIC}.v{version}.json"


def test_every_event_class_has_a_topic_of_its_own():
    """Each event class is part of Task, under an explicit topic and a version."""
    assert set(EVENT_CLASSES.values()) == concrete(TaskEvent)
    for topic, event_class in EVENT_CLASSES.items():
        assert vars(event_class)["TOPIC"] == topic
        assert event_class.class_version >= 1
        assert topic.startswith("task.")


def test_every_version_of_every_event_class_has_a_golden_file():
    """There are golden files for exactly the versions that ever were."""
    expected = {
        golden_file(event_class, version)
        for event_class in EVENT_CLASSES.values()
        for version in range(1, event_class.class_version + 1)
    }
    assert set(FILES) == expected


@pytest.mark.parametrize("topic", EVENT_CLASSES)
def test_stored_as_in_the_golden_file(topic, events):
    """The mapper stores an event as in the golden file of its present version."""
    event = events[topic]
    state = event_mapper().to_stored_event(event).state
    golden = golden_file(type(event), event.class_version)
    assert json.loads(state) == json.loads(golden.read_bytes())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_replayed_from_the_golden_file(path, events):
    """A golden file of any version gives the event of today, as far as it says it."""
    event = events[path.stem.rpartition(".")[0]]
    replayed = event_mapper().to_domain_event(stored(path, event))
    assert vars(replayed) == vars(event) | LACKING.get(path.stem, {})
    assert {field.name for field in fields(event)} == vars(replayed).keys()


def test_replayed_task(events):
    """The golden files, one after the other, give the task that the commands gave."""
    replayed, made = None, None
    for event in sorted(events.values(), key=lambda event: event.originator_version):
        path = golden_file(type(event), event.class_version)
        replayed = event_mapper().to_domain_event(stored(path, event)).mutate(replayed)
        made = event.mutate(made)
    assert replayed == made
    assert replayed.deleted


def test_a_refused_kind_is_stored_as_in_its_file(events):
    """The event of a refused operation says that the target does none of the kind."""
    task = new_task()
    asked = {"kind": "Flush", "timestamp": 7, "database": "db", "name": "a"}
    refused = Operation(**asked).as_refused(KindRefusedError("not here"))
    task.apply_operation(refused, who=SUPERVISOR, why="because")
    event = task.collect_events()[-1]
    path = GOLDEN / "kind_refused.json"
    state = event_mapper().to_stored_event(event).state
    assert json.loads(state) == json.loads(path.read_bytes())
    replayed = event_mapper().to_domain_event(stored(path, event))
    assert vars(replayed) == vars(event)
    assert task.refused_kinds == {"Flush": refused}


def test_skipped_fields_are_stored_as_in_their_file(events):
    """A creation says which fields the target is without, the task that it may be."""
    spec = replace(new_task().spec, skip_unsupported_fields=True)
    says = {"who": SUPERVISOR, "why": "because"}
    task = Task.create(spec, secret="c2VjcmV0", task_id=UUID(int=7), **says)
    without = entry(9, skipped=("place",))
    task.apply_operation(Operation.create_collection(without), **says)
    made = None
    for event, name in zip(task.collect_events(), ("asked", "done"), strict=True):
        path = GOLDEN / f"skipped_fields_{name}.json"
        state = event_mapper().to_stored_event(event).state
        assert json.loads(state) == json.loads(path.read_bytes())
        made = event_mapper().to_domain_event(stored(path, event)).mutate(made)
    assert made.spec.skip_unsupported_fields
    assert made.collections[9].skipped == ("place",)


def test_imports_to_be_brought_are_stored_as_in_their_file(events):
    """The same event says of which collections only rows of bulk imports are missing."""
    task = new_task()
    says = {"who": SUPERVISOR, "why": "because"}
    lacking = entry(9, imports={7: Import(to_hybrid_ts(900), to_hybrid_ts(905))})
    task.apply_operation(Operation.create_collection(lacking), **says)
    snapshots.bring_imports(task, {9})
    event = task.collect_events()[-1]
    path = GOLDEN / "imports_to_be_brought.json"
    state = event_mapper().to_stored_event(event).state
    assert json.loads(state) == json.loads(path.read_bytes())
    replayed = event_mapper().to_domain_event(stored(path, event))
    assert vars(replayed) == vars(event)
    assert task.collections[9].resync == Resync(drop=False, since=to_hybrid_ts(300))
