"""The chain of hashes that ties each event to those before it.

Beside each event stand two hashes, stored in its transaction. The first is over the event
and the first hash of the event before it in its task; the second over that and the second
hash of the event before it in the log. So no event can be changed, removed, put in or
moved without a hash that no longer fits. Who can compute hashes can also write a whole
new chain, or cut off the end of this one: that shows against a head noted elsewhere.

Positions in the database are no part of a hash: an exported log keeps its hashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from cdc_actors.errors import OperatorError
from cdc_actors.store.database import reported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.store.database import Database

PAGE = 1000
NOTHING = bytes(32)
"""Stands for the hash before the first one."""

TABLE = (
    "CREATE TABLE IF NOT EXISTS {hashes} ("
    "number {counter} PRIMARY KEY, stream_hash {binary} NOT NULL, "
    "log_hash {binary} NOT NULL, sealed_at TEXT)"
)
# Where events were cut off their numbers come again: what stands there is evidence.
INSERT = (
    "INSERT INTO {hashes} VALUES ({p}, {p}, {p}, {p}) ON CONFLICT (number) DO NOTHING"
)
_LAST = "SELECT log_hash FROM {hashes} ORDER BY number DESC LIMIT 1"
_BEFORE = (
    "SELECT hashes.stream_hash FROM {events} AS events "
    "JOIN {hashes} AS hashes ON hashes.number = events.{order} "
    "WHERE events.originator_id = {p} AND events.originator_version = {p}"
)
ANY_HASH = "SELECT 1 FROM {hashes} LIMIT 1"
EVENTS = (
    "SELECT {order} AS number, originator_id, originator_version, topic, state "
    "FROM {events} WHERE {order} > {p} AND {order} <= {p} ORDER BY {order} LIMIT {p}"
)
FIRST = -1 << 63
LAST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Link:
    """The hashes beside an event.

    ``sealed_at`` is None, or when they were made for an event that an earlier version
    had stored without: nothing is known of the time before.
    """

    stream: bytes
    log: bytes
    sealed_at: str | None = None


class Chain:
    """The end of the chain so far. Used by one thread."""

    def __init__(self, log: bytes = NOTHING) -> None:
        self.log = log
        self.streams: dict[UUID | str, bytes] = {}

    def next(self, event: StoredEvent, sealed_at: str | None = None) -> Link:
        """Return the link that an event must have which comes next."""
        assert isinstance(event.originator_id, UUID)  # noqa: S101 - tells mypy
        fields = (
            event.originator_id.bytes,
            event.originator_version.to_bytes(8, "big", signed=True),
            event.topic.encode("utf-8", "surrogateescape"),
            event.state,
        )
        stream = sha256(self.streams.get(event.originator_id, NOTHING))
        for field in fields:
            # With its length, so that nothing can move from one field to the next.
            stream.update(len(field).to_bytes(8, "big"))
            stream.update(field)
        log = sha256(self.log + stream.digest() + (sealed_at or "").encode())
        return Link(stream.digest(), log.digest(), sealed_at)

    def add(self, event: StoredEvent, link: Link) -> None:
        """Go on behind an event."""
        self.streams[event.originator_id] = link.stream
        self.log = link.log


def append(
    cursor: Any,
    names: dict[str, str],
    numbers: Sequence[int],
    events: Sequence[StoredEvent],
) -> None:
    """Store the links of events, in their transaction, which keeps other writers out."""
    chain = Chain(_hash(cursor, _LAST.format(**names)))
    for number, event in zip(numbers, events, strict=True):
        task_id = event.originator_id
        if task_id not in chain.streams:
            before = (str(task_id).replace("-", ""), event.originator_version - 1)
            found = _hash(cursor, _BEFORE.format(**names), before)
            chain.streams[task_id] = found
        link = chain.next(event)
        row = (number, link.stream, link.log, None)
        cursor.execute(INSERT.format(**names), row)
        chain.add(event, link)


def backfill_hashes(database: Database) -> None:
    """Chain the events of a log that an earlier version wrote, which made no hashes."""
    if database.read(ANY_HASH):
        return
    with reported(), database.datastore.transaction(commit=True) as cursor:
        _backfill(cursor, database.names)


def _backfill(cursor: Any, names: dict[str, str]) -> None:
    # Another process may have been first; from here on it cannot be.
    cursor.execute(names["lock"].format(**names))
    cursor.execute(ANY_HASH.format(**names))
    if cursor.fetchall():
        return
    chain, after = Chain(), FIRST
    now = datetime.now(UTC).isoformat(timespec="seconds")
    while True:
        cursor.execute(EVENTS.format(**names), (after, LAST, PAGE))
        rows = cursor.fetchall()
        if not rows:
            return
        links = []
        for row in rows:
            event = stored_event(row)
            link = chain.next(event, now)
            chain.add(event, link)
            links.append((row["number"], link.stream, link.log, now))
        cursor.executemany(INSERT.format(**names), links)
        after = rows[-1]["number"]


def stored_event(row: Any) -> StoredEvent:
    """Return the event in a row of the events' table.

    Raises:
        OperatorError: It is none; SQLite takes anything that is written by hand.
    """
    version, topic, state = row["originator_version"], row["topic"], row["state"]
    try:
        task_id = UUID(str(row["originator_id"]))
        if isinstance(version, int) and isinstance(topic, str):
            return StoredEvent(task_id, version, topic, bytes(memoryview(state)))
    except (TypeError, ValueError):
        pass
    raise OperatorError(
        f"event {row['number']} of the log cannot be read: it was changed by hand"
    )


def _hash(cursor: Any, statement: str, values: Sequence[Any] = ()) -> bytes:
    cursor.execute(statement, values)
    found = cursor.fetchall()
    # PostgreSQL's rows are dictionaries, SQLite's are not.
    return bytes(next(iter(dict(found[0]).values()))) if found else NOTHING
