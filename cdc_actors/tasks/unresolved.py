"""Which refused operations still matter: what they were to change is not as it should be.

One matters for as long as its collection lives, until an operation on the same thing
succeeds: the same one, a newer one, or the one that undoes it. The thing is an index of one
field, what is loaded, the properties, an alias, a database, a rule of users and roles.

Where the target does no operation of a kind, the first stands for all, until one of the
kind succeeds. It matters only if it is about users and roles, which a task has to ask for,
or about aliases, which readers use: nobody misses the others while rows arrive.

Some never matter: a flush changes nothing that can be read, the password of a user cannot
be had, a database that is to be dropped is no part of the source any more, and another
task that wanted a collection did not get it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks import model

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Hashable, Mapping

    from cdc_actors.tasks.model import Operation

_NEVER = {
    "Flush",
    model.CLAIM_COLLECTION,
    model.DROP_DATABASE,
    model.UPDATE_CREDENTIAL,
}
_WHOLE = {model.LOAD_COLLECTION, model.RELEASE_COLLECTION}
_ASPECTS = {
    model.CREATE_INDEX: "index",
    model.DROP_INDEX: "index",
    model.CREATE_DATABASE: "database",
    model.DROP_DATABASE: "database",
    model.ALTER_DATABASE: "database",
    **dict.fromkeys(_WHOLE, "load"),
    model.LOAD_PARTITIONS: "load",
    model.RELEASE_PARTITIONS: "load",
}

Unresolved = dict["Hashable", tuple["Operation", ...]]
"""Refused operations that matter, by what they are about."""


def unresolved_after(
    unresolved: Unresolved, operation: Operation, *, lives: bool
) -> Unresolved:
    """Return what matters after an operation was done, or refused.

    ``lives`` tells that its collection, if it is of one, is still there.
    """
    if not lives:
        return without_collections(unresolved, {operation.collection_id})
    thing = _thing_of(operation)
    before = unresolved.get(thing, ())
    left = tuple(each for each in before if not _settles(operation, each))
    if operation.refused and _matters(operation):
        left += (operation,)
    settled = () if operation.refused else ("kind", operation.kind)
    if left == before and settled not in unresolved:
        return unresolved
    others = {k: each for k, each in unresolved.items() if k not in {thing, settled}}
    return others | {thing: left} if left else others


def kinds_after(
    kinds: Mapping[str, Operation], operation: Operation
) -> dict[str, Operation]:
    """Return of which kinds the target does none, after an operation, and which told."""
    if operation.is_kind_refused:
        return {**kinds, operation.kind: operation}
    if operation.refused:
        return dict(kinds)
    return {kind: each for kind, each in kinds.items() if kind != operation.kind}


def without_collections(
    unresolved: Unresolved, collections: Container[int | None]
) -> Unresolved:
    """Return what matters once some collections, by their ids, do not any more."""
    if not unresolved:
        return unresolved
    kept = {
        thing: tuple(each for each in some if each.collection_id not in collections)
        for thing, some in unresolved.items()
    }
    return {thing: some for thing, some in kept.items() if some}


def chosen(unresolved: Unresolved, kinds: Collection[str]) -> list[Operation]:
    """Return what matters of some kinds, or all of it if none are given; at least one.

    Raises:
        TaskConflictError: There is none.
    """
    left = list(chain.from_iterable(unresolved.values()))
    found = [each for each in left if not kinds or each.kind in kinds]
    if not found:
        there = ", ".join(sorted({each.kind for each in left})) or "none"
        raise TaskConflictError(
            f"of those kinds no refused operation still matters; there is {there}"
        )
    return found


def is_same(one: Operation, other: Operation) -> bool:
    """Tell whether two are one; the catalog has no time of some but when it was seen."""
    if {"access", "request"} & one.detail.keys():
        return replace(one, timestamp=other.timestamp) == other
    return one == other


def _matters(operation: Operation) -> bool:
    if operation.is_kind_refused:
        return bool({"access", "alias"} & operation.detail.keys())
    return operation.kind not in _NEVER


def _thing_of(operation: Operation) -> Hashable:
    detail = operation.detail
    if operation.is_kind_refused:
        return "kind", operation.kind
    if "alias" in detail:
        return "alias", operation.database, detail["alias"]
    if "access" in detail:
        return "access", *detail["access"]
    aspect = _ASPECTS.get(operation.kind, operation.kind)
    if aspect == "database":
        return aspect, operation.database
    return aspect, operation.collection_id


def _settles(newer: Operation, older: Operation) -> bool:
    """Tell whether two operations on one thing are about the same part of it."""
    if newer.kind in _WHOLE:
        return True
    return older.kind not in _WHOLE and _parts(older) <= _parts(newer)


def _parts(operation: Operation) -> set[str]:
    """Return the partitions or the field that an operation is about; older logs lack it."""
    asked: Mapping[str, object] = operation.detail.get("request", operation.detail)
    names = asked.get("partition_names", ())
    field = asked.get("field_name", "")
    return {*names, field} - {""}  # type: ignore[misc]
