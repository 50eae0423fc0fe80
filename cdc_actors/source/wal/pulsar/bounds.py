"""What a topic of Pulsar holds: its oldest message, its newest, whether one is kept.

The client's readers do not tell the numbers; they are found by opening one and reading
the first message that comes, or by asking whether anything comes at or after an id. That a
reader is led to the newest message is so from Pulsar 2.8 on, the oldest that Milvus 2.2
comes with.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pulsar import MessageId, PulsarException

from cdc_actors.errors import PositionLostError
from cdc_actors.source.wal.pulsar.positions import (
    id_of,
    place_of,
    position_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulsar import Reader

    from cdc_actors.changes import Position
    from cdc_actors.source.wal.pulsar.connection import PulsarLink


class PulsarBounds:
    """Answers about the topics behind a link, with its errors. Any thread."""

    def __init__(self, link: PulsarLink) -> None:
        self._link = link

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest message kept, None if there is none."""
        return self._first(channel, MessageId.earliest)

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest message, None if there is none."""
        return self._first(channel, MessageId.latest)

    def written_since(self, channel: str, seconds: float) -> Position | None:
        """Return that of the first message of a time or later, None without one."""
        if not self._is_written_since(channel, seconds):
            return None
        with self._reader(channel, MessageId.earliest) as reader:
            if reader is None:
                return None
            # The broker ends the consumer for it: what may be asked of one is not yet.
            self._link.seek(reader, seconds)
            return position_of(channel, self._link.read(reader).message_id())

    def _is_written_since(self, channel: str, seconds: float) -> bool:
        with self._reader(channel, MessageId.latest) as reader:
            if reader is None or not self._link.has_message(reader):
                return False
            newest = self._link.read(reader)
        return bool(newest.publish_timestamp() >= int(seconds * 1000))

    def bytes_between(self, start: Position, end: Position | None) -> int | None:
        """Return how many bytes the ledgers have there, None if nobody tells."""
        ledgers = self._link.ledgers(start.channel)
        if ledgers is None:
            return None
        first, first_entry, _ = place_of(id_of(start))
        last, last_entry, _ = place_of(id_of(end)) if end else (sys.maxsize, 0, 0)
        found = 0
        for each in ledgers:
            if first <= each.id <= last and each.entries:
                begin = max(0, first_entry) if each.id == first else 0
                stop = max(0, last_entry) if each.id == last else each.entries
                share = max(0, min(stop, each.entries) - begin)
                found += each.size * share // each.entries
        return found

    def lost(self, start: Position) -> PositionLostError | None:
        """Return the error if reading cannot begin at ``start``, None if it can.

        The message there must be kept, also where reading begins after it: only then
        nothing that follows it can have been removed, as Pulsar removes whole ledgers
        from the beginning on. Ledger -1 is the beginning, entry -1 that of a ledger.
        """
        ledger, entry, batch = place_of(id_of(start))
        if ledger < 0:
            return None
        oldest = self.oldest(start.channel)
        if oldest is None and entry < 0:
            return None
        if oldest and place_of(id_of(oldest)) > (ledger, max(0, entry), batch):
            return PositionLostError(
                f"{start.channel}: message {start.text} is no longer in the log, the "
                f"oldest one kept is {oldest.text}: the retention of the source's "
                "Pulsar was faster"
            )
        if entry < 0 or self._reaches(start.channel, id_of(start)):
            return None
        return PositionLostError(
            f"{start.channel}: the log ends before message {start.text}: its topic is "
            "gone, was recreated, or has no message left"
        )

    def _first(self, channel: str, start: MessageId) -> Position | None:
        with self._reader(channel, start) as reader:
            if reader is None or not self._link.has_message(reader):
                return None
            return position_of(channel, self._link.read(reader).message_id())

    def _reaches(self, channel: str, mark: MessageId) -> bool:
        """Tell whether the newest message is the one at ``mark`` or comes after it."""
        with self._reader(channel, mark) as reader:
            return reader is not None and self._link.has_message(reader)

    @contextmanager
    def _reader(self, channel: str, start: MessageId) -> Iterator[Reader | None]:
        exists = self._link.exists(channel)
        reader = self._link.open(channel, start, 1) if exists else None
        try:
            yield reader
        finally:
            if reader is not None:
                with suppress(PulsarException):
                    reader.close()
