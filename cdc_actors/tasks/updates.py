"""What an update does to the collections and databases that a task has already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks.model import CollectionState
from cdc_actors.tasks.names import listed

if TYPE_CHECKING:
    from cdc_actors.changes import FullName
    from cdc_actors.tasks.model import CollectionEntry
    from cdc_actors.tasks.spec import TaskSpec
    from cdc_actors.tasks.state import TaskAttributes


def deselected(task: TaskAttributes, spec: TaskSpec) -> list[dict[str, Any]]:
    """Return the collections that leave a task, as its event holds them.

    Those that the present selection takes under the names that they have now, and the new
    one does not. One that was renamed out of the selection stays: to be rid of it, select
    it by its new name first.
    """
    return [
        {
            "collection_id": entry.collection_id,
            "database": entry.database,
            "name": entry.name,
        }
        for entry in _present(task)
        if _leaves(task, spec, entry)
    ]


def has_written(task: TaskAttributes) -> bool:
    """Tell whether anything at the target may be of the task's making."""
    created = any(entry.schema for entry in _present(task))
    return bool(created or task.databases or task.rbac_rules or task.passwords)


def target_ids(task: TaskAttributes) -> set[int]:
    """Return the ids that the target has given to collections of the task."""
    return {entry.target_id for entry in _present(task) if entry.target_id}


def names_of(task: TaskAttributes) -> list[FullName]:
    """Return the names that collections of a task have at the target, or may have.

    Both of a rename that has begun. A collection that was set aside before anything of it
    was created has none.
    """
    return [
        task.spec.target_name(*name)
        for entry in _present(task)
        if entry.schema
        for name in _names(entry)
    ]


def refuse(task: TaskAttributes, before: TaskSpec, spec: TaskSpec) -> None:
    """Refuse to make ``spec`` of a task that was ``before`` when somebody looked at it.

    Raises:
        TaskConflictError: It is another one by now, or see ``refuse_renames``.
    """
    if task.spec != before:
        raise TaskConflictError("the task was changed meanwhile, ask again")
    refuse_renames(task, spec)


def may_conflict(before: TaskSpec, spec: TaskSpec) -> bool:
    """Tell whether an update may change which collections are written, or where."""
    return before.target.uri != spec.target.uri or bool(
        set(before.differing_members(spec)) - {"milvus_connect_param", "consistency"}
    )


def refuse_renames(task: TaskAttributes, spec: TaskSpec) -> None:
    """Refuse other names at the target for what is there, or may be.

    Raises:
        TaskConflictError: The text names the collections and databases of the source.
    """
    names = [
        (entry.database, entry.name)
        for entry in _present(task)
        if entry.schema and not _leaves(task, spec, entry) and _moves(task, spec, entry)
    ]
    databases = [
        database
        for database in task.databases
        if task.spec.target_database(database) != spec.target_database(database)
        and spec.selects_database(database)
    ]
    if names or databases:
        taken = " ".join([listed(names), *databases]).strip()
        raise TaskConflictError(
            f"the target has [{taken}] already, which another "
            "name_mapping would rename: map only what is not created there yet"
        )


def _present(task: TaskAttributes) -> list[CollectionEntry]:
    entries = task.collections.values()
    return [each for each in entries if each.state is not CollectionState.DROPPED]


def _leaves(task: TaskAttributes, spec: TaskSpec, entry: CollectionEntry) -> bool:
    name = entry.database, entry.name
    return task.spec.selects(*name) and not spec.selects(*name)


def _moves(task: TaskAttributes, spec: TaskSpec, entry: CollectionEntry) -> bool:
    """Tell whether a collection would have another name, also one that it may have."""
    return any(
        task.spec.target_name(*name) != spec.target_name(*name)
        for name in _names(entry)
    )


def _names(entry: CollectionEntry) -> list[FullName]:
    begun = [entry.renaming.new_name] if entry.renaming is not None else []
    return [(entry.database, entry.name), *begun]
