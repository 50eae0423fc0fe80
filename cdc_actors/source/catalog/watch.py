"""What happens to the catalog, told by a watch of etcd."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cdc_actors.source.catalog import bulk_imports, rbac
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.catalog.base import CatalogChanges, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.source.catalog.collections import KnownPlaces
    from cdc_actors.source.catalog.shared_watch import SharedWatch

_OF_COLLECTIONS = (
    meta.COLLECTIONS,
    meta.COLLECTIONS_BEFORE_DATABASES,
    meta.FIELDS,
    meta.FUNCTIONS,
    meta.STRUCT_ARRAYS,
    meta.PARTITIONS,
    meta.INDEXES,
    meta.COLLECTION_LOADS,
    meta.PARTITION_LOADS,
)
WATCHED = (
    meta.DATABASES,
    *_OF_COLLECTIONS,
    meta.ALIASES,
    *bulk_imports.PREFIXES,
    *rbac.PREFIXES,
)
"""Keys below the metadata's root path that a watch follows."""

_COLLECTION_OF_KEY = re.compile(
    rf"(?:{meta.COLLECTIONS}\d+/|{'|'.join(_OF_COLLECTIONS[1:])})(\d+)(?:/|$)"
)


class CatalogWatch(Watch):
    """What happened to the source's collections, as etcd tells it."""

    def __init__(self, stream: SharedWatch, root: str, known: KnownPlaces) -> None:
        self._stream = stream
        self._root = root
        self._known = known

    def changed(self) -> CatalogChanges:
        """Return, at once, what changed since the last call.

        A collection changed if its properties, schema, partitions, indexes or loading
        were written or removed.

        Raises:
            CdcError: The watch is broken, or the changes from its revision on are no
                longer held: take a new snapshot and watch from there.
        """
        keys = [key.decode().removeprefix(self._root) for key in self._stream.take()]
        for key in keys:
            self._known.note_key(key)
        found = map(_COLLECTION_OF_KEY.match, keys)
        return CatalogChanges(
            any(key.startswith(meta.DATABASES) for key in keys),
            frozenset(int(match[1]) for match in found if match),
            any(key.startswith(meta.ALIASES) for key in keys),
            any(key.startswith(bulk_imports.PREFIXES) for key in keys),
            any(key.startswith(rbac.PREFIXES) for key in keys),
        )

    def listen(self, heard: Callable[[], None]) -> None:
        """Have something called when there may be changes; see ``Watch``."""
        self._stream.listen(heard)

    def close(self) -> None:
        """End the watch. Idempotent."""
        self._stream.close()
