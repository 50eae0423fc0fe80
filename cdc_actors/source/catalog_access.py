"""Users, roles and grants as the catalog has them.

Milvus (2.3) keeps them without times or snapshots: what they are now is all that can be
known. Of a password there is a bcrypt hash only. Pure: bytes in, records out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from cdc_actors.source.catalog_meta import Pairs

ACCESS = "root-coord/credential/"

Fact = tuple[str, ...]
"""``("user", name)``, ``("role", name)``, ``("binding", user, role)`` or ``("grant",
role, object type, database, object, privilege)``, as Milvus's API names them."""

_PREFIX = "Privilege"
_FINGERPRINT = 16


@dataclass(frozen=True, slots=True)
class AccessMeta:
    """Who may do what.

    ``passwords`` has for each user a fingerprint that changes when the password does; it
    cannot be turned back into the hash, nor that into the password.
    """

    facts: frozenset[Fact]
    passwords: dict[str, str]


def access(pairs: Pairs) -> AccessMeta:
    """Return who may do what, from the pairs below ``ACCESS``."""
    rows = [(key.removeprefix(ACCESS).split("/"), value) for key, value in pairs]
    privileges: dict[str, list[str]] = {}
    for parts, _ in rows:
        if parts[0] == "grantee-id":
            privileges.setdefault(parts[1], []).append(parts[2])
    facts: set[Fact] = set()
    passwords = {}
    for parts, value in rows:
        match parts:
            case ["users", user]:
                facts.add(("user", user))
                passwords[user] = _fingerprint(user, value)
            case ["roles", role]:
                facts.add(("role", role))
            case ["user-role-mapping", user, role]:
                facts.add(("binding", user, role))
            case ["grantee-privileges", role, kind, place]:
                database, _, name = place.rpartition(".")
                for privilege in privileges.get(value.decode(), ()):
                    own = privilege.removeprefix(_PREFIX)
                    facts.add(("grant", role, kind, database or "default", name, own))
    return AccessMeta(frozenset(facts), passwords)


def _fingerprint(user: str, value: bytes) -> str:
    try:
        stored = json.loads(value)["encrypted_password"]
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError(
            f"etcd holds no credential of Milvus 2.3 to 2.5 for the user {user}"
        ) from error
    return hashlib.sha256(f"{user}:{stored}".encode()).hexdigest()[:_FINGERPRINT]
