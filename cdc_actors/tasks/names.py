"""Names of collections by database: patterns that select, and names at the target.

A pattern has ``*`` for every database, or for every collection. At the target ``*`` keeps
the name that the source has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import FullName

ANY = "*"


class NameMapping(msgspec.Struct, frozen=True, kw_only=True):
    """What a database, or some of its collections, is called at the target.

    An entry of milvus-cdc's ``name_mapping``: without a ``collection_mapping`` all of the
    database goes to ``target_db``, with one only the collections that it names.
    """

    source_db: str
    target_db: str
    collection_mapping: dict[str, str] = {}

    @property
    def rules(self) -> list[tuple[FullName, FullName]]:
        """Each pattern of source names, with what it becomes at the target."""
        names = self.collection_mapping or {ANY: ANY}
        return [
            ((self.source_db, name), (self.target_db, there))
            for name, there in names.items()
        ]


def target_name(mappings: Iterable[NameMapping], database: str, name: str) -> FullName:
    """Return what a collection is called at the target.

    The most specific rule counts, whatever their order: for this collection of this
    database, for all of this database, for this collection of every database, for all.
    """
    rules = dict(rule for mapping in mappings for rule in mapping.rules)
    for pattern in ((database, name), (database, ANY), (ANY, name), (ANY, ANY)):
        if pattern in rules:
            there = rules[pattern]
            return _kept(there[0], database), _kept(there[1], name)
    return database, name


def _kept(there: str, here: str) -> str:
    return here if there == ANY else there


def contains(pattern: FullName, other: FullName) -> bool:
    """Tell whether a pattern takes everything that another one, or a name, stands for."""
    return all(
        mine in (ANY, theirs) for mine, theirs in zip(pattern, other, strict=True)
    )


def intersect(one: FullName, other: FullName) -> FullName | None:
    """Return the pattern of what both patterns take, None if there is no such name."""
    both = []
    for mine, theirs in zip(one, other, strict=True):
        if ANY not in (mine, theirs) and mine != theirs:
            return None
        both.append(theirs if mine == ANY else mine)
    return both[0], both[1]


def listed(names: Iterable[FullName]) -> str:
    """Return names as milvus-cdc prints a list of them, each once."""
    return " ".join(dict.fromkeys(".".join(name) for name in names))
