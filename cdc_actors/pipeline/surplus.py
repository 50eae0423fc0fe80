"""Rows that the target has and a snapshot lacks: deleted after a resync in place.

By then every row of the snapshot was sent by its key, deleted and inserted. Nothing else
writes the collection meanwhile: what the source does to it waits in the log, to be read on
from the snapshot's moment T when all is done. So each key is either one of the snapshot,
and is there once as it was at T; or it is not, and every copy of it is deleted here. What
the log brought after T before the resync goes with that, and comes again with the log,
which is applied by key, too. Readers never see the collection empty: they see rows as of
T, and what was written since once the log has caught up.

A key is one of its partition, unless Milvus divides the rows itself.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from cdc_actors.changes import Batch
from cdc_actors.compare.keys import LARGEST, above, any_key
from cdc_actors.errors import CollectionError
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.target import collections, loads
from cdc_actors.target.keys import KeyReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from cdc_actors.changes import FullName, Key
    from cdc_actors.pipeline.source_files import Stored
    from cdc_actors.source.storage.ahead import Memory
    from cdc_actors.source.storage.listing import Segment
    from cdc_actors.target.connection import Connection
    from cdc_actors.target.rows import RowWriter
    from cdc_actors.tasks import CollectionEntry

KEYS_AT_ONCE = 4_000_000
"""How many keys of a snapshot are held at a time, eight bytes each; for more of them the
target's keys are read several times."""


def refuse_unread(target: Connection, name: FullName) -> None:
    """Raise CollectionError if what is too much at the target could not be found."""
    if not loads.is_loaded(target, *name):
        shown = ".".join(name)
        raise CollectionError(
            f"{shown} is not loaded at the target, so which of its rows are too much "
            "cannot be asked: load it there, then `retry`; or `resync` it with drop_target"
        )


class Surplus:
    """The rows of one collection that are too much. The snapshots' thread.

    Files that are read ahead are counted in ``memory``. ``check``, called now and then,
    raises an error if the work is to end.
    """

    def __init__(
        self,
        target: Connection,
        name: FullName,
        entry: CollectionEntry,
        writer: RowWriter,
        memory: Memory,
        check: Callable[[], None],
    ) -> None:
        self._target = target
        self._name = name
        self._entry = entry
        self._writer = writer
        self._memory = memory
        self._check = check
        self._keys = KeyReader(target, name, entry.schema)

    def delete(self, stored: Stored) -> None:
        """Delete every row whose key is not among those of the files.

        Raises:
            CdcError: The target does not answer, or refuses.
            StorageError: A file is gone, or cannot be read.
        """
        if self._keys.is_divided:
            self._delete_from("", stored, stored.listing.segments)
            return
        named = {i: each.name for i, each in stored.meta.partitions.items()}
        for partition in sorted(collections.partitions(self._target, *self._name)):
            segments = [
                segment
                for segment in stored.listing.segments
                if named.get(segment.partition) == partition
            ]
            self._delete_from(partition, stored, segments)

    def _delete_from(
        self, partition: str, stored: Stored, segments: Sequence[Segment]
    ) -> None:
        parts = 1 + sum(each.rows for each in segments) // KEYS_AT_ONCE
        for part in range(parts):
            known = self._known(stored, segments, part, parts)
            for page in self._pages(partition):
                numbers = _numbers(page)
                extra = (numbers % parts == part) & ~_among(numbers, known)
                keys = tuple(page[row] for row in np.flatnonzero(extra))
                if keys:
                    self._writer.write(Batch({partition: keys}, ()))
        self._writer.drain()

    def _known(
        self, stored: Stored, segments: Sequence[Segment], part: int, parts: int
    ) -> NDArray[np.int64]:
        """Return the numbers of the snapshot's keys, of one part, in order."""
        found = [np.empty(0, np.int64)]
        ahead = stored.reader.ahead(segments, self._memory, self._check, whole=False)
        with ahead as reader:
            for segment in segments:
                [channel] = channels_of([segment.shard])
                until = self._entry.stood[channel].tick
                for keys in reader.keys(segment, until):
                    self._check()
                    numbers = _numbers(keys)
                    found.append(numbers[numbers % parts == part])
        return np.unique(np.concatenate(found))

    def _pages(self, partition: str) -> Iterator[list[Key]]:
        """Yield the target's keys; the largest INT64, which Milvus 2.3 never shows, too."""
        field, text = self._keys.field, self._keys.is_text
        condition = any_key(field, text=text)
        while page := self._keys.page(partition, condition):
            self._check()
            yield page
            condition = above(field, page[-1])
        if not text:
            yield [LARGEST]


def _numbers(keys: Sequence[Key]) -> NDArray[np.int64]:
    """Return a number for each key: the key itself, or eight bytes of a text's hash.

    Of two texts with one number, a case in some 10**19, the wrong one would stay.
    """
    if isinstance(keys[0], int):
        return np.array(keys, np.int64)
    hashes = (blake2b(str(each).encode(), digest_size=8).digest() for each in keys)
    return np.frombuffer(b"".join(hashes), np.int64)


def _among(numbers: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each number whether it is among others, which are in order."""
    if not len(known):
        return np.zeros(len(numbers), np.bool_)
    at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return np.asarray(known[at] == numbers)
