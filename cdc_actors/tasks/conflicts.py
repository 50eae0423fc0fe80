"""Which task of a target has which collections, so that no two write into the same.

milvus-cdc's rule (``checkDuplicateCollection``), kept for any number of selectors: a new
wildcard leaves out what other tasks name already; whatever else overlaps is refused. What
was left out stays so when the other task is deleted, and another one may name it again.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import msgspec

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks.names import contains, intersect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.tasks.spec import TaskSpec


def resolve_conflicts(
    spec: TaskSpec, others: Sequence[TaskSpec], there: Iterable[FullName] = ()
) -> TaskSpec:
    """Return the specification without what the other tasks of its target name.

    ``there`` are names at the target that collections of the other tasks have.

    Raises:
        TaskConflictError: Another task has some of the collections, or one that would
            have the same name at the target, or the users and roles.
    """
    taken = [
        (mine, theirs)
        for other in others
        for mine, theirs in product(spec.selectors, other.selectors)
        if _overlap(mine, theirs, other)
    ]
    duplicates = [m for m, theirs in taken if m == theirs or not contains(m, theirs)]
    if duplicates:
        raise TaskConflictError(
            f"the collection name is duplicate with existing task, [{listed(duplicates)}]"
        )
    if spec.enable_user_role and any(other.enable_user_role for other in others):
        raise TaskConflictError("the enable user role param is duplicate")
    _refuse_names(spec, {*there, *(name for o in others for name in o.named.values())})
    excludes = tuple(dict.fromkeys(theirs for _, theirs in taken))
    return msgspec.structs.replace(spec, excludes=excludes)


def listed(names: Iterable[FullName]) -> str:
    """Return names as milvus-cdc prints a list of them, each once."""
    return " ".join(dict.fromkeys(".".join(name) for name in names))


def _overlap(mine: FullName, theirs: FullName, other: TaskSpec) -> bool:
    both = intersect(mine, theirs)
    return both is not None and not any(contains(each, both) for each in other.excludes)


def _refuse_names(spec: TaskSpec, there: set[FullName]) -> None:
    clashes = [name for name in spec.named.values() if name in there]
    if clashes:
        raise TaskConflictError(
            f"another task has collections of the names [{listed(clashes)}] at the "
            "target: give others in name_mapping"
        )
