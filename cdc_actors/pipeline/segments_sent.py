"""Rows of segments on their way: those of small segments go together.

A request for each of them, an answer to wait for and a line in the store would take longer
than their rows do.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdc_actors.changes import Insert
    from cdc_actors.target.rows import RowWriter

BATCH_BYTES = 3 << 20
"""From how much on it is sent: an insert of a large segment goes by itself."""

RECORD_SECONDS = 1.0
"""How often it is written down which segments are done, at most; so much a kill costs."""


class SegmentsSent:
    """Sends the inserts of one collection's segments. The snapshots' thread.

    ``send`` gives inserts to the ``writer``; ``record`` writes down which segments are
    done. Methods raise as the two do.
    """

    def __init__(
        self,
        writer: RowWriter,
        send: Callable[[Sequence[Insert]], None],
        record: Callable[[Sequence[int]], None],
    ) -> None:
        self._writer = writer
        self._send = send
        self._record = record
        self._inserts: list[Insert] = []
        self._size = 0
        self._ended: list[int] = []
        self._recorded = time.monotonic()

    def add(self, insert: Insert) -> None:
        """Send rows, or keep them until there are more."""
        self._inserts.append(insert)
        self._size += insert.size
        if self._size >= BATCH_BYTES:
            self._send_all()

    def end(self, segment_id: int) -> None:
        """Know that all rows of a segment were added."""
        self._ended.append(segment_id)
        if time.monotonic() - self._recorded >= RECORD_SECONDS:
            self.finish()

    def finish(self) -> None:
        """Wait until all that was added is at the target, and write that down."""
        if self._inserts:
            self._send_all()
        self._writer.drain()
        ended, self._ended = self._ended, []
        if ended:
            self._record(ended)
        self._recorded = time.monotonic()

    def _send_all(self) -> None:
        inserts, self._inserts, self._size = self._inserts, [], 0
        self._send(inserts)
