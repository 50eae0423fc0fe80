"""Operations that the target refused, and that the source undid while no run looked.

What the catalog shows each run tries again, so that a refusal is settled by the next run if
its reason is gone. What is in the catalog no more nobody tries: it is settled, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.rbac_rules import rule_from_json
from cdc_actors.target.rbac import request_name
from cdc_actors.tasks import ALTER_ALIAS, CREATE_ALIAS, DROP_ALIAS, Operation
from cdc_actors.tasks.details import AliasDetail

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from cdc_actors.rbac_rules import RbacRule
    from cdc_actors.source.catalog.client import Aliases


def undoing(
    refused: Operation, aliases: Aliases, rules: Callable[[], Container[RbacRule]]
) -> Operation | None:
    """Return what undid a refused operation at the source, if that was done.

    ``aliases`` and ``rules`` are all that the source has now.
    """
    if refused.is_kind_refused:
        return None
    if refused.kind in {CREATE_ALIAS, ALTER_ALIAS}:
        return _undoing_alias(refused, aliases)
    access = refused.detail.get("access")
    if access and not refused.detail["removed"]:
        rule = rule_from_json(access)
        if rule not in rules():
            detail = {"access": access, "removed": True}
            return replace(refused, kind=request_name(rule, remove=True), detail=detail)
    return None


def _undoing_alias(refused: Operation, aliases: Aliases) -> Operation | None:
    alias = refused.detail["alias"]
    now = aliases.get((refused.database, alias))
    if now is not None and now.collection_id == refused.collection_id:
        return None
    return replace(refused, kind=DROP_ALIAS, detail=AliasDetail(alias).to_json())
