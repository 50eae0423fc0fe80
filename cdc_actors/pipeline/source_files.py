"""The source's files as one run reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import Storage
    from cdc_actors.source.catalog.client import Catalog, CollectionMeta
    from cdc_actors.source.storage.listing import Listing
    from cdc_actors.source.storage.rows import SegmentReader
    from cdc_actors.source.wal.base import WalReader


@dataclass(frozen=True, slots=True)
class Stored:
    """A collection as the catalog has it, its files, and who reads them."""

    meta: CollectionMeta
    listing: Listing
    reader: SegmentReader


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
        return self.storage.type != "none"

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
        from cdc_actors.source.storage.listing import (  # noqa: PLC0415
            listing,
            prefixes,
        )
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
