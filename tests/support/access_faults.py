"""A task's access to its target is taken away at random, and given back."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import grpc

from tests.support.accounts import PASSWORD
from tests.support.cdc import wait_until
from tests.support.guarded import RIGHTS, GuardedMilvus, TaskUser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc
    from tests.support.proxy import TcpProxy

    Remedy = Callable[[Cdc, str], object]

OTHER_PASSWORD = "Another123"
STATUSES = (401, 403, 404)
"""What an ingress may answer while it does not know yet where the target is."""

WITHDRAWN = 4
"""How many rights are withdrawn at a time: the workload does not need each of them."""

TAKEN, GIVEN = 0.6, 0.7
"""How often access is taken away where it is there, and given back where it is not."""


class Access:
    """What an operator, and a proxy on the way, do to a task's access. One thread uses it.

    ``user`` is None where the target has no users; then only the proxy does something.
    ``told`` is what was done.
    """

    def __init__(self, way: TcpProxy, user: TaskUser | None, moments: Random) -> None:
        self._way = way
        self._user = user
        self._moments = moments
        self._remedy: Remedy | None = None
        self._renewals = 0
        self.told: list[str] = []

    def create_task(self, cdc: Cdc, **options: str) -> str:
        """Create a task of all collections that has the access; return its id."""
        uri = f"http://127.0.0.1:{self._way.port}"
        param = {"uri": uri, "token": self._user.token if self._user else ""}
        everything = [{"name": "*"}]
        created = cdc.ask(
            "create",
            milvus_connect_param=param,
            collection_infos=everything,
            **options,
        )
        return str(created["task_id"])

    def perhaps_take_away(self) -> None:
        """Take it away at random, if it is there."""
        if self._remedy is None and self._moments.random() < TAKEN:
            self.take_away()

    def perhaps_give_back(self, cdc: Cdc, task: str) -> None:
        """Give it back at random, if it is away; the service is up."""
        if self._moments.random() < GIVEN:
            self.give_back(cdc, task)

    def take_away(self) -> None:
        """Take it away in one of many ways."""
        faults: list[Callable[[], Remedy]] = [self._restart_proxy, self._refuse_login]
        if user := self._user:
            of_user = (self._change_password, self._renew_password, self._withdraw)
            faults += [partial(each, user) for each in of_user]
        self._remedy = self._moments.choice(faults)()

    def give_back(self, cdc: Cdc, task: str) -> None:
        """Give it back, with the service up. Idempotent."""
        remedy, self._remedy = self._remedy, None
        if remedy is not None:
            remedy(cdc, task)

    def settle(self, cdc: Cdc, task: str) -> None:
        """Give it back; a task that has paused for want of it goes on."""
        self.give_back(cdc, task)
        if self._user is not None:
            wait_until(lambda: self._is_let(cdc, task), "no right is missing", 60)
        if cdc.get(task)["state"] == "Paused":
            self.told.append("resumed")
            cdc.ask("resume", task_id=task)

    def _is_let(self, cdc: Cdc, task: str) -> bool:
        """Tell whether no right is missing, and grant all again if one is."""
        missing = "permission deny" in str(cdc.get(task)["health"]["error"])
        if missing and self._user is not None:
            self._user.grant_again()
        return not missing or cdc.get(task)["state"] == "Paused"

    def _restart_proxy(self) -> Remedy:
        """Cut all connections; for a moment the proxy answers itself."""
        status = self._moments.choice(STATUSES)
        self.told.append(f"proxy restarted, {status}")
        self._way.cut()
        self._way.heal()
        self._way.answer(status)
        return self._heal

    def _refuse_login(self) -> Remedy:
        """Refuse every login for a moment, as a Milvus does that has just started."""
        self.told.append("unauthenticated")
        self._way.answer(200, grpc.StatusCode.UNAUTHENTICATED)
        return self._heal

    def _heal(self, *_: object) -> None:
        self._way.heal()

    def _change_password(self, user: TaskUser) -> Remedy:
        """Change the password, and change it back."""
        self.told.append("password changed and changed back")
        former = user.change_password(OTHER_PASSWORD)
        return lambda *_: user.change_password(former)

    def _renew_password(self, user: TaskUser) -> Remedy:
        """Change the password for good; an update gives the task the new one."""
        self.told.append("password changed, task updated")
        self._renewals += 1
        user.change_password(f"{PASSWORD}{self._renewals}")
        asked = {"milvus_connect_param": {"token": user.token}}
        # On a busy machine the target may not answer in time.
        return lambda cdc, task: wait_until(
            lambda: cdc.request("update", task_id=task, **asked)[0] == 200,
            "the task has the new password",
        )

    def _withdraw(self, user: TaskUser) -> Remedy:
        """Withdraw some rights, and grant them again."""
        rights = self._moments.sample(RIGHTS, WITHDRAWN)
        names = ", ".join(privilege for _, privilege, _ in rights)
        self.told.append(f"withdrawn and granted: {names}")
        for right in rights:
            user.withdraw(right)
        return lambda *_: [user.grant(right) for right in rights]


@contextmanager
def access_by(
    way: TcpProxy, server: EmbeddedMilvus | EmbeddedLite, moments: Random
) -> Iterator[Access]:
    """Have a user of a task at a server that asks for a login, and a way that breaks."""
    user = TaskUser(server) if isinstance(server, GuardedMilvus) else None
    try:
        yield Access(way, user, moments)
    finally:
        if user is not None:
            user.close()
