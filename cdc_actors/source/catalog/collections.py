"""Collections from the pairs that etcd keeps of each, and where it keeps them.

A collection's own pair stands below its database: the key changes when the collection is
moved to another one. Fields, functions and partitions stand below the collection's id.
Pure: pairs in, records out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.source.catalog import history
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.catalog.model import CollectionMeta, NameSince

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.changes import FullName

BELONGINGS = (meta.FIELDS, meta.PARTITIONS, meta.FUNCTIONS, meta.STRUCT_ARRAYS)

_OWN = re.compile(
    rf"(?:{meta.COLLECTIONS}(\d+)/|{meta.COLLECTIONS_BEFORE_DATABASES})(\d+)(?:_ts\d+)?"
)
_BELONGING = re.compile(rf"({'|'.join(BELONGINGS)})(\d+)/.*", re.DOTALL)


@dataclass(slots=True)
class _Parts:
    """What etcd keeps of one collection."""

    own: list[tuple[str, tuple[str, bytes]]] = field(default_factory=list)
    belongings: defaultdict[str, list[tuple[str, bytes]]] = field(
        default_factory=lambda: defaultdict(list)
    )


def assemble(
    pairs: Iterable[tuple[str, bytes]], databases: Mapping[int, str]
) -> dict[int, CollectionMeta]:
    """Return the collections that are in one of the databases, by id, the oldest first.

    ``pairs`` are all that there are of these collections, their snapshots included, at one
    revision, in any order.
    """
    parts: defaultdict[int, _Parts] = defaultdict(_Parts)
    snapshots = []
    for pair in pairs:
        if pair[0].startswith(history.SNAPSHOTS):
            snapshots.append(pair)
        elif pair[1] != meta.TOMBSTONE:
            _sort_in(pair, parts, databases)
    versions = history.collection_versions(history.versions(snapshots))
    return {
        each: _with_versions(
            _collection(parts[each]), versions.get(each, []), databases
        )
        for each in sorted(parts)
        if parts[each].own
    }


def _sort_in(
    pair: tuple[str, bytes],
    parts: defaultdict[int, _Parts],
    databases: Mapping[int, str],
) -> None:
    if match := _OWN.fullmatch(pair[0]):
        database = databases.get(int(match[1])) if match[1] else DEFAULT_DATABASE
        if database is not None:
            parts[int(match[2])].own.append((database, pair))
    elif match := _BELONGING.fullmatch(pair[0]):
        parts[int(match[2])].belongings[match[1]].append(pair)


def _collection(parts: _Parts) -> CollectionMeta:
    database, pair = parts.own[-1]
    return meta.collection(pair, database, *(parts.belongings[b] for b in BELONGINGS))


def _with_versions(
    found: CollectionMeta,
    versions: list[history.Version],
    databases: Mapping[int, str],
) -> CollectionMeta:
    """Add what the collection was called, and when it was last written down."""
    names = history.names(versions, databases)
    now = NameSince(found.created, found.database, found.name)
    if not names or (names[-1].database, names[-1].name) != (now.database, now.name):
        names = [now]
    # Milvus keeps no versions from 2.6.15 on, and says when before 2.4 nowhere else.
    altered = max(found.created, found.altered, versions[-1][0] if versions else 0)
    return replace(found, names=tuple(names), altered=altered)


def _own_key(home: int | None, collection_id: int) -> str:
    if home is None:
        return f"{meta.COLLECTIONS_BEFORE_DATABASES}{collection_id}"
    return f"{meta.COLLECTIONS}{home}/{collection_id}"


class KnownPlaces:
    """Where collections have been seen in etcd, and what they were last called.

    A hint that saves searching: whoever follows it reads and sees whether it holds.
    """

    def __init__(self) -> None:
        # None is the place of those made before there were databases.
        self._homes: dict[int, set[int | None]] = {}
        self._names: dict[int, FullName] = {}
        self._ids: dict[FullName, int] = {}

    def note_key(self, key: str) -> None:
        """Note a key that was written, of a collection or of something else."""
        if match := _OWN.fullmatch(key.removeprefix(history.SNAPSHOTS)):
            home = int(match[1]) if match[1] else None
            self._homes.setdefault(int(match[2]), set()).add(home)

    def note(self, found: CollectionMeta) -> None:
        """Note what a collection is called, unless it is not, or no longer, usable."""
        name = found.database, found.name
        if found.available and self._names.get(found.id) != name:
            self._forget_name(found.id)
            self._names[found.id] = name
        if found.available:
            self._ids[name] = found.id

    def prefixes(self, collection_id: int) -> list[str]:
        """Return below which keys all is that there may be of a collection."""
        homes = self._homes.get(collection_id, ())
        own = [_own_key(home, collection_id) for home in homes]
        snapshots = [f"{history.SNAPSHOTS}{each}_ts" for each in own]
        belongings = [f"{kind}{collection_id}/" for kind in BELONGINGS]
        return [*own, *snapshots, *belongings] if own else []

    def databases(self, wanted: Iterable[int]) -> set[int]:
        """Return the ids of the databases that some collections have been seen in."""
        homes = {home for each in wanted for home in self._homes.get(each, ())}
        return {home for home in homes if home is not None}

    def id_of(self, database: str, name: str) -> int | None:
        """Return which collection was last seen under a name."""
        return self._ids.get((database, name))

    def forget(self, collection_id: int) -> None:
        """Forget a collection that does not exist any more."""
        self._homes.pop(collection_id, None)
        self._forget_name(collection_id)

    def _forget_name(self, collection_id: int) -> None:
        name = self._names.pop(collection_id, None)
        if name is not None and self._ids.get(name) == collection_id:
            del self._ids[name]
