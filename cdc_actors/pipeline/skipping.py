"""Collections without the fields that a task's target cannot hold, if it asks for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from cdc_actors.target.skipping import held_schema, skipped_fields

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, TaskSpec

_log = structlog.get_logger()


def skipped_for(
    spec: TaskSpec, target: Connection, entry: CollectionEntry
) -> tuple[str, ...]:
    """Return the fields that a collection is to do without at the target.

    Raises:
        CollectionError: It cannot do without one of them.
    """
    if entry.skipped or not spec.skip_unsupported_fields:
        return entry.skipped
    name = f"{entry.database}.{entry.name}"
    skipped = skipped_fields(target.version, entry.schema, name)
    if skipped:
        _log.warning("fields_skipped", fields=skipped)
    return skipped


def schema_there(entry: CollectionEntry) -> bytes:
    """Return the schema that a collection has at the target, but for its name."""
    return held_schema(entry.schema, entry.skipped)
