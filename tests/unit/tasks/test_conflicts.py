"""Which collections each task of one target has: duplicates, excludes, shared names."""

from __future__ import annotations

import msgspec
import pytest

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks import ConnectParam, NameMapping, TaskSpec, resolve_conflicts

TARGET = ConnectParam(uri="http://target:19530")
DUPLICATE = "the collection name is duplicate with existing task, "


def spec(*selectors: str, mapping=(), excludes=()) -> TaskSpec:
    """Return a specification of selectors and excludes like ``db.name``."""
    selected: dict[str, tuple[str, ...]] = {}
    for database, name in map(full, selectors):
        selected[database] = (*selected.get(database, ()), name)
    return TaskSpec(
        target=TARGET,
        db_collections=selected,
        name_mapping=tuple(mapping),
        excludes=tuple(map(full, excludes)),
    )


def resolved(new: TaskSpec, others, **more) -> TaskSpec:
    """Return what is left of a specification beside others, of tasks t0, t1 and so on."""
    numbered = [(f"t{number}", other) for number, other in enumerate(others)]
    return resolve_conflicts(new, numbered, **more)


def full(text: str) -> tuple[str, str]:
    """Return database and name."""
    database, _, name = text.partition(".")
    return database, name


def rule(here: str, there: str) -> NameMapping:
    """Return the mapping of one name."""
    (database, name), (target, mapped) = full(here), full(there)
    return NameMapping(
        source_db=database, target_db=target, collection_mapping={name: mapped}
    )


@pytest.mark.parametrize(
    ("new", "others", "named", "ids"),
    [
        (["d.a"], [["d.a"]], "d.a", "t0"),
        (["d.a"], [["d.*"]], "d.a", "t0"),
        (["d.a"], [["*.*"]], "d.a", "t0"),
        (["d.a"], [["*.a"]], "d.a", "t0"),
        (["d.*"], [["*.*"]], "d.*", "t0"),
        (["d.*"], [["d.*"]], "d.*", "t0"),
        (["*.*"], [["*.*"]], "*.*", "t0"),
        (["d.*"], [["*.a"]], "d.*", "t0"),
        (["*.a"], [["d.*"]], "*.a", "t0"),
        (["d.a", "d.b", "d.c"], [["d.a"], ["e.*", "d.c"]], "d.a d.c", "t0, t1"),
        (["d.*", "d.a"], [["d.b"], ["d.a"]], "d.a", "t1"),
    ],
)
def test_duplicates(new, others, named, ids):
    """What another task has is refused, in milvus-cdc's words and with its id."""
    with pytest.raises(TaskConflictError) as refused:
        resolved(spec(*new), [spec(*other) for other in others])
    assert str(refused.value) == f"{DUPLICATE}[{named}], task_id: {ids}"


@pytest.mark.parametrize(
    ("new", "others", "excluded"),
    [
        (["d.a"], [], []),
        (["d.a"], [["d.b"], ["e.a"], ["e.*"]], []),
        (["d.*"], [["e.*"], ["e.a"]], []),
        (["d.*"], [["d.a"], ["d.b"], ["e.a"]], ["d.a", "d.b"]),
        (["*.*"], [["d.a"], ["e.*"], ["*.b"]], ["d.a", "e.*", "*.b"]),
        (["*.a"], [["d.a"]], ["d.a"]),
    ],
)
def test_a_new_wildcard_leaves_out_what_others_name(new, others, excluded):
    """Names that a wildcard covers stay with the tasks that have them."""
    claimed = resolved(spec(*new), [spec(*other) for other in others])
    assert claimed == spec(*new, excludes=excluded)


@pytest.mark.parametrize("new", ["d.a", "d.*"])
def test_what_was_left_out_may_be_named_again(new):
    """After its task is deleted, a name stays excluded and is free for a new task."""
    wildcard = resolved(spec("*.*"), [spec(new)])
    assert resolved(spec(new), [wildcard]) == spec(new)
    with pytest.raises(TaskConflictError):
        resolved(spec(new), [wildcard, spec(new)])


def test_a_wildcard_around_an_exclude_is_still_a_duplicate():
    """Only what is left out as a whole is free."""
    with pytest.raises(TaskConflictError):
        resolved(spec("d.*"), [spec("*.*", excludes=["d.a"])])


def test_one_name_at_the_target_for_two_tasks():
    """A name that another task's collection has at the target is refused."""
    mapped = spec("d.a", mapping=[rule("d.a", "e.b")])
    with pytest.raises(TaskConflictError, match=r"\[e\.b\] at the target"):
        resolved(spec("e.b"), [mapped])
    with pytest.raises(TaskConflictError, match=r"\[e\.b\] at the target"):
        resolved(mapped, [spec("e.b")])
    with pytest.raises(TaskConflictError, match=r"\[e\.b\] at the target"):
        resolved(mapped, [spec("e.*")], taken_names=[("e", "b")])
    assert resolved(spec("e.c"), [mapped]) == spec("e.c")


def test_named():
    """Known before the source is looked at: what selectors and rules name exactly."""
    held = spec(
        "d.*",
        "e.a",
        mapping=[rule("d.b", "d.c"), rule("e.*", "f.*"), rule("g.a", "g.b")],
    )
    assert held.named == {("e", "a"): ("f", "a"), ("d", "b"): ("d", "c")}
    assert msgspec.structs.replace(held, excludes=(("d", "b"),)).named == {
        ("e", "a"): ("f", "a")
    }


def test_one_task_has_the_users_and_roles():
    """A second task of the target that asks for them is refused, in milvus-cdc's words."""
    first = msgspec.structs.replace(spec("a.*"), enable_user_role=True)
    second = msgspec.structs.replace(spec("b.*"), enable_user_role=True)
    with pytest.raises(
        TaskConflictError, match="the enable user role param is duplicate"
    ):
        resolved(second, [first])
    assert resolved(spec("b.*"), [first]) == spec("b.*")
    assert resolved(second, [spec("a.*")]) == second
