"""Users, roles, privilege groups and grants, kept at the target as the catalog has them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cdc_actors.changes import PRIVILEGE_GROUP, to_hybrid_ts
from cdc_actors.errors import OperationRefusedError
from cdc_actors.pipeline.messages import RecordOperationApplied
from cdc_actors.target import rbac as access
from cdc_actors.tasks import UPDATE_CREDENTIAL, Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import RbacRule
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.source.catalog.client import RbacMeta
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import TaskSpec

_BUILT_IN = {("user", "root"), ("role", "admin"), ("role", "public")}
_ORDER = ("user", "role", "group", "member", "binding", "grant")


class RbacSync:
    """Follows who may do what, for a task that asks for it. The reader's thread.

    What the source never had is left alone at the target. A password cannot be had from
    its hash: a new user gets one that nobody knows, and the task says so.
    """

    def __init__(
        self,
        context: RunContext,
        target: Connection,
        spec: TaskSpec,
        known: frozenset[RbacRule],
        passwords: Mapping[str, str],
    ) -> None:
        """``known`` and ``passwords`` are what earlier runs brought or told."""
        self._context = context
        self._target = target
        self._spec = spec
        self._known = known
        self._passwords = dict(passwords)
        self._told = False

    def update(self, found: RbacMeta) -> None:
        """Do what makes the difference between then and now."""
        if self._target.is_lite:
            self._tell_lite()
            return
        wanted = found.rules - _BUILT_IN
        for fact in sorted(self._known - wanted, key=_rank, reverse=True):
            self._do(fact, remove=True)
        for fact in sorted(wanted - self._known, key=_rank):
            self._do(fact, remove=False)
        self._known = wanted
        for user, fingerprint in found.passwords.items():
            if self._passwords.get(user) != fingerprint and user != "root":
                self._passwords[user] = fingerprint
                self._tell_password(user, fingerprint)

    def _do(self, fact: RbacRule, *, remove: bool) -> None:
        detail: dict[str, Any] = {"access": list(fact), "removed": remove}
        act = access.remove if remove else access.add
        try:
            act(self._target, self._there(fact))
        except OperationRefusedError as refusal:
            detail["refused"] = str(refusal)
        kind = access.request_name(fact, remove=remove)
        self._record(kind, " ".join(fact[1:]), detail)

    def _tell_lite(self) -> None:
        """Say once a run that there is nothing to bring users to."""
        if not self._told:
            self._told = True
            refused = "Milvus Lite has no users, roles and grants"
            detail = {"access": [], "removed": False, "refused": refused}
            self._record("enable_user_role", "", detail)

    def _tell_password(self, user: str, fingerprint: str) -> None:
        detail = {
            "user": user,
            "fingerprint": fingerprint,
            "refused": f"the catalog holds only a hash of the password of {user}: set it "
            "at the target",
        }
        self._record(UPDATE_CREDENTIAL, user, detail)

    def _record(self, kind: str, name: str, detail: dict[str, Any]) -> None:
        """The catalog does not know when it was done."""
        now = to_hybrid_ts(time.time())
        operation = Operation(
            kind=kind, timestamp=now, database="", name=name, detail=detail
        )
        self._context.record(RecordOperationApplied(operation))

    def _there(self, fact: RbacRule) -> RbacRule:
        """Return the fact with the names that the target has."""
        if fact[0] != "grant":
            return fact
        _, role, kind, database, name, privilege = fact
        if kind in {"Collection", PRIVILEGE_GROUP}:
            database, name = self._spec.target_name(database, name)
        return ("grant", role, kind, database, name, privilege)


def _rank(fact: RbacRule) -> tuple[int, RbacRule]:
    """What others need comes first: users, roles and groups, then what binds them."""
    return _ORDER.index(fact[0]), fact
