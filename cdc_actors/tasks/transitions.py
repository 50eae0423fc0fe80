"""What an operation that was done at the target changes in a task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cdc_actors.rbac_rules import rule_from_json
from cdc_actors.tasks import model
from cdc_actors.tasks.model import CollectionState
from cdc_actors.tasks.unresolved import unresolved_after

if TYPE_CHECKING:
    from cdc_actors.tasks.model import Operation
    from cdc_actors.tasks.state import TaskAttributes

SHOWN_REFUSALS = 10
"""How many refused operations a task keeps to be shown, the newest; all are counted."""


def started(task: TaskAttributes, operation: Operation) -> None:
    """Note what may be half done from now on."""
    match operation.kind:
        case model.CREATE_DATABASE | model.DROP_DATABASE:
            task.databases = {**task.databases, operation.database: False}
        case model.CREATE_COLLECTION:
            entry = operation.created_entry()
            creating = replace(entry, state=CollectionState.CREATING)
            task.collections[entry.collection_id] = creating
        case model.DROP_COLLECTION:
            _change(task, operation, state=CollectionState.DROPPING)
        case model.RENAME_COLLECTION:
            _change(task, operation, renaming=operation)
        case _ if "request" in operation.detail:
            _change(task, operation, pending_request=operation)


def applied(task: TaskAttributes, operation: Operation) -> None:
    """Note what was done, or that the target or this version cannot do it."""
    if operation.kind == model.UPDATE_CREDENTIAL:
        user, fingerprint = operation.detail["user"], operation.detail["fingerprint"]
        task.passwords = {**task.passwords, user: fingerprint}
    if "request" in operation.detail:
        _change(task, operation, pending_request=None)
    if operation.refused:
        _refuse(task, operation)
    elif "access" in operation.detail:
        _grant(task, operation)
    elif operation.kind in _EFFECTS:
        _EFFECTS[operation.kind](task, operation)
    task.unresolved = unresolved_after(
        task.unresolved, operation, lives=_lives(task, operation)
    )


def _refuse(task: TaskAttributes, operation: Operation) -> None:
    """Count it once, though a restart may have it refused again."""
    if not any(_same(operation, each) for each in task.refusals):
        task.refusals = (*task.refusals[1 - SHOWN_REFUSALS :], operation)
        task.refused += 1


def _lives(task: TaskAttributes, operation: Operation) -> bool:
    if operation.collection_id is None:
        return True
    entry = task.collections.get(operation.collection_id)
    return entry is not None and entry.state is not CollectionState.DROPPED


def _same(one: Operation, other: Operation) -> bool:
    """What the catalog has no time of has one of when it was seen."""
    if {"access", "request"} & one.detail.keys():
        return replace(one, timestamp=other.timestamp) == other
    return one == other


def _change(task: TaskAttributes, operation: Operation, **changes: Any) -> None:
    """Change the entry of the operation's collection, if the task has it."""
    entry = task.collections.get(operation.collection_id or 0)
    if entry:
        task.collections[entry.collection_id] = replace(entry, **changes)


def _create_database(task: TaskAttributes, operation: Operation) -> None:
    task.databases = {**task.databases, operation.database: True}


def _drop_database(task: TaskAttributes, operation: Operation) -> None:
    databases = task.databases.items()
    task.databases = {n: made for n, made in databases if n != operation.database}


def _create(task: TaskAttributes, operation: Operation) -> None:
    entry = operation.created_entry()
    task.collections[entry.collection_id] = entry


def _rename(task: TaskAttributes, operation: Operation) -> None:
    database, name = operation.new_name
    _change(task, operation, database=database, name=name, renaming=None)


def _drop(task: TaskAttributes, operation: Operation) -> None:
    """A dropped collection takes its aliases with it."""
    dropped = operation.timestamp
    _change(task, operation, state=CollectionState.DROPPED, dropped=dropped)
    aliases = task.aliases.items()
    task.aliases = {each: to for each, to in aliases if to != operation.collection_id}


def _alter(task: TaskAttributes, operation: Operation) -> None:
    entry = task.collections.get(operation.collection_id or 0)
    if entry:
        altered = {**entry.properties, **operation.detail["properties"]}
        dropped = operation.detail.get("dropped", ())
        kept = {key: value for key, value in altered.items() if key not in dropped}
        _change(task, operation, properties=kept)


def _point_alias(task: TaskAttributes, operation: Operation) -> None:
    key = (operation.database, operation.detail["alias"])
    aliases = {each: to for each, to in task.aliases.items() if each != key}
    if operation.kind != model.DROP_ALIAS and operation.collection_id:
        aliases[key] = operation.collection_id
    task.aliases = aliases


def _import(task: TaskAttributes, operation: Operation) -> None:
    entry = task.collections.get(operation.collection_id or 0)
    if entry:
        imports = (*entry.imports, operation.detail["import"])
        _change(task, operation, imports=imports)


def _index(task: TaskAttributes, operation: Operation) -> None:
    """What a client asked for in the log has no id, and needs not be remembered."""
    entry = task.collections.get(operation.collection_id or 0)
    if entry and "index" in operation.detail:
        index = operation.detail["index"]
        others = {each: name for each, name in entry.indexes.items() if each != index}
        if operation.kind == model.CREATE_INDEX:
            others[index] = operation.detail["index_name"]
        _change(task, operation, indexes=others)


def _load(task: TaskAttributes, operation: Operation) -> None:
    _change(task, operation, loaded=operation.loaded)


def _load_partitions(task: TaskAttributes, operation: Operation) -> None:
    """A client's request in the log does not say what is loaded in the end."""
    if "whole" in operation.detail:
        _load(task, operation)


def _grant(task: TaskAttributes, operation: Operation) -> None:
    rule = frozenset([rule_from_json(operation.detail["access"])])
    removed = operation.detail["removed"]
    task.rbac_rules = task.rbac_rules - rule if removed else task.rbac_rules | rule


_EFFECTS = {
    model.CREATE_DATABASE: _create_database,
    model.DROP_DATABASE: _drop_database,
    model.CREATE_COLLECTION: _create,
    model.DROP_COLLECTION: _drop,
    model.RENAME_COLLECTION: _rename,
    model.ALTER_COLLECTION: _alter,
    model.CREATE_ALIAS: _point_alias,
    model.ALTER_ALIAS: _point_alias,
    model.DROP_ALIAS: _point_alias,
    model.IMPORT: _import,
    model.CREATE_INDEX: _index,
    model.DROP_INDEX: _index,
    model.LOAD_COLLECTION: _load,
    model.RELEASE_COLLECTION: _load,
    model.LOAD_PARTITIONS: _load_partitions,
    model.RELEASE_PARTITIONS: _load_partitions,
}
