"""What the target has otherwise than the source, under the names of a task's collections.

A run sets such a collection aside once it comes to it. Who creates or updates the task
hears of it at once: of an existing collection with generated keys, of another schema, or
of an alias in its place. And of what the selection leaves out of the source.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import msgspec

from cdc_actors.errors import CdcError, CollectionError
from cdc_actors.service.selection_checks import left_out
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.target.collections import collection_names, is_there
from cdc_actors.target.connection import Connection, connect
from cdc_actors.target.databases import databases
from cdc_actors.target.skipping import held_schema, skipped_fields

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cdc_actors.changes import FullName
    from cdc_actors.config import SourceConfig
    from cdc_actors.tasks import TaskSpec

LOOK_SECONDS = 3
"""How long at most a request waits for its target to be looked at."""


def misfits(spec: TaskSpec, token: str, source: SourceConfig) -> list[str]:
    """Return a sentence for each collection of the source that the target has otherwise.

    Before them what the selection leaves out of the source, and after them one if there
    was no time for all of them. Of a source that does not answer nothing is said: the run
    says what it meets.
    """
    said: list[str] = []
    left: dict[FullName, bytes] = {}
    with suppress(CdcError):
        there = _schemas(source)
        said += left_out(spec, there)
        left |= _selected(spec, there)
        with closing(_look_at(spec, token)) as target:
            for name in _likely_first(target, left):
                said += _misfit(target, name, left[name], spec)
                del left[name]
            left.clear()
    if left:
        said.append(
            f"{len(left)} collections were not looked for at the target, which had "
            f"{LOOK_SECONDS} seconds: health says if one of them cannot be replicated"
        )
    return said


def _schemas(source: SourceConfig) -> dict[FullName, bytes]:
    """Return the schemas of the source's collections by their names."""
    with closing(open_catalog(source)) as catalog:
        found = catalog.snapshot().collections.values()
    return {(meta.database, meta.name): meta.schema for meta in found if meta.available}


def _selected(spec: TaskSpec, there: Mapping[FullName, bytes]) -> dict[FullName, bytes]:
    """Return the schemas of what is selected by its names at the target."""
    return {
        spec.target_name(*name): schema
        for name, schema in there.items()
        if spec.selects(*name)
    }


def _look_at(spec: TaskSpec, token: str) -> Connection:
    """Return a connection on which every call fails after a while."""
    end = time.monotonic() + LOOK_SECONDS
    param = msgspec.structs.replace(spec.target, connect_timeout=LOOK_SECONDS)
    return connect(param, token, lambda: time.monotonic() > end)


def _likely_first(
    target: Connection, names: Collection[FullName]
) -> Iterable[FullName]:
    """Return the names that may be taken, first those that collections have.

    Others in a database with collections may be those of aliases.
    """
    used = {database for database, _ in names} & databases(target)
    there = {(each, name) for each in used for name in collection_names(target, each)}
    used = {database for database, _ in there}
    return sorted(
        (name for name in names if name[0] in used), key=lambda name: name not in there
    )


def _misfit(
    target: Connection, name: FullName, schema: bytes, spec: TaskSpec
) -> list[str]:
    try:
        if spec.skip_unsupported_fields:
            skipped = skipped_fields(target.version, schema, ".".join(name))
            schema = held_schema(schema, skipped)
        is_there(target, name, schema)
    except CollectionError as error:
        return [f"{error}; the source's is set aside until then"]
    return []
