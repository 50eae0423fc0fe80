"""Whether the message queue is that of the Milvus whose catalog is read.

Two Milvus have channels of the same names. But only its own queue has the creation of a
collection where the catalog says that its log begins.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.changes import CreateCollection, Tick
from cdc_actors.errors import PositionLostError, SourceChangedError
from cdc_actors.source.streamed import decode_record
from cdc_actors.source.wal import open_reader, queue_of
from cdc_actors.source.wal_choice import is_streamed

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import SourceConfig
    from cdc_actors.source.catalog.client import Catalog, CollectionMeta
    from cdc_actors.source.wal import WalReader

READ_SECONDS = 2.0
"""For how long a queue is read for what must be there."""

_COUNTING = ("natsmq", "kafka")
"""Queues that count their records, so that a position of one log is one of another, too.

Ids of RocksMQ and Pulsar are of one log only: another one does not hold them.
"""

_settled: list[SourceConfig] = []
"""Configurations of the process whose queue was looked at."""


def refuse_another_queue(
    source: SourceConfig,
    catalog: Catalog,
    opened: Callable[[SourceConfig], WalReader] = open_reader,
) -> bool:
    """Refuse a queue that has not the log of the collections in the source's catalog.

    Returns whether it was looked at, which is done once: False while there is no
    collection. A queue that has lost the beginning of the newest, or is slow, is believed;
    streaming nodes are the catalog's own. Any thread.

    Raises:
        SourceChangedError: The queue is another Milvus's.
        CdcError: One of the two does not answer, or refuses.
    """
    if is_streamed(catalog) or queue_of(source) not in _COUNTING or source in _settled:
        return True
    every = catalog.snapshot().collections.values()
    found = [meta for meta in every if meta.available and meta.start_positions]
    if not found:
        return False
    newest = max(found, key=lambda meta: meta.created)
    with opened(source) as reader:
        is_another = _lacks_creation(reader, newest)
    if is_another:
        raise SourceChangedError(
            f"sourceConfig.{queue_of(source)} is not the message queue of the Milvus of "
            f"sourceConfig.etcd: it has no creation of {newest.database}.{newest.name} "
            "where that has its beginning. Nothing was read or written: name its own queue"
        )
    _settled.append(source)
    return True


def _lacks_creation(reader: WalReader, meta: CollectionMeta) -> bool:
    """Tell whether the log has no creation of a collection where it is to be.

    No tick comes before what is older.
    """
    channel, start = next(iter(meta.start_positions.items()))
    position = reader.position(channel, start)
    if not reader.holds(position):
        return False
    end = time.monotonic() + READ_SECONDS
    try:
        reader.subscribe(channel, position)
        while time.monotonic() < end:
            for record in reader.poll(READ_SECONDS):
                match decode_record(record):
                    case CreateCollection(collection=meta.id):
                        return False
                    case Tick(timestamp) if timestamp >= meta.created:
                        return True
    except PositionLostError:
        return False
    return False
