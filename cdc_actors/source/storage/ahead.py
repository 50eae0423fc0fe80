"""Files that are fetched before they are asked for: an object store lets each wait.

A segment has a file a field, each of which takes two requests, and there may be thousands
of small segments. Only the fetching overlaps: rows are made of files one after the other,
in the order in which they are asked for, and what goes wrong with one is said when it is.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from cdc_actors.shared_threads import Threads
from cdc_actors.source.storage.envelope import READ_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from cdc_actors.memory_budget import MemoryHold
    from cdc_actors.source.storage.files import Files
    from cdc_actors.source.storage.listing import StoredFile

AT_ONCE = 16
"""How many files are under way at most, or have come and were not asked for yet."""

MEMORY_SHARE = 0.125
"""How much of the service's memory they may take."""

_KNOWN = 4 * AT_ONCE
"""How many files are looked at beforehand; those that are too large are let be."""

FORM_BYTES = 64 << 10
"""More than a file has beside its values."""

_LOOK_SECONDS = 0.25

_THREADS = Threads("files-ahead")


class Memory(Protocol):
    """The memory that files are counted in; see ``RunBudget``."""

    @property
    def limit(self) -> int:
        """Return how many bytes the whole service may hold."""
        ...

    def hold(self, size: int) -> MemoryHold:
        """Count bytes as held."""
        ...

    def has_room(self, timeout: float) -> bool:
        """Wait for room, so long at most; tell if there is."""
        ...


@dataclass(slots=True, eq=False)
class _Known:
    """A file that is to be asked for, or is not: then none of its group is any more.

    ``size`` is in bytes. ``outcome`` will have its content, or None if it has more.
    """

    group: int
    path: str
    size: int
    is_likely: bool
    outcome: Future[pa.Buffer | None] | None = None
    memory: MemoryHold | None = None

    def leave(self) -> None:
        if self.outcome is not None:
            self.outcome.cancel()
        if self.memory is not None:
            self.memory.release()


class FilesAhead:
    """Stands for ``Files``, and fetches what is to come. One thread uses it, and closes it.

    ``wanted`` are the files in the order in which they are asked for, each with whether
    that is likely; those of one group may come in any order, or not at all. Small ones are
    fetched beforehand while ``memory`` has room; each is counted there until it is asked
    for. ``check``, called now and then, raises an error if nothing need be waited for any
    more.
    """

    def __init__(
        self,
        files: Files,
        wanted: Iterable[Iterable[tuple[StoredFile, bool]]],
        memory: Memory,
        check: Callable[[], None],
    ) -> None:
        self._files = files
        self._wanted = _in_order(wanted)
        self._memory = memory
        self._check = check
        self._known: deque[_Known] = deque()
        self._asked: _Known | None = None
        self._fetch()

    def close(self) -> None:
        """Fetch no more, and hold nothing. Idempotent."""
        self._wanted = iter(())
        while self._known:
            self._known.popleft().leave()

    def read(self, path: str) -> pa.Buffer:
        """Return all of a file; raises as ``Files`` does."""
        found = self._fetched(path)
        return self._files.read(path) if found is None else found

    def open(self, path: str) -> pa.NativeFile:
        """Return a file to be read in parts; raises as ``Files`` does."""
        found = self._fetched(path)
        return self._files.open(path) if found is None else pa.BufferReader(found)

    def translated(self, path: str) -> AbstractContextManager[None]:
        """Raise for what goes wrong while a file is read as ``Files`` does."""
        return self._files.translated(path)

    def _fetched(self, path: str) -> pa.Buffer | None:
        """Return a file that was fetched, once it has come; None if it was not."""
        known = self._asked = self._take(path)
        self._fetch()
        if known is None or known.outcome is None:
            return None
        try:
            while not known.outcome.done():
                self._check()
                wait([known.outcome], _LOOK_SECONDS)
            return known.outcome.result()
        finally:
            known.leave()

    def _take(self, path: str) -> _Known | None:
        """Return what is known of a file, and forget the groups before its own."""
        while (known := self._find(path)) is None:
            if not self._look():
                return None
        while self._known[0].group < known.group:
            self._known.popleft().leave()
        self._known.remove(known)
        return known

    def _find(self, path: str) -> _Known | None:
        return next((each for each in self._known if each.path == path), None)

    def _look(self) -> bool:
        """Know of one file more; tell if there is one."""
        known = next(self._wanted, None)
        if known is None:
            return False
        self._known.append(known)
        return True

    def _fetch(self) -> None:
        """Begin to fetch what is next, as much as may be under way."""
        while (
            len(self._known) < _KNOWN
            and sum(each.outcome is not None for each in self._known) < AT_ONCE
            and self._has_room()
            and self._look()
        ):
            if (last := self._known[-1]).is_likely and last.size <= READ_BYTES:
                self._begin(last)

    def _has_room(self) -> bool:
        asked = [self._asked] if self._asked else []
        held = sum(e.memory.size for e in (*self._known, *asked) if e.memory)
        most = self._memory.limit * MEMORY_SHARE
        return held + READ_BYTES <= most and self._memory.has_room(timeout=0)

    def _begin(self, known: _Known) -> None:
        known.memory = self._memory.hold(known.size)
        known.outcome = Future()
        read = partial(self._files.read_small, known.path, known.size)
        _THREADS.submit(partial(_settle, known.outcome, read))


def _in_order(wanted: Iterable[Iterable[tuple[StoredFile, bool]]]) -> Iterator[_Known]:
    for number, group in enumerate(wanted):
        for file, is_likely in group:
            yield _Known(number, file.path, _most(file.size), is_likely)


def _most(told: int) -> int:
    """Return how many bytes a file may have of which the catalog tells so many.

    That may be what its values take in memory: a small file has more.
    """
    if not told:
        return READ_BYTES
    return told if told > READ_BYTES else min(2 * told + FORM_BYTES, READ_BYTES)


def _settle(
    outcome: Future[pa.Buffer | None], read: Callable[[], pa.Buffer | None]
) -> None:
    """Read, unless nobody waits for it any more."""
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(read())
    except Exception as error:  # noqa: BLE001 - who asks for the file must hear
        outcome.set_exception(error)
