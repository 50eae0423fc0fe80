"""Users, roles, privilege groups and grants, kept at the target as the catalog has them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cdc_actors.errors import OperationRefusedError
from cdc_actors.pipeline.forwarding import attempt
from cdc_actors.pipeline.messages import RecordOperationApplied
from cdc_actors.rbac_rules import Grant, Role, User, rank, rule_to_json
from cdc_actors.target import rbac
from cdc_actors.tasks import CREATE_CREDENTIAL, UPDATE_CREDENTIAL, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.rbac_rules import RbacRule
    from cdc_actors.source.catalog.client import RbacMeta
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import TaskSpec

_BUILT_IN = {User("root"), Role("admin"), Role("public")}


class RbacSync:
    """Follows who may do what, for a task that asks for it. The reader's thread.

    What the source never had is left alone at the target. A password cannot be had from
    its hash: a new user gets one that nobody knows, and the task reports it.
    """

    def __init__(
        self,
        context: RunContext,
        target: Connection,
        spec: TaskSpec,
        known: frozenset[RbacRule],
        passwords: Mapping[str, str],
    ) -> None:
        """``known`` and ``passwords`` are what earlier runs brought or reported."""
        self._context = context
        self._target = target
        self._spec = spec
        self._known = known
        self._passwords = dict(passwords)
        self._lite_reported = False
        self._databases: tuple[str, ...] = ()

    def update(self, found: RbacMeta, databases: Iterable[str]) -> None:
        """Do what makes the difference between then and now.

        ``databases`` are those that the source has.
        """
        self._databases = tuple(databases)
        if self._target.is_lite:
            self._report_lite()
            return
        wanted = found.rules - _BUILT_IN
        for rule in sorted(self._known - wanted, key=rank, reverse=True):
            self._apply(rule, remove=True)
        for rule in sorted(wanted - self._known, key=rank):
            self._apply(rule, remove=False)
        self._known = wanted
        if CREATE_CREDENTIAL in self._context.refused_kinds:
            return
        for user, fingerprint in found.passwords.items():
            if self._passwords.get(user) != fingerprint and user != "root":
                self._passwords[user] = fingerprint
                self._report_password(user, fingerprint)

    def _apply(self, rule: RbacRule, *, remove: bool) -> None:
        json = rule_to_json(rule)
        detail: dict[str, Any] = {"access": json, "removed": remove}
        kind = rbac.request_name(rule, remove=remove)
        operation = self._operation(kind, " ".join(json[1:]), detail)
        act = partial(self._remove if remove else self._add, rule)
        attempt(self._context, operation, act)

    def _add(self, rule: RbacRule) -> None:
        self._refuse_wider(rule)
        rbac.add(self._target, self._at_target(rule))

    def _remove(self, rule: RbacRule) -> None:
        rbac.remove(self._target, self._at_target(rule))

    def _report_lite(self) -> None:
        """Say once a run that there is nothing to bring users to."""
        if not self._lite_reported:
            self._lite_reported = True
            refused = "Milvus Lite has no users, roles and grants"
            detail = {"access": [], "removed": False, "refused": refused}
            self._record(self._operation("enable_user_role", "", detail))

    def _report_password(self, user: str, fingerprint: str) -> None:
        detail = {
            "user": user,
            "fingerprint": fingerprint,
            "refused": f"the catalog holds only a hash of the password of {user}: set it "
            "at the target",
        }
        self._record(self._operation(UPDATE_CREDENTIAL, user, detail))

    def _operation(self, kind: str, name: str, detail: dict[str, Any]) -> Operation:
        """The catalog does not know when it was done."""
        now = self._context.source_time()
        return Operation(
            kind=kind, timestamp=now, database="", name=name, detail=detail
        )

    def _record(self, operation: Operation) -> None:
        self._context.record(RecordOperationApplied(operation))

    def _at_target(self, rule: RbacRule) -> RbacRule:
        """Return a rule with the names that the target has."""
        if isinstance(rule, Grant) and rule.on_collection:
            names = self._spec.target_name(rule.database, rule.object_name)
            return replace(rule, database=names[0], object_name=names[1])
        if isinstance(rule, Grant) and rule.on_database:
            there = self._spec.target_database(rule.database)
            return replace(rule, database=there)
        return rule

    def _refuse_wider(self, rule: RbacRule) -> None:
        """Refuse what is granted on all of a database that others go into, too."""
        if not (isinstance(rule, Grant) and rule.on_database):
            return
        there = self._spec.target_database(rule.database)
        others = [
            each
            for each in self._databases
            if each != rule.database and self._spec.goes_into(each, there)
        ]
        if others:
            raise OperationRefusedError(
                f"a grant on all of {rule.database} would be one on all of {there} at the "
                f"target, where {', '.join(sorted(others))} of the source is, too: grant "
                "it on single collections there"
            )
