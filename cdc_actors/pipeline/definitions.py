"""What the catalog says of a collection, as the task and as the target know it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.changes import (
    REPLICATE_ID,
    Definition,
    channel_of,
    replicated_properties,
)
from cdc_actors.errors import CollectionError
from cdc_actors.pipeline.expiry import TTL
from cdc_actors.target.skipping import held_schema
from cdc_actors.tasks import CollectionEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cdc_actors.changes import FullName
    from cdc_actors.marks import Mark
    from cdc_actors.source.catalog.client import CollectionMeta


def channels_of(shards: Iterable[str]) -> tuple[str, ...]:
    """Return the physical channels of shards, each once."""
    return tuple(dict.fromkeys(map(channel_of, shards)))


def excluded_entry_of(meta: CollectionMeta) -> CollectionEntry:
    """Return the entry of a collection that is only shown; it has no schema."""
    return CollectionEntry(
        collection_id=meta.id, database=meta.database, name=meta.name
    )


def _properties(meta: CollectionMeta) -> dict[str, str]:
    """Return the properties that a collection begins with.

    Not a time to live that may not be the newest: by one that was lengthened since, the
    target would expire what the source still has. ``metadata.properties`` brings it.
    """
    known = dict(meta.properties)
    if meta.altered > meta.created:
        known.pop(TTL, None)
    return known


def entry_of(meta: CollectionMeta) -> CollectionEntry:
    """Return the task's entry of a collection that it does not have yet."""
    return CollectionEntry(
        collection_id=meta.id,
        database=meta.database,
        name=meta.name,
        schema=meta.schema,
        shards=tuple(meta.shards),
        created=meta.created,
        properties=_properties(meta),
    )


def definition_of(meta: CollectionMeta, target_name: FullName) -> Definition:
    """Return what the target is to create under the name that it has for it."""
    return Definition(
        database=target_name[0],
        name=target_name[1],
        schema=meta.schema,
        shards=meta.shards_num,
        consistency_level=meta.consistency_level,
        properties=replicated_properties(_properties(meta)),
        partitions=tuple(p.name for p in meta.partitions.values()),
    )


def marked_definition(
    definition: Definition, target_name: FullName, mark: Mark, skipped: Collection[str]
) -> Definition:
    """Return what the target is to create under the name that it has for it by now.

    That is without the fields that are ``skipped``.
    """
    database, name = target_name
    return replace(
        definition,
        database=database,
        name=name,
        properties={**definition.properties, **mark.to_properties()},
        schema=held_schema(definition.schema, skipped),
    )


def written_elsewhere(meta: CollectionMeta) -> CollectionError | None:
    """Return why nobody can follow a collection by its log, None if one can."""
    origin = meta.properties.get(REPLICATE_ID)
    if not origin:
        return None
    return CollectionError(
        f"{meta.database}.{meta.name} is written by a replication itself "
        f"({REPLICATE_ID} is {origin}): replicate it from where that one reads"
    )


def renamed_away(meta: CollectionMeta) -> CollectionError:
    """Return why one is not taken that was selected, and had another name then."""
    return CollectionError(
        f"it is {meta.database}.{meta.name} by now, which is not selected: select that, "
        "then `retry`"
    )
