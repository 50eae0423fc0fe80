"""A Milvus 2.3.5 with natsmq whose files change all the time, and whose log is short.

Buffers and segments are small, compaction and the removal of files come every few seconds.
What is told of it goes by its log, which is read to its end before it is cut off.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import nats
from pymilvus import MilvusClient
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Delete, DropPartition, Insert, channel_of
from cdc_actors.config import Etcd
from cdc_actors.errors import TransientError
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.decode import decode
from cdc_actors.source.storage.listing import listing, prefixes
from cdc_actors.source.wal.natsmq.positions import sequence_of
from cdc_actors.source.wal.natsmq.reader import NatsReader
from tests.support.books import TIMEOUT, Books
from tests.support.cdc import crowd, wait_until
from tests.support.referee import live

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cdc_actors.changes import Key
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from cdc_actors.source.catalog.client import CollectionMeta

_Answer = TypeVar("_Answer")

SETTINGS: Mapping[str, Any] = {
    "dataCoord": {
        "segment": {"maxSize": 2, "sealProportion": 0.23},
        "compaction": {
            "indexBasedCompaction": False,
            "global": {"interval": 1},
            "check": {"interval": 1},
        },
        "gc": {"interval": 5, "missingTolerance": 60, "dropTolerance": 60},
    },
    "dataNode": {
        "segment": {"insertBufSize": 65536, "deleteBufBytes": 65536, "syncPeriod": 8}
    },
}

KEPT_SECONDS = 25.0
"""How much of the log stays: deletes of this source are in files some ten seconds later,
on a machine that nobody else uses."""

BATCH = 500
MOST_ROWS = 12_000
FLUSHES = 0.15
"""In how many of the steps: only then, and once a minute, Milvus notes what is in files."""


class Churn:
    """Rows of one collection that come and go, hundreds at a time. A thread's own."""

    def __init__(self, client: MilvusClient, seed: int) -> None:
        self._rng = random.Random(seed)
        self._books = Books(client, "churn")
        self._live: list[int] = []
        self._next = 0

    def setup(self) -> None:
        """Create the collection."""
        self._books.create(shards=2)

    def step(self) -> None:
        """Insert some rows; delete and upsert some of those that are there."""
        keys = range(self._next, self._next + BATCH)
        self._next += BATCH
        self._books.insert(keys)
        self._live += keys
        self._rng.shuffle(self._live)
        much = len(self._live) > MOST_ROWS
        gone = [self._live.pop() for _ in range(2 * BATCH if much else BATCH // 3)]
        self._books.delete(gone)
        self._books.upsert(self._live[: BATCH // 5])
        if self._rng.random() < FLUSHES:
            self._books.client.flush("churn", timeout=TIMEOUT)


class Writer:
    """Takes steps in a thread of its own until it is paused; goes on when it is asked."""

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step
        self._error: BaseException | None = None
        self._pause = threading.Event()
        self._thread: threading.Thread | None = None

    def go_on(self) -> None:
        """Write."""
        self._pause.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Return when the last step is done.

        Raises:
            BaseException: What a step has failed with.
        """
        self._pause.set()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._pause.is_set():
                self._step()
        except BaseException as error:  # noqa: BLE001 - it belongs to who pauses
            self._error = error


class ShortLog:
    """The log of a source: read all the time, and cut off behind what was read."""

    def __init__(self, source: EmbeddedMilvus) -> None:
        self._address = source.nats_address
        self._catalog = EtcdCatalog(Etcd(address=(source.etcd_address,)))
        self._reader = NatsReader(self._address)
        self._changes: dict[int, list[Insert | Delete | DropPartition]]
        self._changes = defaultdict(list)
        self._read: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._catalog.close()

    def collections(self) -> dict[str, CollectionMeta]:
        """Return the collections that the source has, by name."""
        found = self._catalog.snapshot().collections.values()
        return {each.name: each for each in found if not each.dropping}

    def read(self) -> None:
        """Read every channel of a collection to its end."""
        channels = {c for each in self.collections().values() for c in each.channels}
        for channel in channels - set(self._read):
            self._reader.subscribe(channel, None)
            self._read[channel] = None
        newest = self._reader.newest
        ends = {c: end for c in channels if (end := answer(partial(newest, c)))}
        wait_until(lambda: self._step(ends), "the log is read")

    def _step(self, ends: dict[str, Any]) -> bool:
        for record in self._reader.poll(0.1):
            self._read[record.position.channel] = record.position
            change = decode(record.payload)
            if isinstance(change, Insert | Delete | DropPartition):
                self._changes[change.collection].append(change)
        at = self._read
        return all(at[c] and self._reader.reached(at[c], ends[c]) for c in ends)

    def told(self, meta: CollectionMeta) -> Counter[Key]:
        """Return how often each key of a collection is there, by all of the log."""
        fields = schema_pb2.CollectionSchema.FromString(meta.schema).fields
        key = next(each.fieldID for each in fields if each.is_primary_key)
        return live(self._changes[meta.id], key)

    def cut(self) -> None:
        """Read it, and remove what is old, and is in files, of every channel."""
        self.read()
        ends: dict[str, int] = {}
        for meta in self.collections().values():
            found = listing(meta, self._catalog.read_below(prefixes(meta)))
            for shard in meta.shards:
                channel = channel_of(shard)
                at = found.checkpoints.get(shard)
                until = int.from_bytes(at.message_id, "little") if at else 0
                ends[channel] = min(ends.get(channel, until), until)
        old = time.time() - KEPT_SECONDS * crowd()
        for channel, end in ends.items():
            since = answer(partial(self._reader.written_since, channel, old))
            ends[channel] = min(end, sequence_of(since)) if since else end
        # To purge what comes before the first record means to purge all.
        asyncio.run(self._purge({c: end for c, end in ends.items() if end > 1}))

    async def _purge(self, ends: Mapping[str, int]) -> None:
        async with await nats.connect(self._address) as connection:
            for channel, end in ends.items():
                await connection.jetstream().purge_stream(channel, seq=end)


def answer(ask: Callable[[], _Answer]) -> _Answer:
    """Return what a source says, once it is not too busy to say it."""
    found: list[_Answer] = []

    def has_come() -> bool:
        with suppress(TransientError):
            found.append(ask())
        return bool(found)

    wait_until(has_come, "the source answers")
    return found[0]


def busy_client(uri: str) -> MilvusClient:
    """Return a client of one's own for a thread that writes."""
    return MilvusClient(uri, timeout=TIMEOUT, dedicated=True)


def folder_of(source: EmbeddedMilvus) -> Path:
    """Return where a source keeps its files."""
    return source.folder / "data"
