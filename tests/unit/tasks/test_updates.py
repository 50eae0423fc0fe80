"""What an update changes of a task, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as struct_replace

from cdc_actors.errors import FailureClass, TaskConflictError, UnknownTaskError
from cdc_actors.tasks import (
    CREATE_ALIAS,
    CREATE_DATABASE,
    ConnectParam,
    NameMapping,
    Operation,
    Task,
    TaskSpec,
    resolve_update,
    snapshots,
)
from cdc_actors.tasks.descriptions import describe
from tests.support.tasks import CLIENT, SPEC, checkpoint, entry, new_task

SAYS = {"who": CLIENT, "why": "test"}
AB = struct_replace(SPEC, collection_infos=("a", "b"))
CHANNEL = checkpoint().position.channel


def task_with(spec: TaskSpec, *names: str) -> Task:
    """Return a task that has live collections of these names."""
    task = new_task(spec=spec)
    for number, name in enumerate(names, 1):
        made = entry(number, name=name)
        task.apply_operation(Operation.create_collection(made), **SAYS)
    return task


def update(task: Task, secret: str | None = None, **changes: object) -> None:
    """Change some members of the specification."""
    spec = struct_replace(task.spec, **changes)
    task.update(spec, [checkpoint(tick=50)], secret=secret, **SAYS)


def mapped(here: str, there: str) -> tuple[NameMapping, ...]:
    """Return the mapping of one name of the default database."""
    mapping = {here: there}
    return (
        NameMapping(source_db="default", target_db="x", collection_mapping=mapping),
    )


def names(task: Task) -> set[str]:
    """Return the names of the collections that a task has."""
    return {each.name for each in task.collections.values()}


@pytest.mark.parametrize("paused", [False, True])
def test_another_token(paused):
    """The secret is another, the state is as before, and nothing tells the secret."""
    task = task_with(AB, "a")
    if paused:
        task.pause("by hand", [], **SAYS)
    state = task.state
    update(task, secret="bmV3", target=ConnectParam(uri="http://target:1"))
    assert (task.secret, task.state) == ("bmV3", state)
    assert task.spec.target.uri == "http://target:1"
    event = task.pending_events[-1]
    assert event.changed == ["milvus_connect_param", "milvus_connect_param.token"]
    assert "bmV3" not in describe(event)
    assert task.past_selections == ()


def test_the_token_stays_where_there_is_no_other():
    """An update of something else leaves the secret as it was."""
    task = task_with(AB)
    update(task, collection_infos=("a",))
    assert task.secret == new_task().secret


def test_collections_that_leave_the_selection():
    """They are the task's no more, with their aliases; the others stay as they were."""
    task = task_with(AB, "a", "b")
    for owner in (1, 2):
        alias = Operation(
            kind=CREATE_ALIAS,
            timestamp=1,
            database="default",
            name="",
            collection_id=owner,
            detail={"alias": f"of{owner}"},
        )
        task.apply_operation(alias, **SAYS)
    before = task.collections[1]
    update(task, collection_infos=("a", "c"))
    assert task.collections == {1: before}
    assert task.aliases == {("default", "of1"): 1}
    assert describe(task.pending_events[-1]) == (
        "updated, another collection_infos, db_collections; "
        "not replicated any more: default.b"
    )


def test_a_collection_that_was_renamed_out_of_the_selection_stays():
    """It was selected under another name; it leaves once it was selected by this one."""
    task = task_with(AB, "a", "b")
    renamed = Operation(
        kind="RenameCollection",
        timestamp=1,
        database="default",
        name="b",
        collection_id=2,
        detail={"to_database": "default", "to_name": "moved"},
    )
    task.apply_operation(renamed, **SAYS)
    update(task, collection_infos=("a",))
    assert names(task) == {"a", "moved"}
    update(task, collection_infos=("a", "moved"))
    update(task, collection_infos=("a",))
    assert names(task) == {"a"}


def test_a_database_that_is_not_selected_as_a_whole_any_more():
    """It is not the task's to drop."""
    task = new_task(
        spec=struct_replace(SPEC, db_collections={"d": ("*",), "e": ("*",)})
    )
    for database in ("d", "e"):
        made = Operation(kind=CREATE_DATABASE, timestamp=1, database=database, name="")
        task.apply_operation(made, **SAYS)
    update(task, db_collections={"d": ("a",), "e": ("*",)})
    assert task.databases == {"e": True}


def test_what_passed_by_while_it_was_not_selected():
    """A collection that is older than what was read without it has lost rows."""
    task = task_with(AB)
    update(task, collection_infos=("a", "b", "c"))
    (past,) = task.past_selections
    assert past.passed_over(("default", "c"), 49, [CHANNEL])
    assert past.passed_over(("default", "c"), 49, ["other", CHANNEL])
    assert not past.passed_over(("default", "c"), 50, [CHANNEL])
    assert not past.passed_over(("default", "c"), 1, ["other"])
    assert not past.passed_over(("default", "a"), 49, [CHANNEL])


def test_what_passed_by_before_a_channel_was_set_back():
    """Others take nothing of what is said again for a collection that is retried."""
    task = task_with(AB, "a")
    stood = [checkpoint(tick=5)]
    task.set_aside(entry(1, name="a"), "full", FailureClass.OPERATOR, stood, **SAYS)
    task.retry([], [checkpoint(tick=90)], **SAYS)
    update(task, collection_infos=("a", "b", "c"))
    (past,) = task.past_selections
    assert past.passed_over(("default", "c"), 89, [CHANNEL])


def test_names_that_the_target_has_already():
    """Another name for what is there is refused, and the task stays as it was."""
    task = task_with(AB, "a")
    with pytest.raises(TaskConflictError, match=r"\[default\.a\] already"):
        update(task, name_mapping=mapped("a", "z"))
    assert task.spec.name_mapping == ()
    update(task, name_mapping=mapped("b", "z"))
    assert task.spec.target_name("default", "b") == ("x", "z")


def test_a_name_that_the_target_may_have():
    """A rename that has begun counts as done and as not done."""
    task = task_with(AB, "a")
    renaming = Operation(
        kind="RenameCollection",
        timestamp=1,
        database="default",
        name="a",
        collection_id=1,
        detail={"to_database": "default", "to_name": "b", "loaded": False},
    )
    task.start_operation(renaming, **SAYS)
    with pytest.raises(TaskConflictError, match=r"\[default\.a\] already"):
        update(task, name_mapping=mapped("b", "z"))


def test_what_leaves_or_never_came_may_be_mapped_otherwise():
    """It has no name at the target that the task would write under."""
    task = task_with(AB, "a")
    set_aside = replace(entry(9), name="b", schema=b"")
    task.set_aside(set_aside, "no log", FailureClass.POSITION_LOST, (), **SAYS)
    mapping = (*mapped("a", "z"), *mapped("b", "y"))
    update(task, collection_infos=("b",), name_mapping=mapping)
    assert names(task) == {"b"}


def test_a_database_that_the_target_has_already():
    """Its name at the target cannot be changed either."""
    task = new_task(spec=struct_replace(SPEC, db_collections={"d": ("*",)}))
    made = Operation(kind=CREATE_DATABASE, timestamp=1, database="d", name="")
    task.apply_operation(made, **SAYS)
    with pytest.raises(TaskConflictError, match=r"\[d\] already"):
        update(task, name_mapping=(NameMapping(source_db="d", target_db="e"),))


def test_a_deleted_task_cannot_be_updated():
    """There is nothing to update."""
    task = task_with(AB)
    task.delete("over", [], **SAYS)
    with pytest.raises(UnknownTaskError):
        update(task, collection_infos=("a",))


def test_what_was_under_way_when_its_collection_left():
    """What a run that ends has begun or refused does not bring it back."""
    task = task_with(AB, "a", "b")
    update(task, collection_infos=("a",))
    left = entry(2, name="b")
    task.start_operation(Operation.create_collection(left), **SAYS)
    task.apply_operation(Operation.create_collection(left), **SAYS)
    task.set_aside(left, "no", FailureClass.OPERATOR, (), **SAYS)
    task.apply_operation(Operation.drop_collection(left, 9), **SAYS)
    assert names(task) == {"a"}


EXCLUDED = (("default", "b"), ("default", "c"))
EVERYTHING = struct_replace(SPEC, collection_infos=("*",), excludes=EXCLUDED)


@pytest.mark.parametrize(
    ("selected", "excludes"),
    [
        (("*",), EXCLUDED),
        (("*", "d"), EXCLUDED),
        (("*", "b"), (("default", "c"),)),
        (("d",), ()),
    ],
)
def test_what_was_left_to_a_task_that_is_gone(selected, excludes):
    """It stays left out until the selection names it, or takes nothing of it."""
    spec = struct_replace(EVERYTHING, collection_infos=selected)
    assert resolve_update(EVERYTHING, spec, []).excludes == excludes


def test_what_another_task_has():
    """A wildcard leaves it out; naming it is refused, as at a creation."""
    others = [("other", struct_replace(SPEC, collection_infos=("b",)))]
    wildcard = resolve_update(AB, struct_replace(AB, collection_infos=("*",)), others)
    assert wildcard.excludes == (("default", "b"),)
    with pytest.raises(TaskConflictError, match="duplicate with existing task"):
        resolve_update(SPEC, AB, others)


def test_what_left_is_remembered_by_its_name_at_the_target():
    """Until another collection has been created there, brought from files, or renamed."""
    spec = struct_replace(AB, collection_infos=("a", "b", "c"))
    task = task_with(spec, "a", "b", "c")
    update(task, collection_infos=("a",))
    assert task.former.keys() == {("default", "b"), ("default", "c")}
    assert task.former["default", "b"].collection_id == 2
    update(task, collection_infos=("a", "b", "c"))
    made = entry(8, name="b", snapshot=5)
    snapshots.start(task, made, rows=1, size=1)
    assert ("default", "b") in task.former
    snapshots.complete(task, 8, 1, 1.0, [])
    assert task.former.keys() == {("default", "c")}
    renamed = Operation(
        kind="RenameCollection",
        timestamp=1,
        database="default",
        name="a",
        collection_id=1,
        detail={"to_database": "default", "to_name": "c"},
    )
    task.apply_operation(renamed, **SAYS)
    assert task.former == {}
