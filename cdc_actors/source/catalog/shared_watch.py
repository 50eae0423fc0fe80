"""One stream of etcd for all tasks that watch the same catalog."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 10_000
"""How many of the newest events are kept for those who watch from a little earlier on."""


class Event(NamedTuple):
    """A key that was put or removed, and at which revision."""

    revision: int
    key: bytes


class Stream(Protocol):
    """Tells of events, each once. One thread at a time uses it."""

    @property
    def is_broken(self) -> bool:
        """Whether it tells of no more."""

    def take(self) -> list[Event]:
        """Return the events since the last call, at once; raise CdcError if broken."""

    def listen(self, heard: Callable[[], None]) -> None:
        """Have something called, by any thread, when there is something to take."""

    def close(self) -> None:
        """End it. Idempotent."""


class SharedWatches:
    """The streams of a process, each as long as somebody watches. Any thread may use it."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._streams: list[_Shared] = []

    def open(
        self, what: object, revision: int, begin: Callable[[], Stream]
    ) -> SharedWatch:
        """Watch from a revision on.

        ``begin`` opens a stream from there, unless there is one of what equals ``what``
        that tells of all since, or knows of it.
        """
        with self._lock:
            fitting = (each for each in self._streams if each.fits(what, revision))
            shared = next(fitting, None)
            if shared is None:
                shared = _Shared(what, begin(), revision)
                self._streams.append(shared)
                shared.stream.listen(partial(self._tell, shared))
            watch = SharedWatch(self, shared, revision)
            watch.keys += [e.key for e in shared.recent if e.revision >= revision]
            shared.watches.add(watch)
            return watch

    def take(self, watch: SharedWatch) -> list[bytes]:
        """Return what a watch has not been told yet; raises what the stream does."""
        with self._lock:
            watch.shared.distribute(self._kept)
            keys, watch.keys = watch.keys, []
        return keys

    def _tell(self, shared: _Shared) -> None:
        with self._lock:
            listeners = [each.heard for each in shared.watches]
        for heard in listeners:
            heard()

    def leave(self, watch: SharedWatch) -> None:
        """Tell a watch nothing more; the last one's stream ends. Idempotent."""
        with self._lock:
            watch.shared.watches.discard(watch)
            is_last = not watch.shared.watches
            if is_last and watch.shared in self._streams:
                self._streams.remove(watch.shared)
        if is_last:
            watch.shared.stream.close()


class SharedWatch:
    """What is heard of a stream by one who watches, as if the stream were its own.

    One thread uses it.
    """

    def __init__(self, watches: SharedWatches, shared: _Shared, revision: int) -> None:
        self._watches = watches
        self.shared = shared
        self.revision = revision
        self.keys: list[bytes] = []
        self.heard: Callable[[], None] = _nothing

    def take(self) -> list[bytes]:
        """Return the keys put or removed since the last call, at once.

        Raises:
            CdcError: The stream ended; what was written since is lost to this watch.
        """
        return self._watches.take(self)

    def listen(self, heard: Callable[[], None]) -> None:
        """Have something called, by any thread, when there is something to take."""
        self.heard = heard

    def close(self) -> None:
        """Watch no more. Idempotent."""
        self._watches.leave(self)


@dataclass(slots=True, eq=False)
class _Shared:
    """A stream that tells of ``what`` from revision ``since`` on, and who hears of it.

    ``recent`` are the events that it has told of, but for those before ``since``.
    """

    what: object
    stream: Stream
    since: int
    recent: deque[Event] = field(default_factory=deque)
    watches: set[SharedWatch] = field(default_factory=set)

    def fits(self, what: object, revision: int) -> bool:
        is_same = self.what == what and not self.stream.is_broken
        return is_same and revision >= self.since

    def distribute(self, kept: int) -> None:
        """Tell all of what is new."""
        for event in self.stream.take():
            self.recent.append(event)
            for watch in self.watches:
                if event.revision >= watch.revision:
                    watch.keys.append(event.key)
        while len(self.recent) > kept:
            self.since = max(self.since, self.recent.popleft().revision + 1)


def _nothing() -> None:
    """Nobody listens."""
