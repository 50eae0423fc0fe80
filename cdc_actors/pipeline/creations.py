"""When the catalog has what the log tells of: from 2.6 on some moments later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.changes import to_hybrid_ts

if TYPE_CHECKING:
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.source.catalog.client import Catalog, CollectionMeta
    from cdc_actors.source.wal.base import WalReader

WRITTEN_SECONDS = 5.0
"""How long after the log Milvus may write down a collection, by the clock of either."""

_LOOK_SECONDS = 0.02


def written_down(
    catalog: Catalog, collection_id: int, told: int, wal: WalReader, run: RunContext
) -> CollectionMeta | None:
    """Return what the catalog has of a collection that the log tells of.

    ``told`` is the time of what the log says. Milvus (2.6, 3.0) writes a collection down
    once all its channels have its creation. So one that is missing was dropped since only
    if that is a while ago. The reader's thread, which waits for it.
    """
    end = time.monotonic() + WRITTEN_SECONDS
    while (found := catalog.collection(collection_id)) is None and wal.is_streamed:
        is_old = catalog.time() > told + to_hybrid_ts(WRITTEN_SECONDS)
        if is_old or time.monotonic() > end:
            break
        run.check_running()
        time.sleep(_LOOK_SECONDS)
    return found
