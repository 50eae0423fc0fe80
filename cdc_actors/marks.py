"""Marks: what says at a target which task writes a collection.

Services do not know of each other; what all of them see is the target. A mark is a
property of the collection there, so that it goes wherever the collection is renamed to,
and goes with it. Milvus (2.3.5) and Milvus Lite (3.2.2) keep properties of any name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PREFIX = "cdc_actors."
PROPERTY = f"{_PREFIX}mark"
"""The property's name. Empty stands for no mark: Milvus 2.3 cannot remove a property."""

REFRESHED = f"{_PREFIX}refreshed"
"""The property that is altered so that a Milvus's proxies look at its collection again."""

RIVAL = f"{_PREFIX}rival"
"""The property that tells the task which has the mark of one that wanted it, as a mark."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A task, by its store and id, and the collection at its source.

    ``source`` is the collection's database and name when the mark was written. The target
    had the collection before, and may have rows, up to ``taken``, a hybrid timestamp of the
    source; 0 for one that the task has made. ``origin`` is the mark that the source's
    collection has, where it is a copy itself, so that each mark tells all the way that
    rows have come.
    """

    store: str
    task: str
    collection_id: int
    source: str
    taken: int = 0
    origin: Mark | None = None

    @classmethod
    def of(cls, properties: Mapping[str, str], key: str = PROPERTY) -> Self | None:
        """Return the mark among a collection's properties, None if there is none.

        Raises:
            msgspec.MsgspecError: It is not one that this version can read.
        """
        text = properties.get(key)
        return msgspec.json.decode(text, type=cls) if text else None

    def to_properties(self, key: str = PROPERTY) -> dict[str, str]:
        """Return the property that says it."""
        return {key: msgspec.json.encode(self).decode()}

    @property
    def rank(self) -> tuple[str, str]:
        """Which of two tasks comes first where neither was."""
        return self.store, self.task

    def way(self) -> Iterator[Mark]:
        """Yield this mark, that of its source's collection, and so on."""
        mark: Mark | None = self
        while mark is not None:
            yield mark
            mark = mark.origin

    def until(self, collection_id: int) -> Mark | None:
        """Return the mark with its way cut off before a collection; None if it is that."""
        if self.collection_id == collection_id:
            return None
        origin = self.origin and self.origin.until(collection_id)
        return msgspec.structs.replace(self, origin=origin)

    def is_same(self, other: Mark) -> bool:
        """Tell whether both are of one task, for one collection."""
        return (self.rank, self.collection_id) == (other.rank, other.collection_id)

    def __str__(self) -> str:
        return f"task {self.task} of store {self.store} from its {self.source}"
