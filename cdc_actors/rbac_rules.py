"""Who may do what, rule by rule: read from the source, asked of the target, kept in events.

A rule is true or it is not; there is nothing to change about one.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLLECTION_OBJECT = "Collection"
GLOBAL_OBJECT = "Global"
ALL_OBJECTS = ("", "*")
GROUP_OBJECT = "Group"
"""The ``object_type`` of a grant of a privilege group."""


@dataclass(frozen=True, slots=True)
class User:
    """There is a user."""

    name: str


@dataclass(frozen=True, slots=True)
class Role:
    """There is a role."""

    name: str


@dataclass(frozen=True, slots=True)
class PrivilegeGroup:
    """There is a group of privileges (Milvus 2.5)."""

    name: str


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A privilege is in a group."""

    group: str
    privilege: str


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """A user has a role."""

    user: str
    role: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A role has a privilege, or those of a group, on an object, in or of a database.

    ``object_type`` is ``Collection``, ``Global``, ``User`` or ``GROUP_OBJECT``.
    """

    role: str
    object_type: str
    database: str
    object_name: str
    privilege: str

    @property
    def by_name(self) -> bool:
        """Whether only a request that names the object whatever its type can repeat it.

        So with groups, and with ``Global`` privileges on one collection, such as
        ``DescribeCollection``: in the older request ``Global`` means all that there is.
        (Milvus 2.5: ``root_coord.go``, ``operatePrivilege``.)
        """
        return self.object_type == GROUP_OBJECT or (
            self.object_type == GLOBAL_OBJECT and self.object_name not in ALL_OBJECTS
        )

    @property
    def on_collection(self) -> bool:
        """Whether ``object_name`` is a collection's, or all of them."""
        return self.object_type == COLLECTION_OBJECT or self.by_name

    @property
    def on_database(self) -> bool:
        """Whether it is on all that is in one database."""
        return (
            self.object_type in {COLLECTION_OBJECT, GLOBAL_OBJECT, GROUP_OBJECT}
            and self.object_name in ALL_OBJECTS
            and self.database not in ALL_OBJECTS
        )


RbacRule = User | Role | PrivilegeGroup | GroupMember | RoleBinding | Grant

_TAGS: dict[str, type[RbacRule]] = {
    "user": User,
    "role": Role,
    "group": PrivilegeGroup,
    "member": GroupMember,
    "binding": RoleBinding,
    "grant": Grant,
}
_ORDER = tuple(_TAGS.values())


def rule_to_json(rule: RbacRule) -> list[str]:
    """Return a rule as events hold it: a file format."""
    tag = next(tag for tag, kind in _TAGS.items() if isinstance(rule, kind))
    return [tag, *astuple(rule)]


def rule_from_json(json: Sequence[str]) -> RbacRule:
    """Return the rule that ``rule_to_json`` wrote."""
    tag, *members = json
    return _TAGS[tag](*members)


def rank(rule: RbacRule) -> tuple[int, tuple[str, ...]]:
    """Return a key to sort by: what others need comes before what binds it."""
    return _ORDER.index(type(rule)), astuple(rule)
