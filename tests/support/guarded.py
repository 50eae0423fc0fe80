"""A Milvus that asks for a login, and a task's user there."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.embedded.server import body_at
from tests.support.accounts import PASSWORD, ROOT, as_root, forget
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Right = tuple[str, str, str]

WANTED = {"common": {"security": {"authorizationEnabled": True}}}
_TIMEOUT = 10.0
_EVERYWHERE: dict[str, Any] = {"db_name": "*", "timeout": _TIMEOUT}
_NUMBERS = count(1)

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
        healthy = b"OK" in body_at(self.ports["metrics"], "/healthz", 2.0)
        return healthy and _logs_in(self, ROOT)


class TaskUser:
    """The user of a task at a guarded Milvus, and what its operator does to it.

    Whatever is asked of the server is asked until it is done, and one that has ended is
    started: a 2.3.5 that was killed may crash once more by itself. Its proxy hears later
    who may do what, of two changes sometimes in the wrong order: what is to be withdrawn
    must be seen to be granted before, ``grant_again`` helps, and each has a name of its
    own, which nothing was taken from before. Used by one thread.
    """

    def __init__(self, server: GuardedMilvus, rights: Iterable[Right] = RIGHTS) -> None:
        """There are no other users, roles and grants afterwards."""
        self._server = server
        self._rights = tuple(rights)
        self._root = as_root(server)
        self._password = PASSWORD
        self._name = f"replicator_{next(_NUMBERS)}"
        forget(self._root)
        self._root.create_user(self._name, PASSWORD)
        self._root.create_role(self._name)
        self._root.grant_role(self._name, self._name)
        self.grant_again()

    @property
    def token(self) -> str:
        """The login, as it is now."""
        return f"{self._name}:{self._password}"

    def change_password(self, password: str) -> str:
        """Let no other password do any more; return the former."""
        former, self._password = self._password, password

        def change() -> None:
            if not _logs_in(self._server, self.token):
                self._root.update_password(
                    self._name, former, password, timeout=_TIMEOUT
                )

        self._do(change)
        return former

    def withdraw(self, right: Right) -> None:
        """Take a right away."""
        self._do(
            partial(self._root.revoke_privilege, self._name, *right, **_EVERYWHERE)
        )

    def grant(self, right: Right) -> None:
        """Give a right."""
        self._do(partial(self._root.grant_privilege, self._name, *right, **_EVERYWHERE))

    def grant_again(self) -> None:
        """Give every right that the user began with."""
        for right in self._rights:
            self.grant(right)

    def close(self) -> None:
        """Remove the user, and close the connection."""
        self._do(lambda: forget(self._root))
        self._root.close()

    def _do(self, act: Callable[[], object]) -> None:
        def is_done() -> bool:
            self._server.start()
            act()
            return True

        wait_until(is_done, "the target does what its operator asks")


def _logs_in(server: EmbeddedMilvus, token: str) -> bool:
    try:
        client = MilvusClient(server.uri, token=token, timeout=2, dedicated=True)
    except MilvusException:
        return False
    client.close()
    return True
