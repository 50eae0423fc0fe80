"""What an operation that was done at the target changes in a task."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from cdc_actors.rbac_rules import rule_from_json
from cdc_actors.tasks import model, standing
from cdc_actors.tasks.model import CollectionEntry, CollectionState
from cdc_actors.tasks.spec import PastSelection
from cdc_actors.tasks.unresolved import (
    is_same,
    kinds_after,
    unresolved_after,
    without_collections,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Mapping

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.tasks.model import Operation
    from cdc_actors.tasks.spec import TaskSpec
    from cdc_actors.tasks.state import TaskAttributes

SHOWN_REFUSALS = 10
"""How many refused operations a task keeps to be shown, the newest; all are counted."""


def started(task: TaskAttributes, operation: Operation) -> None:
    """Note what may be half done from now on."""
    match operation.kind:
        case model.CREATE_DATABASE | model.DROP_DATABASE:
            task.databases = {**task.databases, operation.database: False}
        case model.CREATE_COLLECTION:
            _create(task, operation, CollectionState.CREATING)
        case model.DROP_COLLECTION:
            _change(task, operation, state=CollectionState.DROPPING)
        case model.RENAME_COLLECTION:
            _change(task, operation, renaming=operation)
        case model.EXCHANGE_COLLECTION:
            _change(task, operation, exchange=operation)
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
    elif effect := _EFFECTS.get(operation.kind):
        effect(task, operation)
    task.refused_kinds = kinds_after(task.refused_kinds, operation)
    _settle(task, operation)


def acknowledged(task: TaskAttributes, operations: Iterable[Operation]) -> None:
    """Note that somebody accepts that these were not done."""
    for operation in operations:
        task.acknowledged = unresolved_after(task.acknowledged, operation, lives=True)
        some = task.unresolved.items()
        left = {key: tuple(o for o in each if o != operation) for key, each in some}
        task.unresolved = {key: each for key, each in left.items() if each}


def _settle(task: TaskAttributes, operation: Operation) -> None:
    """Know what matters after an operation; what is accepted may be refused again."""
    lives = _lives(task, operation)
    known = chain.from_iterable(task.acknowledged.values())
    if operation.refused and any(is_same(operation, each) for each in known):
        return
    task.unresolved = unresolved_after(task.unresolved, operation, lives=lives)
    if not operation.refused:
        task.acknowledged = unresolved_after(task.acknowledged, operation, lives=lives)


def set_aside(task: TaskAttributes, noted: CollectionEntry) -> None:
    """Note that a collection, known or not, does not go on from where it stood.

    Its channels may be further back for the sake of another that is replayed. One that is
    set aside already has nothing of what came since, nor one that is not known.
    """
    known = task.collections.get(noted.collection_id)
    entry, stood = known or replace(noted, stood={}), noted.stood
    if _has_left(task, entry):
        return
    before = entry.state if known else None
    if entry.lacks_rows_alone:
        entry, before = replace(entry, resync=None), CollectionState.LIVE
    if before is CollectionState.SET_ASIDE:
        before, stood = entry.state_before, entry.stood
    if before is CollectionState.SNAPSHOT:
        stood = entry.stood
    reached = task.reached if known and not entry.stood else {}
    applied = {c: reached[c] for c in stood if c in reached}
    applied.update(entry.stood)
    task.collections[noted.collection_id] = replace(
        entry,
        state=CollectionState.SET_ASIDE,
        reason=noted.reason,
        failure_class=noted.failure_class,
        set_aside_at=noted.set_aside_at,
        state_before=before,
        stood=standing.latest(applied, stood),
        replay=False,
    )


def retried(
    task: TaskAttributes,
    collections: Collection[int],
    checkpoints: Mapping[str, Checkpoint],
) -> None:
    """Have collections replayed; all others have what is up to ``checkpoints``.

    But for those that are still to be replayed: their channels were not set back yet.
    """
    for entry in tuple(task.collections.values()):
        changes: dict[str, Any] = {}
        if entry.collection_id in collections:
            state = entry.state_before or CollectionState.CREATING
            replay = state is not CollectionState.SNAPSHOT
            changes = {"state": state, "reason": None, "replay": replay}
            changes |= dict.fromkeys(("failure_class", "set_aside_at", "state_before"))
        elif _goes_on(entry):
            here = {c: at for c, at in checkpoints.items() if c in entry.stood}
            changes = {"stood": standing.latest(entry.stood, here)}
        if changes:
            task.collections[entry.collection_id] = replace(entry, **changes)
    task.reached = standing.latest(task.reached, checkpoints)


def _goes_on(entry: CollectionEntry) -> bool:
    """Tell whether a collection that stood apart has what its channels have brought."""
    return bool(entry.stood) and not (entry.replay or entry.is_apart)


def snapshot_started(task: TaskAttributes, operation: Operation) -> None:
    """Note that a collection comes from the source's files, and then from the log."""
    _create(task, operation, CollectionState.SNAPSHOT)


def snapshot_completed(
    task: TaskAttributes, collection_id: int, checkpoints: Mapping[str, Checkpoint]
) -> None:
    """Have the log read on from where the files of a collection end.

    The target has the collection, and all of its rows up to there.
    """
    entry = task.collections.get(collection_id)
    if entry is not None and entry.state is CollectionState.SNAPSHOT:
        before = CollectionState.CREATING
        # What clients asked for meanwhile is in the catalog, which is read afterwards.
        asked = {c: at for c, at in checkpoints.items() if _is_of_requests(entry, c)}
        stood = {**entry.stood, **asked}
        known = replace(entry, state_before=before, stood=stood, resync=None)
        task.collections[collection_id] = known
        _take_name(task, entry.database, entry.name)
        retried(task, {collection_id}, checkpoints)


def _is_of_requests(entry: CollectionEntry, channel: str) -> bool:
    """Tell whether a channel where a collection stands is not one of its shards'."""
    own = any(shard.startswith(f"{channel}_") for shard in entry.shards)
    return channel in entry.stood and not own


def set_back(task: TaskAttributes) -> None:
    """Note that every channel begins early enough for what is replayed."""
    for entry in tuple(task.collections.values()):
        if entry.replay:
            task.collections[entry.collection_id] = replace(entry, replay=False)


def updated(
    task: TaskAttributes,
    spec: TaskSpec,
    deselected: Container[int | None],
    checkpoints: Mapping[str, Checkpoint],
) -> None:
    """Take another specification; nothing more is known of what it does not select.

    A database of which not everything is selected any more is no longer the task's to drop.
    """
    if task.spec.selection != spec.selection:
        read = standing.latest(task.reached, checkpoints)
        ticks = {channel: each.tick for channel, each in read.items()}
        past = PastSelection(spec=task.spec, ticks=ticks)
        task.past_selections = (*task.past_selections, past)
    task.former = {**task.former, **_leaving(task, deselected)}
    task.spec = spec
    collections, aliases = task.collections.items(), task.aliases.items()
    task.collections = {i: each for i, each in collections if i not in deselected}
    task.aliases = {each: to for each, to in aliases if to not in deselected}
    task.unresolved = without_collections(task.unresolved, deselected)
    task.acknowledged = without_collections(task.acknowledged, deselected)
    databases, properties = task.databases.items(), task.database_properties.items()
    task.databases = {n: made for n, made in databases if spec.selects_database(n)}
    task.database_properties = {n: p for n, p in properties if n in task.databases}


def _leaving(
    task: TaskAttributes, deselected: Container[int | None]
) -> dict[FullName, CollectionEntry]:
    """Return what the target may have of collections that leave, by its names of them."""
    return {
        task.spec.target_name(entry.database, entry.name): entry
        for number, entry in task.collections.items()
        if number in deselected and entry.schema
    }


def _take_name(task: TaskAttributes, database: str, name: str) -> None:
    """What the target has by a collection's name is that collection's from now on."""
    taken = task.spec.target_name(database, name)
    task.former = {each: by for each, by in task.former.items() if each != taken}


def _has_left(task: TaskAttributes, entry: CollectionEntry) -> bool:
    """Tell whether a run that ended for an update had begun something with a collection.

    It is not the task's any more.
    """
    if entry.collection_id in task.collections or not task.past_selections:
        return False
    return not task.spec.selects(entry.database, entry.name)


def _refuse(task: TaskAttributes, operation: Operation) -> None:
    """Count it once, though a restart may have it refused again.

    What another task asked for is nothing that this one has not done.
    """
    if operation.kind == model.CLAIM_COLLECTION:
        task.claims = {**task.claims, operation.collection_id or 0: operation}
        return
    if not any(is_same(operation, each) for each in task.refusals):
        task.refusals = (*task.refusals[1 - SHOWN_REFUSALS :], operation)
        task.refused += 1


def _lives(task: TaskAttributes, operation: Operation) -> bool:
    if operation.collection_id is None:
        return True
    entry = task.collections.get(operation.collection_id)
    return entry is not None and entry.state is not CollectionState.DROPPED


def _change(task: TaskAttributes, operation: Operation, **changes: Any) -> None:
    """Change the entry of the operation's collection, if the task has it."""
    if entry := task.collections.get(operation.collection_id or 0):
        task.collections[entry.collection_id] = replace(entry, **changes)


def _create_database(task: TaskAttributes, operation: Operation) -> None:
    task.databases = {**task.databases, operation.database: True}


def _drop_database(task: TaskAttributes, operation: Operation) -> None:
    databases, properties = task.databases.items(), task.database_properties.items()
    task.databases = {n: made for n, made in databases if n != operation.database}
    task.database_properties = {n: p for n, p in properties if n != operation.database}


def _alter_database(task: TaskAttributes, operation: Operation) -> None:
    before = task.database_properties.get(operation.database, {})
    known = {operation.database: operation.altered(before)}
    task.database_properties = {**task.database_properties, **known}


def _create(
    task: TaskAttributes,
    operation: Operation,
    state: CollectionState = CollectionState.LIVE,
) -> None:
    """One that is created anew has no aliases, but for one that a shadow is to replace."""
    entry = operation.created_entry()
    known = task.collections.get(entry.collection_id, entry)
    early = task.early_imports.get(entry.collection_id, {})
    imports = {**early, **known.imports, **entry.imports}
    if _has_left(task, entry):
        return
    created = replace(entry, state=state, replay=known.replay, imports=imports)
    task.collections[entry.collection_id] = created
    if state is not CollectionState.SNAPSHOT:
        _take_name(task, entry.database, entry.name)
    if not entry.shadow:
        _forget_aliases(task, entry.collection_id)


def _rename(task: TaskAttributes, operation: Operation) -> None:
    database, name = operation.new_name
    _change(task, operation, database=database, name=name, renaming=None)
    _take_name(task, database, name)


def _drop(task: TaskAttributes, operation: Operation) -> None:
    """A dropped collection takes its aliases with it."""
    dropped = operation.timestamp
    _change(task, operation, state=CollectionState.DROPPED, dropped=dropped)
    _forget_aliases(task, operation.collection_id)


def _forget_aliases(task: TaskAttributes, collection_id: int | None) -> None:
    aliases = task.aliases.items()
    task.aliases = {each: to for each, to in aliases if to != collection_id}


def _alter(task: TaskAttributes, operation: Operation) -> None:
    if entry := task.collections.get(operation.collection_id or 0):
        _change(task, operation, properties=operation.altered(entry.properties))


def _alter_field(task: TaskAttributes, operation: Operation) -> None:
    """A client's request in an older log does not say what comes of it."""
    if "schema" in operation.detail:
        _change(task, operation, schema=base64.b64decode(operation.detail["schema"]))


def _point_alias(task: TaskAttributes, operation: Operation) -> None:
    key = (operation.database, operation.detail["alias"])
    aliases = {each: to for each, to in task.aliases.items() if each != key}
    if operation.kind != model.DROP_ALIAS and operation.collection_id:
        aliases[key] = operation.collection_id
    task.aliases = aliases


def _import(task: TaskAttributes, operation: Operation) -> None:
    """Of a collection that is not created yet it is kept in mind."""
    number = operation.collection_id or 0
    found = {operation.detail["import"]: operation.imported}
    if entry := task.collections.get(number):
        _change(task, operation, imports={**entry.imports, **found})
    else:
        early = task.early_imports.get(number, {})
        task.early_imports = {**task.early_imports, number: early | found}


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


_EFFECTS: dict[str, Callable[[TaskAttributes, Operation], None]] = {
    model.CREATE_DATABASE: _create_database,
    model.DROP_DATABASE: _drop_database,
    model.ALTER_DATABASE: _alter_database,
    model.CREATE_COLLECTION: _create,
    model.DROP_COLLECTION: _drop,
    model.RENAME_COLLECTION: _rename,
    model.EXCHANGE_COLLECTION: partial(_change, shadow=False, exchange=None),
    model.ALTER_COLLECTION: _alter,
    model.ALTER_FIELD: _alter_field,
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
