"""Users, roles and grants of a Milvus: those that a test makes, and all that there are."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from pymilvus import MilvusClient

from tests.support.walk import DATABASES, DEFAULT, NAMES

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

    Binding = tuple[str, str]
    Grant = tuple[str, str, str, str, str]

ROOT = "root:Milvus"
BUILT_IN = {"admin", "public"}
PASSWORD = "Secret123"
USERS = ("ann", "bob", "eve")
ROLES = ("reader", "writer")
PRIVILEGES = (
    ("Collection", "Search"),
    ("Collection", "Insert"),
    ("Global", "CreateCollection"),
)
TIMEOUT = 120.0


def as_root(server: EmbeddedMilvus | EmbeddedLite) -> MilvusClient:
    """Return a client that may grant: Milvus wants to know who does."""
    return MilvusClient(server.uri, token=ROOT, timeout=TIMEOUT, dedicated=True)


def forget(client: MilvusClient) -> None:
    """Drop every user, role and grant."""
    for user in set(client.list_users()) - {"root"}:
        client.drop_user(user)
    for role in set(client.list_roles()) - BUILT_IN:
        for each in _privileges(client, role):
            client.revoke_privilege(
                role,
                each["object_type"],
                each["privilege"],
                each["object_name"],
                db_name=each["db_name"],
            )
        client.drop_role(role)


def access_of(client: MilvusClient) -> dict[str, Any]:
    """Return who may do what, in every database."""
    users = {
        user: sorted(client.describe_user(user).get("roles", ()))
        for user in client.list_users()
    }
    roles = {
        role: sorted(
            (p["object_type"], p["db_name"], p["object_name"], p["privilege"])
            for p in _privileges(client, role)
        )
        for role in client.list_roles()
    }
    return {"users": users, "roles": roles}


def _privileges(client: MilvusClient, role: str) -> list[dict[str, str]]:
    """Return what a role was granted: Milvus tells it by database, and of all in each."""
    found: list[dict[str, str]] = []
    for database in (DEFAULT, *DATABASES):
        told = client.describe_role(role, db_name=database)["privileges"]
        found += [each for each in told if each not in found]
    return found


class Accounts:
    """The users and roles of a source that is walked through, as ``World`` is."""

    def __init__(self, client: MilvusClient, asked: list[str]) -> None:
        """There are none; what the source is asked is added to ``asked``."""
        self._client = client
        self._asked = asked
        self.users: list[str] = []
        self.roles: list[str] = []
        self.bindings: list[Binding] = []
        self.grants: list[Grant] = []

    def unbound(self) -> list[Binding]:
        """Return the users and roles that are not bound to each other."""
        pairs = product(self.users, self.roles)
        return [each for each in pairs if each not in self.bindings]

    def not_granted(self) -> list[Grant]:
        """Return what may still be granted."""
        found = (
            (role, kind, privilege, name, database)
            for role, (kind, privilege) in product(self.roles, PRIVILEGES)
            for name in ((*NAMES, "*") if kind == "Collection" else ("*",))
            for database in (DEFAULT, *DATABASES, "*")
        )
        return [each for each in found if each not in self.grants]

    def _ask(self, method: str, *args: str, **more: str) -> None:
        self._asked.append(f"{method}({', '.join([*args, *more.values()])})")
        getattr(self._client, method)(*args, **more)

    def create_user(self, user: str) -> None:
        """Create a user."""
        self._ask("create_user", user, PASSWORD)
        self.users.append(user)

    def drop_user(self, user: str) -> None:
        """Drop a user, bound to roles or not."""
        self._ask("drop_user", user)
        self.users.remove(user)
        self.bindings = [each for each in self.bindings if each[0] != user]

    def create_role(self, role: str) -> None:
        """Create a role."""
        self._ask("create_role", role)
        self.roles.append(role)

    def drop_role(self, role: str) -> None:
        """Drop a role, what it was granted first: Milvus wants that."""
        for grant in [each for each in self.grants if each[0] == role]:
            self.revoke(grant)
        self._ask("drop_role", role)
        self.roles.remove(role)
        self.bindings = [each for each in self.bindings if each[1] != role]

    def bind(self, binding: Binding) -> None:
        """Bind a role to a user."""
        self._ask("grant_role", *binding)
        self.bindings.append(binding)

    def unbind(self, binding: Binding) -> None:
        """Take a role from a user."""
        self._ask("revoke_role", *binding)
        self.bindings.remove(binding)

    def grant(self, grant: Grant) -> None:
        """Grant something to a role."""
        *what, database = grant
        self._ask("grant_privilege", *what, db_name=database)
        self.grants.append(grant)

    def revoke(self, grant: Grant) -> None:
        """Take back what a role was granted."""
        *what, database = grant
        self._ask("revoke_privilege", *what, db_name=database)
        self.grants.remove(grant)
