"""The source's files as one run reads them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cdc_actors.source.storage.listing import (
    Listing,
    checkpoints,
    listing,
    prefixes,
    written_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from cdc_actors.changes import Insert, Key
    from cdc_actors.config import Storage
    from cdc_actors.source.catalog.client import Catalog, CollectionMeta
    from cdc_actors.source.storage.ahead import Memory
    from cdc_actors.source.storage.listing import Segment
    from cdc_actors.source.storage.rows import LoggedDeletes
    from cdc_actors.source.wal.base import WalReader


class RowReader(Protocol):
    """Reads segments; what its methods do is said in ``SegmentReader``."""

    def inserts(self, segment: Segment, until: int, since: int = 0) -> Iterator[Insert]:
        """Yield rows."""
        ...

    def keys(self, segment: Segment, until: int) -> Iterator[list[Key]]:
        """Yield their keys."""
        ...

    def knowing(self, logged: LoggedDeletes) -> RowReader:
        """Return one that knows of more deletes."""
        ...

    def ahead(
        self,
        segments: Iterable[Segment],
        memory: Memory,
        check: Callable[[], None],
        *,
        whole: bool,
    ) -> AbstractContextManager[RowReader]:
        """Lend one that is ahead of who asks."""
        ...


class _NoRows:
    """Stands for who reads files, where there are none."""

    def inserts(
        self, _segment: Segment, _until: int, _since: int = 0
    ) -> Iterator[Insert]:
        """Yield nothing."""
        return iter(())

    def keys(self, _segment: Segment, _until: int) -> Iterator[list[Key]]:
        """Yield nothing."""
        return iter(())

    def knowing(self, _logged: LoggedDeletes) -> RowReader:
        """Return the same."""
        return self

    def ahead(self, *_: Any, **__: Any) -> AbstractContextManager[RowReader]:
        """Lend the same."""
        return nullcontext(self)


@dataclass(frozen=True, slots=True)
class Stored:
    """A collection as the catalog has it, its files, and who reads them.

    ``may_lack_deletes`` tells that some which count as written may be in no file yet.
    """

    meta: CollectionMeta
    listing: Listing
    reader: RowReader
    may_lack_deletes: bool = False


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """Finds a collection's files. Any thread may use it.

    ``storage`` says where they are, if the service may read them; ``open_log`` opens
    another reader of the log, ``open_catalog`` another connection to the catalog.
    """

    storage: Storage
    open_catalog: Callable[[], Catalog]
    open_log: Callable[[], WalReader]

    @property
    def available(self) -> bool:
        """Whether there is anything to read from."""
        return self.storage.is_given

    def check(self) -> None:
        """See that there is something that answers.

        Raises:
            OperatorError: What it takes to read it is not installed.
            StorageError: Nothing does.
        """
        from cdc_actors.source.storage.files import Files  # noqa: PLC0415 - as ``find``

        Files(self.storage).check()

    def without(self, catalog: Catalog, collection_id: int) -> Stored | None:
        """Return a collection as though it had no files; None and errors as of ``find``."""
        meta = catalog.collection(collection_id)
        if meta is None or meta.dropping:
            return None
        return Stored(meta, Listing((), {}), _NoRows())

    def written_until(self, catalog: Catalog, meta: CollectionMeta) -> int:
        """Return up to which hybrid timestamp files have all of a collection, 0 unknown.

        Raises:
            CdcError: The catalog does not answer, or refuses.
        """
        found = checkpoints(meta, catalog.read_below(written_at(meta)))
        return min((found[s].timestamp if s in found else 0) for s in meta.shards)

    def find(self, catalog: Catalog, collection_id: int) -> Stored | None:
        """Return what there is of a collection, None if the source has dropped it.

        The files are listed first: what the catalog has of a collection afterwards knows
        every partition that they belong to.

        Raises:
            CdcError: Catalog or storage do not answer, or refuse.
            CollectionError: Its files are in a form that cannot be read.
        """
        # Imported where used: they need an extra.
        from cdc_actors.source.storage.files import Files  # noqa: PLC0415
        from cdc_actors.source.storage.rows import SegmentReader  # noqa: PLC0415

        files = Files(self.storage)
        known = catalog.collection(collection_id)
        if known is None:
            return None
        pairs = catalog.read_below(prefixes(known))
        meta = catalog.collection(collection_id)
        if meta is None or meta.dropping:
            return None
        reader = SegmentReader(meta, files)
        reader.refuse_unreadable()
        return Stored(meta, listing(meta, pairs), reader)
