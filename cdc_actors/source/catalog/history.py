"""What the catalog remembers of earlier days.

Milvus (2.3) writes a value of rootcoord's a second time, in one transaction, under
``snapshots/<key>_ts<timestamp>``, and forgets those after a while. Pure: bytes in,
records out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cdc_actors.source.catalog import model as meta
from cdc_actors.source.catalog.model import NameSince

if TYPE_CHECKING:
    from collections.abc import Mapping

SNAPSHOTS = "snapshots/"

_KEY = re.compile(r"(.*)_ts(\d+)", re.DOTALL)
_COLLECTION = re.compile(rf"{meta.COLLECTIONS}(\d+)/(\d+)")

Version = tuple[int, str, bytes]
"""When a value was written (a hybrid timestamp), under which key, and the value."""


def versions(pairs: meta.Pairs) -> list[Version]:
    """Return the values below ``snapshots/``, removals included, oldest first."""
    found = []
    for key, value in pairs:
        if match := _KEY.fullmatch(key.removeprefix(SNAPSHOTS)):
            found.append((int(match[2]), match[1], value))
    return sorted(found)


def collection_versions(found: list[Version]) -> dict[int, list[Version]]:
    """Return the versions of each collection, by its id.

    A rename into another database removes one key and writes another.
    """
    by_id: dict[int, list[Version]] = {}
    for version in found:
        match = _COLLECTION.fullmatch(version[1])
        if match and version[2] != meta.TOMBSTONE:
            by_id.setdefault(int(match[2]), []).append(version)
    return by_id


def names(found: list[Version], databases: Mapping[int, str]) -> list[NameSince]:
    """Return the names that the versions of one collection tell of, oldest first."""
    history: list[NameSince] = []
    for timestamp, key, value in found:
        match = _COLLECTION.fullmatch(key)
        database = databases.get(int(match[1])) if match else None
        if database is None:
            continue
        name = meta.collection_name((key, value))
        if not history or (history[-1].database, history[-1].name) != (database, name):
            history.append(NameSince(timestamp, database, name))
    return history
