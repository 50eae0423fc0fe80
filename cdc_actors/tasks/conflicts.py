"""Which task of a target has which collections, so that no two write into the same.

The rule is milvus-cdc's (``checkDuplicateCollection``), for any number of selectors: a new
wildcard leaves out what other tasks name already; whatever else overlaps is refused. What
was left out stays so when the other task is deleted, and another one may name it again.
The words of refusals are milvus-cdc's, too, as its clients may match on them.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING

import msgspec

from cdc_actors.errors import OperatorError, TaskConflictError
from cdc_actors.tasks.names import contains, intersect, listed
from cdc_actors.tasks.spec import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.tasks.spec import TaskSpec
    from cdc_actors.tasks.task import Task


def resolve_conflicts(
    spec: TaskSpec,
    others: Sequence[tuple[str, TaskSpec]],
    taken_names: Iterable[FullName] = (),
) -> TaskSpec:
    """Return the specification without what the other tasks of its target name.

    ``others`` are with the ids that clients know; ``taken_names`` are names at the target
    that collections of the other tasks have.

    Raises:
        TaskConflictError: Another task has some of the collections, or one that would
            have the same name at the target, or the users and roles.
    """
    taken = [
        (mine, theirs, task_id)
        for task_id, other in others
        for mine, theirs in product(spec.selectors, other.selectors)
        if _overlap(mine, theirs, other)
    ]
    duplicates = [
        (mine, task_id)
        for mine, theirs, task_id in taken
        if mine == theirs or not contains(mine, theirs)
    ]
    if duplicates:
        ids = dict.fromkeys(task_id for _, task_id in duplicates)
        raise TaskConflictError(
            "the collection name is duplicate with existing task, "
            f"[{listed(mine for mine, _ in duplicates)}], task_id: {', '.join(ids)}"
        )
    specs = [other for _, other in others]
    if spec.enable_user_role and any(other.enable_user_role for other in specs):
        raise TaskConflictError("the enable user role param is duplicate")
    named = (name for other in specs for name in other.named.values())
    _refuse_names(spec, {*taken_names, *named})
    excludes = tuple(dict.fromkeys(theirs for _, theirs, _ in taken))
    return msgspec.structs.replace(spec, excludes=excludes)


def refuse_other_body(
    task: Task, spec: TaskSpec, decrypt: Callable[[str], str]
) -> None:
    """Let a repeated creation through: it must ask for what the task is.

    Which of equal selections were asked for in which order makes no difference. A token
    that cannot be decrypted any more is taken to be the same.

    Raises:
        TaskConflictError: The task of that id is another one; the text names the members
            of the request that differ.
    """
    differ = task.spec.differing_members(spec)
    if known_token(task, decrypt) not in (None, spec.token):
        differ.append(TOKEN)
    if differ:
        raise TaskConflictError(
            f"there is a task of that id with another {', '.join(differ)}, task_id: "
            f"{task.task_id}"
        )


def known_token(task: Task, decrypt: Callable[[str], str]) -> str | None:
    """Return the target's token, None if the key that it was encrypted with is lost."""
    with suppress(OperatorError):
        return decrypt(task.secret)
    return None


def resolve_update(
    before: TaskSpec,
    spec: TaskSpec,
    others: Sequence[tuple[str, TaskSpec]],
    taken_names: Iterable[FullName] = (),
) -> TaskSpec:
    """Return the new specification of a task that was ``before``, as at a creation.

    What the task left to others stays so, unless the new selection names it, or some of
    it: the other tasks are those of the new target, without this one.

    Raises:
        TaskConflictError: As for a creation.
    """
    resolved = resolve_conflicts(spec, others, taken_names)
    kept = (
        each
        for each in before.excludes
        if any(contains(mine, each) for mine in spec.selectors)
        and not any(contains(each, mine) for mine in spec.selectors)
    )
    excludes = tuple(dict.fromkeys([*kept, *resolved.excludes]))
    return msgspec.structs.replace(resolved, excludes=excludes)


def _overlap(mine: FullName, theirs: FullName, other: TaskSpec) -> bool:
    both = intersect(mine, theirs)
    return both is not None and not any(contains(each, both) for each in other.excludes)


def _refuse_names(spec: TaskSpec, taken_names: set[FullName]) -> None:
    clashes = [name for name in spec.named.values() if name in taken_names]
    if clashes:
        raise TaskConflictError(
            f"another task has collections of the names [{listed(clashes)}] at the "
            "target: give others in name_mapping"
        )
