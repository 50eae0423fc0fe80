"""Which refused operations still matter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks import Operation, Task
from cdc_actors.tasks.descriptions import describe
from tests.support.tasks import CLIENT, SUPERVISOR, entry, new_task


def done(kind: str, number: int | None = 445, **detail: object) -> Operation:
    """Return an operation on a collection, or on none."""
    return Operation(
        kind=kind,
        timestamp=5,
        database="default",
        name=f"c{number}" if number else "",
        collection_id=number,
        detail=detail,
    )


def refused(kind: str, number: int | None = 445, **detail: object) -> Operation:
    """Return one that was not done."""
    return done(kind, number, **detail, refused="no")


def left(*operations: Operation) -> list[str]:
    """Return the kinds of what matters after these, in a task with two collections."""
    task: Task = new_task()
    created = [Operation.create_collection(entry(each)) for each in (445, 446)]
    for each in (*created, *operations):
        task.apply_operation(each, who=SUPERVISOR, why="test")
    return [each.kind for some in task.unresolved.values() for each in some]


INDEX = refused("CreateIndex", field_name="f")
LOAD = refused("LoadCollection")


@pytest.mark.parametrize(
    ("operations", "matters"),
    [
        ([INDEX], ["CreateIndex"]),
        ([INDEX, INDEX], ["CreateIndex"]),
        ([INDEX, done("CreateIndex", field_name="f")], []),
        ([INDEX, done("DropIndex", field_name="f")], []),
        ([INDEX, done("CreateIndex", field_name="g")], ["CreateIndex"]),
        ([INDEX, done("CreateIndex", 446, field_name="f")], ["CreateIndex"]),
        (
            [
                refused("CreateIndex", request={"field_name": "f"}, index=1),
                done("DropIndex", request={"field_name": "f"}, index=1),
            ],
            [],
        ),
        ([refused("CreateIndex"), done("CreateIndex", field_name="f")], []),
        ([INDEX, refused("DropIndex", field_name="f")], ["DropIndex"]),
        ([INDEX, refused("CreateIndex", field_name="g")], ["CreateIndex"] * 2),
        ([INDEX, Operation.drop_collection(entry(445), 9)], []),
        ([INDEX, Operation.drop_collection(entry(446), 9)], ["CreateIndex"]),
        ([Operation.drop_collection(entry(445), 9), INDEX], []),
        ([LOAD, done("LoadPartitions", partition_names=["a"])], ["LoadCollection"]),
        ([LOAD, done("ReleaseCollection")], []),
        (
            [
                refused("LoadPartitions", partition_names=["a", "b"]),
                done("LoadPartitions", partition_names=["a"]),
            ],
            ["LoadPartitions"],
        ),
        (
            [
                refused("LoadPartitions", partition_names=["a"]),
                done("ReleasePartitions", partition_names=["b", "a"]),
            ],
            [],
        ),
        (
            [refused("LoadPartitions", partition_names=["a"]), done("LoadCollection")],
            [],
        ),
        (
            [refused("CreateAlias", alias="al"), done("CreateAlias", alias="bl")],
            ["CreateAlias"],
        ),
        ([refused("AlterAlias", alias="al"), done("AlterAlias", 446, alias="al")], []),
        ([refused("AlterCollection", properties={"a": "1"})], ["AlterCollection"]),
        ([refused("CreateDatabase", None)], ["CreateDatabase"]),
        ([refused("CreateDatabase", None), done("DropDatabase", None)], []),
        ([refused("DropDatabase", None)], []),
        ([refused("Flush")], []),
        ([refused("UpdateCredential", None, user="u", fingerprint="f")], []),
        ([refused("AlterDatabase", None)], ["AlterDatabase"]),
    ],
)
def test_what_matters(operations: list[Operation], matters: list[str]) -> None:
    """Until the same thing succeeds, is undone, or has gone with its collection."""
    assert left(*operations) == matters


def test_rules_of_users_matter_one_by_one() -> None:
    """A grant that was refused matters until that very rule is done or undone."""
    role = refused("CreateRole", None, access=["role", "r"], removed=False)
    other = done("CreateRole", None, access=["role", "s"], removed=False)
    undone = done("DropRole", None, access=["role", "r"], removed=True)
    assert left(role, other) == ["CreateRole"]
    assert left(role, undone) == []


UNKNOWN = refused("TransferNode", None)


def told(task: Task, *operations: Operation) -> list[str]:
    """Apply operations; return the kinds of what matters after them."""
    for each in operations:
        task.apply_operation(each, who=SUPERVISOR, why="test")
    return [each.kind for some in task.unresolved.values() for each in some]


@pytest.fixture
def task() -> Task:
    """Return a task with a collection and two operations that were refused."""
    task: Task = new_task()
    created = Operation.create_collection(entry(445))
    assert told(task, created, INDEX, UNKNOWN) == ["CreateIndex", "TransferNode"]
    return task


def acknowledge(task: Task, *kinds: str) -> None:
    """Have a client acknowledge what was refused."""
    task.acknowledge(kinds, who=CLIENT, why="asked")


def test_what_is_acknowledged_matters_no_more(task: Task) -> None:
    """All of it, or a kind; who did so and what it was is in the event; all are counted."""
    acknowledge(task, "TransferNode")
    assert told(task) == ["CreateIndex"]
    event = task.pending_events[-1]
    (noted,) = event.operations
    assert (noted["kind"], noted["detail"]["refused"]) == ("TransferNode", "no")
    assert (event.who["token_name"], event.why) == (CLIENT.token_name, "asked")
    assert describe(event) == "acknowledged as not done: TransferNode of default"
    acknowledge(task)
    assert told(task) == []
    assert describe(task.pending_events[-1]).endswith(": CreateIndex of default.c445")
    assert (task.refused, len(task.refusals)) == (2, 2)


def test_what_is_read_again_after_a_restart_stays_acknowledged(task: Task) -> None:
    """Another one of the kind does not."""
    acknowledge(task)
    assert told(task, UNKNOWN, INDEX) == []
    assert told(task, replace(UNKNOWN, timestamp=6)) == ["TransferNode"]


def test_what_was_done_since_matters_again_once_it_is_refused(task: Task) -> None:
    """Somebody has seen to it: the same refusal is news then."""
    acknowledge(task)
    assert told(task, done("CreateIndex", field_name="f")) == []
    assert told(task, INDEX) == ["CreateIndex"]


def test_nothing_to_acknowledge(task: Task) -> None:
    """It is refused, with what there is."""
    with pytest.raises(TaskConflictError, match="CreateIndex, TransferNode"):
        acknowledge(task, "LoadCollection")
    acknowledge(task)
    with pytest.raises(TaskConflictError, match="there is none"):
        acknowledge(task)


def test_a_kind_of_which_the_target_does_none() -> None:
    """Users and roles matter until one of the kind succeeds, others are only shown."""
    task: Task = new_task()

    def apply(kind: str, number: int, **detail: object) -> None:
        each = replace(done(kind, None, **detail), timestamp=number)
        task.apply_operation(each, who=SUPERVISOR, why="test")

    none = {"refused": "not here", "kind_refused": True}
    ann, bob = (["user", name] for name in ("ann", "bob"))
    apply("CreateDatabase", 1, **none)
    apply("CreateCredential", 2, access=ann, removed=False, **none)
    apply("CreateRole", 3, access=["role", "r"], removed=False)
    assert list(task.refused_kinds) == ["CreateDatabase", "CreateCredential"]
    assert list(task.unresolved) == [("kind", "CreateCredential")]
    apply("CreateCredential", 4, access=bob, removed=False)
    apply("CreateDatabase", 5)
    assert (task.unresolved, task.refused_kinds, task.refused) == ({}, {}, 2)
