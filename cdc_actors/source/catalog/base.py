"""The one small interface behind which a source's catalog stands, wherever it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cdc_actors.source.catalog.model import (
    AliasMeta,
    CollectionMeta,
    IndexMeta,
    LoadMeta,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cdc_actors.source.catalog import model as meta
    from cdc_actors.source.catalog.bulk_imports import ImportMeta
    from cdc_actors.source.catalog.rbac import RbacMeta
    from cdc_actors.source.versions import Version

Aliases = dict[tuple[str, str], AliasMeta]
"""What aliases stand for, by database and alias."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSnapshot:
    """The catalog as it was at one revision of etcd.

    Collections by id, the oldest first, those being created or dropped included.
    """

    revision: int
    databases: dict[int, str]
    collections: dict[int, CollectionMeta]
    aliases: Aliases
    imports: list[ImportMeta]


@dataclass(frozen=True, slots=True)
class IndexAndLoadState:
    """What makes a collection searchable: the indexes in existence, and its load."""

    indexes: tuple[IndexMeta, ...] = ()
    load: LoadMeta | None = None


@dataclass(frozen=True, slots=True)
class CatalogChanges:
    """What was changed since: of which collections, and whether of the other kinds."""

    databases: bool
    collections: frozenset[int]
    aliases: bool
    imports: bool
    rbac: bool


class Watch(Protocol):
    """What happens to a catalog. For the thread of its ``Catalog``."""

    def changed(self) -> CatalogChanges:
        """Return, at once, what changed since the last call.

        A collection changed if its properties, schema, partitions, indexes or loading
        were written or removed.

        Raises:
            CdcError: The watch is broken: take a new snapshot and watch from there.
        """

    def listen(
        self,
        heard: Callable[[], None],  # noqa: ARG002 - of those that can tell
    ) -> None:
        """Have something called, by any thread, when there may be changes to ask for.

        A watch that cannot tell never does.
        """
        return

    def close(self) -> None:
        """End the watch. Idempotent."""


class Catalog(Protocol):
    """Reads the metadata of one source. One thread uses it and its watches.

    What Milvus had acknowledged before a call is seen. Every call raises
    ``TransientError`` when the source is away, and ``OperatorError`` when it refuses or is
    something else.
    """

    def snapshot(self) -> CatalogSnapshot:
        """Return everything, at one revision.

        Raises:
            UnsupportedVersionError: The source is one that cannot be read.
        """

    def collection(self, collection_id: int) -> CollectionMeta | None:
        """Return one collection as it is now, None if etcd does not have it."""

    def collections(self, wanted: Sequence[int]) -> dict[int, CollectionMeta]:
        """Return those of some collections that etcd has, as they are now, by id."""

    def forget(self, gone: Iterable[int]) -> None:
        """Keep nothing in memory of collections that are not asked for any more."""

    def find(self, database: str, name: str) -> CollectionMeta | None:
        """Return the collection of that name that is available now, None without one."""

    def version(self) -> Version:
        """Return the version of the source, empty while it does not run.

        Raises:
            UnsupportedVersionError: It is one that cannot be read.
        """

    def root_coordinator(self) -> str:
        """Return where the source's root coordinator is, empty while it does not run."""

    def indexes_and_loads(
        self, found: Mapping[int, CollectionMeta]
    ) -> dict[int, IndexAndLoadState]:
        """Return what makes these collections searchable now, by their ids."""

    def field_of_index(self, collection_id: int, name: str, until: int) -> str:
        """Return the field of an index that was created until then, or "" if unknown.

        Milvus forgets an index about an hour after it was dropped.
        """

    def created(self) -> int:
        """Return when the source was set up, in nanoseconds since 1970.

        No two sources have the same, unless the etcd of one is a copy of the other's.
        Every other call raises SourceChangedError once it has become another.
        """

    def databases(self) -> dict[str, dict[str, str]]:
        """Return the properties of the databases that there are now, by name."""

    def aliases(self) -> Aliases:
        """Return what every alias stands for now."""

    def alias_ended(self, database: str, alias: str) -> int:
        """Return when an alias was last dropped, a hybrid timestamp.

        0 if the catalog has forgotten it, or does not know the alias.
        """

    def imports(self) -> list[ImportMeta]:
        """Return the bulk imports that brought rows and are not forgotten yet."""

    def read_below(self, prefixes: Iterable[str], revision: int = 0) -> meta.Pairs:
        """Return what is below some prefixes of the metadata, all at one revision.

        What Milvus removed is there as ``TOMBSTONE``, where its key has snapshots.
        """

    def rbac(self) -> RbacMeta:
        """Return which users and roles there are now, and what they may do."""

    def time(self) -> int:
        """Return a hybrid timestamp by the source's own clock that nothing has there yet.

        Before Milvus gives timestamps to what is done it stores up to when it may, some
        three seconds ahead. Where it has not (2.2 to 3.0 all do) no time is late enough.
        """

    def watch(self, revision: int) -> Watch:
        """Follow the collections from ``revision`` on: a snapshot's revision plus one."""

    def close(self) -> None:
        """Release the connection; watches go on. Idempotent."""
