"""Rules of users and roles as events hold them: the JSON is a file format."""

from __future__ import annotations

import pytest

from cdc_actors.rbac_rules import (
    Grant,
    GroupMember,
    PrivilegeGroup,
    RbacRule,
    Role,
    RoleBinding,
    User,
    rank,
    rule_from_json,
    rule_to_json,
)

RULES = [
    (User("ann"), ["user", "ann"]),
    (Role("r"), ["role", "r"]),
    (PrivilegeGroup("g"), ["group", "g"]),
    (GroupMember("g", "Query"), ["member", "g", "Query"]),
    (RoleBinding("ann", "r"), ["binding", "ann", "r"]),
    (
        Grant("r", "Collection", "db", "books", "Insert"),
        ["grant", "r", "Collection", "db", "books", "Insert"],
    ),
]


@pytest.mark.parametrize(("rule", "json"), RULES)
def test_a_rule_is_written_and_read(rule: RbacRule, json: list[str]) -> None:
    """It is the same again, with the tag and the order of the members as ever."""
    assert rule_to_json(rule) == json
    assert rule_from_json(json) == rule


def test_what_others_need_comes_first() -> None:
    """Sorted by rank, nothing is bound or granted before it is there."""
    ordered = [rule for rule, _ in RULES]
    assert sorted(set(ordered), key=rank) == ordered
