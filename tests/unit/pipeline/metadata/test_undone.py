"""Which refused operations the source has undone."""

from __future__ import annotations

import pytest

from cdc_actors.pipeline.metadata.undone import undoing
from cdc_actors.rbac_rules import RbacRule, Role, rule_to_json
from cdc_actors.source.catalog.model import AliasMeta
from cdc_actors.tasks import Operation
from tests.support.tasks import SUPERVISOR, entry, new_task

ROLE = Role("r")
GRANTED = {"access": rule_to_json(ROLE), "removed": False}
REVOKED = {"access": rule_to_json(ROLE), "removed": True}


def refused(kind: str, **detail: object) -> Operation:
    """Return an operation on a collection that was refused."""
    return Operation(
        kind=kind,
        timestamp=5,
        database="default",
        name="c445",
        collection_id=445,
        detail={**detail, "refused": "no"},
    )


@pytest.mark.parametrize(
    ("operation", "owner", "rules", "is_undone"),
    [
        (refused("CreateAlias", alias="al"), 445, set(), False),
        (refused("CreateAlias", alias="al"), 446, set(), True),
        (refused("CreateAlias", alias="bl"), 445, set(), True),
        (refused("AlterAlias", alias="bl"), 445, set(), True),
        (refused("DropAlias", alias="bl"), 445, set(), False),
        (refused("CreateRole", **GRANTED), 445, {ROLE}, False),
        (refused("CreateRole", **GRANTED), 445, set(), True),
        (refused("DropRole", **REVOKED), 445, set(), False),
        (refused("enable_user_role", access=[], removed=False), 445, set(), False),
        (refused("CreateIndex", field_name="f"), 445, set(), False),
    ],
)
def test_what_is_undone(
    operation: Operation, owner: int, rules: set[RbacRule], *, is_undone: bool
) -> None:
    """What the source does not have cannot be missing at the target."""
    aliases = {("default", "al"): AliasMeta(owner, 1)}
    done = undoing(operation, aliases, lambda: rules)
    assert (done is not None) == is_undone
    task = new_task()
    for each in (Operation.create_collection(entry()), operation, done):
        if each is not None:
            task.apply_operation(each, who=SUPERVISOR, why="test")
    assert bool(task.unresolved) != is_undone
