"""How many bytes RocksMQ has of a channel: Milvus writes that down for retention.

Beside its records it keeps another RocksDB, with a key ``page_message_size/<channel>/<id>``
for each page (64 MB) that is full: the id of its last record, and its bytes as text (Milvus
2.3.5: ``internal/mq/mqimpl/rocksmq/server/rocksmq_impl.go``, ``updatePageInfo``).
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from cdc_actors.errors import OperatorError
from cdc_actors.source.wal.rocksmq.database import RocksView


def bytes_in_pages(path: Path, channel: str, first: int, end: int | None) -> int | None:
    """Return the bytes of the full pages that end between two ids, the second excluded.

    ``path`` is that of the records, ``end`` None the newest. None where this machine does
    not see the other RocksDB.

    Raises:
        TransientError: No Milvus has it open, or RocksDB fails.
    """
    try:
        view = RocksView(Path(f"{path}_meta_kv"))
    except OperatorError:
        return None
    prefix = f"page_message_size/{channel}/".encode()
    stop, found = sys.maxsize if end is None else end, 0
    with closing(view), view.failures():
        for key, size in view.items(prefix):
            if not key.startswith(prefix):
                break
            if first <= int(key.removeprefix(prefix)) < stop:
                found += int(size)
    return found
