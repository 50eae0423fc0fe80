"""What operations change in a task, and what becomes of those that are refused."""

from __future__ import annotations

from dataclasses import replace

from cdc_actors.rbac_rules import Grant
from cdc_actors.tasks import CollectionState, Loaded, Operation, Task, snapshots
from cdc_actors.tasks.model import LONGEST_IMPORT
from cdc_actors.tasks.transitions import SHOWN_REFUSALS
from tests.support.tasks import CLIENT, SUPERVISOR, checkpoint, entry, new_task

AT = checkpoint()


def told(kind: str, *, timestamp: int = 5, **detail: object) -> Operation:
    """Return an operation on the collection of ``entry``."""
    known = entry()
    return Operation(
        kind=kind,
        timestamp=timestamp,
        database=known.database,
        name=known.name,
        collection_id=known.collection_id,
        detail=detail,
    )


def task_with(*operations: Operation) -> Task:
    """Return a task that has a collection, and then did these operations."""
    task = new_task()
    for each in (Operation.create_collection(entry()), *operations):
        task.apply_operation(each, who=SUPERVISOR, why="because")
    return task


RENAME = told("RenameCollection", to_database="d2", to_name="n2", loaded=True)


def test_rename_that_has_begun_is_known() -> None:
    """After a crash between its beginning and its end, the rename can be finished."""
    task = task_with()
    task.start_operation(RENAME, who=SUPERVISOR, why="because")
    found = task.collections[entry().collection_id]
    assert found == replace(entry(), renaming=RENAME)
    task.apply_operation(RENAME, who=SUPERVISOR, why="because")
    found = task.collections[entry().collection_id]
    assert found == replace(entry(), database="d2", name="n2")


def test_altered_properties_are_known() -> None:
    """Properties go over those that were there, and may be dropped."""
    first = told("AlterCollection", properties={"a": "1", "b": "1"})
    task = task_with(first, told("AlterCollection", properties={"b": "2"}))
    found = task.collections[entry().collection_id]
    assert found.properties == {"a": "1", "b": "2"}
    third = told("AlterCollection", properties={"c": "3"}, dropped=["a"])
    found = task_with(first, third).collections[entry().collection_id]
    assert found.properties == {"b": "1", "c": "3"}


def test_indexes_of_the_catalog_are_known() -> None:
    """An index is known by its id until it is dropped; a client's request has none."""
    made = told("CreateIndex", index=7, index_name="ix", request={})
    known = entry().collection_id
    assert task_with(told("CreateIndex"), made).collections[known].indexes == {7: "ix"}
    dropped = told("DropIndex", index=7, request={})
    assert task_with(made, dropped).collections[known].indexes == {}


def test_what_is_loaded_is_known() -> None:
    """Whole, or partitions by their ids, whoever told of it; not what was refused."""

    def loaded(*operations: Operation) -> Loaded | None:
        return task_with(*operations).collections[entry().collection_id].loaded

    some = told("LoadPartitions", request={}, whole=False, loaded=[3, 4])
    assert loaded() is None
    assert loaded(some) == Loaded(whole=False, partitions=frozenset({3, 4}))
    assert loaded(some, told("LoadPartitions")) == loaded(some)
    assert loaded(told("LoadCollection")) == Loaded(whole=True)
    released = told("ReleasePartitions", request={}, whole=True, loaded=[3])
    assert loaded(released) == Loaded(whole=True, partitions=frozenset({3}))
    assert loaded(some, told("ReleaseCollection", request={}, whole=False)) is None
    assert loaded(told("LoadPartitions", request={}, refused="no", whole=False)) is None


def test_aliases_come_and_go() -> None:
    """An alias is known until it is dropped, itself or with its collection."""
    key = (entry().database, "al")
    created = told("CreateAlias", alias="al")
    assert task_with(created).aliases == {key: entry().collection_id}
    assert task_with(created, told("DropAlias", alias="al")).aliases == {}
    dropped = task_with(created, Operation.drop_collection(entry(), 9))
    assert dropped.aliases == {}
    known = dropped.collections[entry().collection_id]
    assert known.state is CollectionState.DROPPED


def imported(number: int, **detail: object) -> Operation:
    """Return what is written down of a bulk import; without ``detail`` as once."""
    return told("Import", **({"import": number, "rows": 3} | detail))


def test_imports_are_kept_in_mind() -> None:
    """Each import leaves its id with the collection, whoever wrote it down."""
    task = task_with(imported(7), imported(8, seen=9))
    found = task.collections[entry().collection_id]
    assert found.imports == {7: (5, 5 + LONGEST_IMPORT), 8: (5, 9)}
    assert found.missing_imports == [7, 8]


def test_import_before_the_collection_is_created() -> None:
    """The log may tell of the collection long after the catalog has shown the import."""
    task = new_task()
    task.apply_operation(imported(7, seen=9), who=SUPERVISOR, why="because")
    task.apply_operation(imported(8, seen=9), who=SUPERVISOR, why="because")
    created = Operation.create_collection(entry())
    task.apply_operation(created, who=SUPERVISOR, why="because")
    assert task.collections[entry().collection_id].missing_imports == [7, 8]


def test_import_that_the_files_had_is_missing_no_more() -> None:
    """Only what came after the moment of the files is; all are known, or told of again."""
    task = task_with(imported(7, seen=9), imported(8, seen=12))
    before = task.collections[entry().collection_id]
    began = replace(before, snapshot=11, stood={checkpoint().position.channel: AT})
    snapshots.resync(
        task, [("default", "*")], method="in_place", who=CLIENT, why="asked"
    )
    assert task.collections[entry().collection_id].missing_imports == [7, 8]
    snapshots.start(task, began, rows=1, size=1)
    snapshots.complete(task, entry().collection_id, 1, 1.0, [AT])
    created = Operation.create_collection(task.collections[entry().collection_id])
    task.apply_operation(created, who=SUPERVISOR, why="because")
    found = task.collections[entry().collection_id]
    assert (found.imports, found.missing_imports) == ({7: (5, 9), 8: (5, 12)}, [8])


def test_access_comes_and_goes() -> None:
    """What was granted is known until it is revoked."""
    grant = ["grant", "r", "Collection", "default", "c", "Insert"]
    granted = told("OperatePrivilege", access=grant, removed=False)
    assert task_with(granted).rbac_rules == {Grant(*grant[1:])}
    revoked = told("OperatePrivilege", access=grant, removed=True)
    assert task_with(granted, revoked).rbac_rules == set()


def test_refused_operations_change_nothing_and_are_counted() -> None:
    """All are counted, each once; the newest are kept."""
    number = SHOWN_REFUSALS + 3
    refused = [
        told("CreateAlias", timestamp=at, alias="al", refused="no")
        for at in range(number)
    ]
    task = task_with(*refused, refused[-1])
    assert task.aliases == {}
    assert task.refused == number
    assert task.refusals == tuple(refused[-SHOWN_REFUSALS:])


def test_refused_grants_are_counted_once() -> None:
    """Nobody knows when a grant was made, so that a restart refuses it at another time."""
    grant = {"access": ["role", "r"], "removed": False, "refused": "no"}
    first, again = (
        told("CreateRole", timestamp=timestamp, **grant) for timestamp in (5, 6)
    )
    other = told("CreateRole", timestamp=7, **(grant | {"access": ["role", "s"]}))
    assert task_with(first, again, other).refusals == (first, other)


def test_fingerprint_of_a_password_is_kept() -> None:
    """A password that cannot be brought is told once, until it changes."""
    task = task_with(
        told("UpdateCredential", user="ann", fingerprint="f1", refused="a hash only")
    )
    assert task.passwords == {"ann": "f1"}
    assert task.refused == 1
