"""The one reader of a log's end, and its thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, cast

from cdc_actors.errors import CdcError, TransientError
from cdc_actors.source.wal.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdc_actors.changes import Position, Record
    from cdc_actors.memory_budget import Quota
    from cdc_actors.source.wal.base import WalReader
    from cdc_actors.source.wal.tail import Point

POLL_SECONDS = 0.05
"""How long records are waited for before it is looked again which channels are wanted."""


class Listener(Protocol):
    """One who reads tails, and waits for what comes there."""

    def hear(self) -> None:
        """Know that something has come in a tail, or that nothing will."""


class Head:
    """Fills the tails of channels that somebody reads, by one reader in one thread.

    Whatever is not private needs ``lock``, and is short. ``error`` is what ended it.

    Args:
        opened: Opens a reader of the log.
        quota: What reader and tails may hold of the memory; closed at the end.
        lock: Held also by those who read the tails.
    """

    def __init__(
        self,
        opened: Callable[[Quota], WalReader],
        quota: Quota,
        lock: threading.Lock,
    ) -> None:
        self.error: CdcError | None = None
        self._opened = opened
        self._quota = quota
        self._changed = threading.Condition(lock)
        self._tails: dict[str, Tail] = {}
        self._reader: WalReader | None = None
        self._read: dict[str, Tail] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-head", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it fills no tail any more."""
        return self._closed or self.error is not None

    def tail(self, channel: str) -> Tail | None:
        """Return what is read of a channel, None if nobody does."""
        return self._tails.get(channel)

    def follow(
        self, channel: str, start: Point, reached: Callable[[Position, Position], bool]
    ) -> Tail:
        """Read a channel from a point on."""
        tail = self._tails[channel] = Tail(start, self._quota, reached)
        self._changed.notify()
        return tail

    def leave(self, who: Listener, channel: str, tail: Tail) -> None:
        """Have somebody read a tail no more; one that nobody reads is given up."""
        tail.leave(who)
        if not tail.readers:
            tail.clear()
            if self._tails.get(channel) is tail:
                del self._tails[channel]
        self._changed.notify()

    def wake(self) -> None:
        """Look again which channels are wanted."""
        self._changed.notify()

    def close(self) -> None:
        """Read no more. Idempotent."""
        self._closed = True
        self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the end of its thread, without the lock."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while self._is_wanted():
                self._fill()
        except CdcError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - must not look like an idle log
            self._end(TransientError(f"the log: {error!r}"))
        finally:
            self._forget_reader()
            self._quota.close()

    def _is_wanted(self) -> bool:
        """Wait until somebody reads, or never will."""
        with self._changed:
            if not self._tails and not self._closed:
                self._changed.wait(POLL_SECONDS)
            return not self._closed

    def _fill(self) -> None:
        with self._changed:
            tails = dict(self._tails)
            ends = {c: tails[c].end for c in tails.keys() - self._read.keys()}
            wanted = [channel for channel, tail in tails.items() if tail.may_grow()]
        if any(tails.get(channel) is not tail for channel, tail in self._read.items()):
            # No reader leaves a channel.
            self._forget_reader()
            return
        if not tails:
            return
        if self._reader is None:
            self._reader = self._opened(self._quota)
        for channel, end in ends.items():
            self._reader.subscribe(channel, end.position, inclusive=end.inclusive)
            self._read[channel] = tails[channel]
        if wanted:
            self._append(self._reader.poll(POLL_SECONDS, wanted))
        else:
            with self._changed:
                self._changed.wait(POLL_SECONDS)

    def _append(self, records: Iterable[Record]) -> None:
        came: dict[str, list[Record]] = {}
        for record in records:
            came.setdefault(record.channel, []).append(record)
        with self._changed:
            for channel, each in came.items():
                tail = self._read[channel]
                if self._tails.get(channel) is tail:
                    tail.append(each)
                    _tell(tail.awake)

    def _end(self, error: CdcError) -> None:
        with self._changed:
            self.error = error
            for tail in self._tails.values():
                tail.error = error
                _tell(tail.readers)

    def _forget_reader(self) -> None:
        reader, self._reader = self._reader, None
        self._read = {}
        if reader is not None:
            reader.close()


def _tell(readers: Iterable[object]) -> None:
    for each in readers:
        cast("Listener", each).hear()
