"""Users, roles, privilege groups and grants as the catalog has them.

Milvus (2.3 to 2.5) keeps them without times or snapshots: what they are now is all that
can be known. Of a password there is a bcrypt hash only. Pure: bytes in, records out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import OperatorError
from cdc_actors.rbac_rules import (
    GROUP_OBJECT,
    Grant,
    GroupMember,
    PrivilegeGroup,
    Role,
    RoleBinding,
    User,
)

if TYPE_CHECKING:
    from cdc_actors.rbac_rules import RbacRule
    from cdc_actors.source.catalog.model import Pairs

_CREDENTIALS = "root-coord/credential/"
_PRIVILEGE_GROUPS = "root-coord/privilege-group/"
PREFIXES = (_CREDENTIALS, _PRIVILEGE_GROUPS)
"""Keys below the metadata's root path."""

_PREFIX, _GROUP_PREFIX = "Privilege", "PrivilegeGroup"
_FINGERPRINT = 16


@dataclass(frozen=True, slots=True)
class RbacMeta:
    """Who may do what.

    ``passwords`` has for each user a fingerprint that changes when the password does; it
    cannot be turned back into the hash, nor that into the password.
    """

    rules: frozenset[RbacRule]
    passwords: dict[str, str]


def parse(pairs: Pairs) -> RbacMeta:
    """Return who may do what, from the pairs below ``PREFIXES``."""
    rows = [
        (key.removeprefix(_CREDENTIALS).split("/"), value)
        for key, value in pairs
        if key.startswith(_CREDENTIALS)
    ]
    privileges: dict[str, list[str]] = {}
    for parts, _ in rows:
        if parts[0] == "grantee-id":
            privileges.setdefault(parts[1], []).append(parts[2])
    rules = _groups(pairs)
    passwords = {}
    for parts, value in rows:
        match parts:
            case ["users", user]:
                rules.add(User(user))
                passwords[user] = _fingerprint(user, value)
            case ["roles", role]:
                rules.add(Role(role))
            case ["user-role-mapping", user, role]:
                rules.add(RoleBinding(user, role))
            case ["grantee-privileges", role, kind, place]:
                for privilege in privileges.get(value.decode(), ()):
                    rules.add(_grant(role, kind, place, privilege))
    return RbacMeta(frozenset(rules), passwords)


def _groups(pairs: Pairs) -> set[RbacRule]:
    """Return the groups that users have made, and what is in them (from 2.5 on)."""
    rules: set[RbacRule] = set()
    for key, value in pairs:
        if key.startswith(_PRIVILEGE_GROUPS):
            group = milvus_pb2.PrivilegeGroupInfo.FromString(value)
            rules.add(PrivilegeGroup(group.group_name))
            rules |= {GroupMember(group.group_name, p.name) for p in group.privileges}
    return rules


def _grant(role: str, kind: str, place: str, privilege: str) -> Grant:
    """Return what is granted; ``PrivilegeGroup`` stands before the name of a group."""
    database, _, name = place.rpartition(".")
    if privilege.startswith(_GROUP_PREFIX):
        kind, own = GROUP_OBJECT, privilege.removeprefix(_GROUP_PREFIX)
    else:
        own = privilege.removeprefix(_PREFIX)
    return Grant(role, kind, database or DEFAULT_DATABASE, name, own)


def _fingerprint(user: str, value: bytes) -> str:
    try:
        stored = json.loads(value)["encrypted_password"]
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError(
            f"etcd holds no credential of Milvus 2.3 to 2.5 for the user {user}"
        ) from error
    return hashlib.sha256(f"{user}:{stored}".encode()).hexdigest()[:_FINGERPRINT]
