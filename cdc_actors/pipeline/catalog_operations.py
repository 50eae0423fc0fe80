"""What the catalog shows of one collection, done at the target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.target import aliases, fields, properties, requests
from cdc_actors.tasks import ALTER_ALIAS, CREATE_ALIAS, DROP_ALIAS
from cdc_actors.tasks.details import (
    AliasDetail,
    FieldDetail,
    IndexDetail,
    LoadDetail,
    PropertiesDetail,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from cdc_actors.changes import FullName
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks.details import Detail


def with_schema(detail: Detail, schema: bytes) -> Detail:
    """Return an operation with the schema after it, if it alters the one before it."""
    if not isinstance(detail, FieldDetail):
        return detail
    after = fields.altered_schema(
        schema, detail.field_name, detail.altered, detail.dropped
    )
    return replace(detail, schema=after)


def may_be_half_done(detail: Detail) -> bool:
    """Tell whether an operation is to be written down before it is begun."""
    return isinstance(detail, IndexDetail | LoadDetail)


def field_of(detail: Detail) -> str:
    """Return the name of the field that an operation is about, "" if it is about none."""
    match detail:
        case FieldDetail(field):
            return field
        case IndexDetail(request=request):
            return str(request.get("field_name", ""))
    return ""


def apply_at_target(
    target: Connection,
    name: FullName,
    kind: str,
    detail: Detail,
    skipped: Collection[str],
) -> str:
    """Do an operation of a ``kind``, but for a rename, to the collection called ``name``.

    The target has none of its fields that are ``skipped``.

    Returns what it was done without, "" if nothing.

    Raises:
        CdcError: The target does not answer, or refuses.
    """
    match detail:
        case AliasDetail(alias) if kind == DROP_ALIAS:
            with target.alias_lock:
                aliases.drop_alias(target, name[0], alias)
        case AliasDetail(alias) if kind in {CREATE_ALIAS, ALTER_ALIAS}:
            aliases.set_alias(target, *name, alias)
        case PropertiesDetail(altered, dropped):
            properties.alter_properties(target, *name, altered, dropped)
        case FieldDetail(field, altered, dropped):
            fields.alter_field(target, name, field, altered, dropped)
        case IndexDetail(request=request) | LoadDetail(request=request):
            return requests.issue(target, kind, name, request, skipped)
        case _:
            raise TypeError(f"{kind} with {type(detail).__name__} is not known")
    return ""
