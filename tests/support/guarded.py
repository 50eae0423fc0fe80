"""A Milvus that asks for a login, and a task's user there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.embedded.server import body_at
from tests.support.accounts import PASSWORD, ROOT, as_root, forget

if TYPE_CHECKING:
    from pathlib import Path

    Right = tuple[str, str, str]

WANTED = {"common": {"security": {"authorizationEnabled": True}}}
USER = ROLE = "replicator"

_GLOBAL = (
    "ListDatabases",
    "CreateDatabase",
    "DropDatabase",
    "CreateCollection",
    "DropCollection",
    "RenameCollection",
    "CreateAlias",
    "DropAlias",
)
_OF_COLLECTIONS = (
    "CreatePartition",
    "DropPartition",
    "ShowPartitions",
    "Insert",
    "Delete",
    "Query",
    "CreateIndex",
    "DropIndex",
    "Load",
    "Release",
    "Flush",
    "GetLoadState",
)
RIGHTS = (
    *(("Global", each, "*") for each in _GLOBAL),
    *(("Collection", each, "*") for each in _OF_COLLECTIONS),
)
"""What a task asks of its target that 2.3.5 does not let everybody do: kind of object,
privilege, and which objects."""


class GuardedMilvus(EmbeddedMilvus):
    """A Milvus that asks for a login."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, wanted=WANTED)

    def _is_ready(self) -> bool:
        """Tell whether a login goes through: right after the start each is refused."""
        if b"OK" not in body_at(self.ports["metrics"], "/healthz", 2.0):
            return False
        try:
            client = MilvusClient(self.uri, token=ROOT, timeout=2, dedicated=True)
            client.list_users()
        except MilvusException:
            return False
        client.close()
        return True


class TaskUser:
    """The user of a task at a guarded Milvus, and what its operator does to it.

    It begins with every right of ``RIGHTS``. Used by one thread.
    """

    def __init__(self, server: GuardedMilvus) -> None:
        """There are no other users, roles and grants afterwards."""
        self._root = as_root(server)
        self._password = PASSWORD
        forget(self._root)
        self._root.create_user(USER, PASSWORD)
        self._root.create_role(ROLE)
        self._root.grant_role(USER, ROLE)
        for right in RIGHTS:
            self.grant(right)

    @property
    def token(self) -> str:
        """The login, as it is now."""
        return f"{USER}:{self._password}"

    def change_password(self, password: str) -> str:
        """Let no other password do any more; return the former."""
        former, self._password = self._password, password
        self._root.update_password(USER, former, password)
        return former

    def withdraw(self, right: Right) -> None:
        """Take a right away."""
        self._root.revoke_privilege(ROLE, *right, db_name="*")

    def grant(self, right: Right) -> None:
        """Give a right."""
        self._root.grant_privilege(ROLE, *right, db_name="*")

    def close(self) -> None:
        """Remove the user, and close the connection."""
        forget(self._root)
        self._root.close()
