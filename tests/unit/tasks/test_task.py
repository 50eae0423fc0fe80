"""Task: what each command changes, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from cdc_actors.errors import FailureClass, TaskConflictError, UnknownTaskError
from cdc_actors.tasks import (
    CollectionEntry,
    CollectionState,
    Operation,
    TaskState,
)
from tests.support.tasks import CLIENT, SPEC, SUPERVISOR, checkpoint, entry, new_task

SAYS = {"who": SUPERVISOR, "why": "test"}
NEXT_TRY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def fail(task, error="refused", next_try=NEXT_TRY):
    """Make a task fail in a way that passes."""
    task.fail(error, FailureClass.TRANSIENT, next_try=next_try, **SAYS)


def test_create_runs_and_leaves_the_token_out():
    """A new task is Running, under a random id, and holds the token encrypted only."""
    task = new_task()
    assert task.state is TaskState.RUNNING
    assert task.spec.token == ""
    assert task.spec.target == SPEC.target
    assert task.secret == "c2VjcmV0"
    assert len(task.task_id) == 32
    assert task.created_at.tzinfo is UTC
    assert "root:Milvus" not in repr(task.pending_events)


def test_create_under_a_given_id():
    """A client may choose the id."""
    chosen = UUID(int=5)
    assert new_task(task_id=chosen).task_id == chosen.hex


def test_pause_and_resume():
    """A pause gives its reason, a resume forgets the reason and the failure."""
    task = new_task()
    fail(task)
    task.pause("by hand", [checkpoint()], **SAYS)
    assert (task.state, task.reason) == (TaskState.PAUSED, "by hand")
    assert task.failure is not None
    task.resume(**SAYS)
    assert (task.state, task.reason, task.failure) == (TaskState.RUNNING, None, None)


def test_events_say_who_and_why_and_where():
    """A pause carries the client, the reason given and the checkpoints."""
    task = new_task()
    task.pause("by hand", [checkpoint("ch", 9)], who=CLIENT, why="maintenance")
    paused = task.pending_events[-1]
    assert paused.who == {
        "kind": "client",
        "address": "192.0.2.7",
        "token_name": "ops",
    }
    assert paused.why == "maintenance"
    assert paused.checkpoints == {"ch": {"position": "9", "tick": 9}}


def test_pause_of_a_paused_task():
    """Pausing twice is a conflict, in milvus-cdc's words."""
    task = new_task()
    task.pause("once", [], **SAYS)
    with pytest.raises(
        TaskConflictError, match=f"^the task has paused, task_id: {task.task_id}$"
    ):
        task.pause("twice", [], **SAYS)
    assert task.reason == "once"


def test_resume_of_a_running_task():
    """Resuming a running task is a conflict, in milvus-cdc's words."""
    task = new_task()
    with pytest.raises(
        TaskConflictError, match=f"^the task has running, task_id: {task.task_id}$"
    ):
        task.resume(**SAYS)


def test_failures_count_until_recovered():
    """Attempts count up and keep the time of the first, until the task recovers."""
    task = new_task()
    fail(task, "first")
    since = task.failure.since
    fail(task, "second", next_try=None)
    assert (task.failure.error, task.failure.attempt) == ("second", 2)
    assert (task.failure.since, task.failure.next_try) == (since, None)
    assert task.failure.failure_class is FailureClass.TRANSIENT
    assert task.state is TaskState.RUNNING
    task.recover(**SAYS)
    assert task.failure is None
    fail(task)
    assert (task.failure.attempt, task.failure.next_try) == (1, NEXT_TRY)


def test_recover_without_failure():
    """Only a task that has failed can recover."""
    with pytest.raises(TaskConflictError, match="has not failed"):
        new_task().recover(**SAYS)


@pytest.mark.parametrize(
    "command",
    [
        lambda task: task.start([checkpoint()], **SAYS),
        fail,
        lambda task: task.recover(**SAYS),
    ],
    ids=["start", "fail", "recover"],
)
def test_paused_task_does_not_move(command):
    """What only a running task can do is refused after a pause."""
    task = new_task()
    task.pause("by hand", [], **SAYS)
    before = len(task.pending_events)
    with pytest.raises(TaskConflictError, match="the task has paused"):
        command(task)
    assert len(task.pending_events) == before


@pytest.mark.parametrize(
    "command",
    [
        lambda task: task.start([], **SAYS),
        lambda task: task.pause("r", [], **SAYS),
        lambda task: task.resume(**SAYS),
        fail,
        lambda task: task.recover(**SAYS),
        lambda task: task.start_operation(
            Operation.drop_collection(entry(), 1), **SAYS
        ),
        lambda task: task.apply_operation(Operation.create_collection(entry()), **SAYS),
        lambda task: task.set_aside(entry(), "r", FailureClass.OPERATOR, [], **SAYS),
        lambda task: task.delete("again", [], **SAYS),
    ],
)
def test_deleted_task_is_unknown(command):
    """Every command on a deleted task is refused as of an unknown one."""
    task = new_task()
    task.delete("by hand", [checkpoint()], **SAYS)
    with pytest.raises(
        UnknownTaskError, match=f"^not found the task, task_id: {task.task_id}$"
    ):
        command(task)
    assert task.deleted


def test_collection_from_create_to_drop():
    """Creating, live, dropping, dropped: what has begun, and what is done."""
    task = new_task()
    task.start_operation(Operation.create_collection(entry(5)), **SAYS)
    assert task.collections == {5: entry(5, state=CollectionState.CREATING)}
    task.apply_operation(Operation.create_collection(entry(5)), **SAYS)
    assert task.collections == {5: entry(5)}
    drop = Operation.drop_collection(entry(5), 2000)
    task.start_operation(drop, **SAYS)
    assert task.collections[5].state is CollectionState.DROPPING
    task.apply_operation(drop, **SAYS)
    assert task.collections == {
        5: entry(5, state=CollectionState.DROPPED, dropped=2000)
    }


def test_adopted_collection():
    """Up to when the target may have rows of its own is kept with the collection."""
    task = new_task()
    adopted = entry(5, adopted_until=7000)
    task.apply_operation(Operation.create_collection(adopted), **SAYS)
    assert task.collections[5] == adopted


def test_same_name_twice_is_two_collections():
    """A name that was dropped and created again has one entry for each id."""
    task = new_task()
    for number in (5, 6):
        task.apply_operation(
            Operation.create_collection(entry(number, name="docs")), **SAYS
        )
    task.apply_operation(Operation.drop_collection(entry(5), 2000), **SAYS)
    assert task.collections[5].state is CollectionState.DROPPED
    assert task.collections[6].state is CollectionState.LIVE


@pytest.mark.parametrize(
    "operation",
    [
        Operation(kind="CreateIndex", timestamp=5, database="default", name="c445"),
        Operation.drop_collection(entry(99), 5),
    ],
)
def test_other_operations_leave_the_collections(operation):
    """Other kinds, and a drop of an unknown collection, are recorded and no more."""
    task = new_task()
    task.apply_operation(Operation.create_collection(entry()), **SAYS)
    before = dict(task.collections)
    task.start_operation(operation, **SAYS)
    task.apply_operation(operation, **SAYS)
    assert task.collections == before
    assert task.pending_events[-1].operation == operation


def test_incomplete_creation_changes_nothing():
    """A creation without a schema is refused and leaves no event."""
    task = new_task()
    bare = Operation(kind="CreateCollection", timestamp=5, database="d", name="n")
    with pytest.raises(ValueError, match="lacks an id or a schema"):
        task.apply_operation(bare, **SAYS)
    assert len(task.pending_events) == 1
    assert task.collections == {}


def test_set_aside():
    """A collection is set aside with its reason, also one never created."""
    task = new_task()
    task.apply_operation(Operation.create_collection(entry(5)), **SAYS)
    task.set_aside(entry(5), "schema differs", FailureClass.OPERATOR, [], **SAYS)
    unknown = CollectionEntry(collection_id=6, database="d", name="n")
    task.set_aside(unknown, "unsupported type", FailureClass.OPERATOR, [], **SAYS)
    assert task.collections[5] == entry(
        5,
        state=CollectionState.SET_ASIDE,
        reason="schema differs",
        failure_class=FailureClass.OPERATOR,
        state_before=CollectionState.LIVE,
        set_aside_at=task.collections[5].set_aside_at,
    )
    assert task.collections[6].set_aside_at == task.modified_on
    assert task.collections[6].reason == "unsupported type"
    assert task.state is TaskState.RUNNING


def test_what_is_set_aside_twice_stands_where_it_stood_first():
    """What came in between was passed over; so it is whatever else was replayed."""
    task = new_task()
    task.apply_operation(Operation.create_collection(entry(5)), **SAYS)
    no = ("no", FailureClass.OPERATOR)
    task.set_aside(entry(5), *no, [checkpoint(tick=3)], **SAYS)
    task.set_aside(entry(5), *no, [checkpoint(tick=9)], **SAYS)
    channel = checkpoint().position.channel
    assert task.collections[5].stood == {channel: checkpoint(tick=3)}
    assert task.collections[5].state_before is CollectionState.LIVE


def test_what_others_have_by_then_stays_with_them():
    """A collection that is set aside while another is replayed had more before."""
    task = new_task()
    for number in (5, 6):
        task.apply_operation(Operation.create_collection(entry(number)), **SAYS)
    no = ("no", FailureClass.OPERATOR)
    task.set_aside(entry(5), *no, [checkpoint(tick=3)], **SAYS)
    task.retry([("default", "c5")], [checkpoint(tick=9)], **SAYS)
    task.start([checkpoint(tick=3)], **SAYS)
    task.set_aside(entry(6), *no, [checkpoint(tick=4)], **SAYS)
    channel = checkpoint().position.channel
    assert task.collections[6].stood == {channel: checkpoint(tick=9)}
    task.retry([("default", "c6")], [checkpoint(tick=5)], **SAYS)
    assert task.collections[5].stood == {channel: checkpoint(tick=5)}
    assert task.reached == {channel: checkpoint(tick=9)}
    assert [each.replay for each in task.collections.values()] == [False, True]
