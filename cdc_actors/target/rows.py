"""Rows of one collection to the target: several inserts in flight, in a safe order.

Inserts commute (their keys differ, or the source holds both), so several may be under way;
a delete waits for every insert before it, and is answered before the next insert is sent.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.errors import CollectionError, TransientError, UnclearAnswerError
from cdc_actors.key_literals import members
from cdc_actors.target import collections, columns
from cdc_actors.target.connection import RateLimitError
from cdc_actors.target.lite import UnflushedDeletes, keys_in_partition
from cdc_actors.target.rate_limiter import RateLimiter
from cdc_actors.target.splitting import key_chunks, row_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import grpc

    from cdc_actors.changes import Batch, Insert, Key, Rows
    from cdc_actors.target.connection import Connection

IN_FLIGHT = 4

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Flight:
    """An insert under way; without an answer to wait for, a mark between inserts."""

    answer: grpc.Future | None
    done: Callable[[], None]
    request: bytes = field(default=b"", repr=False)


class RowWriter:
    """Writes the rows of one collection. One thread uses it."""

    def __init__(
        self, target: Connection, database: str, name: str, schema: bytes
    ) -> None:
        """``schema`` is the source's serialized CollectionSchema."""
        parsed = schema_pb2.CollectionSchema.FromString(schema)
        self._target = target
        self._database, self._name = database, name
        self._key_field = collections.primary_field(parsed)
        self._divided = collections.has_partition_key(parsed)
        self._computed = collections.computed_fields(parsed)
        self._partitions: set[str] | None = None
        self._unflushed = (
            UnflushedDeletes() if target.is_lite and not self._divided else None
        )
        self._in_flight: deque[_Flight] = deque()
        self._limiter = RateLimiter()
        self._limit = 1 if target.is_lite else IN_FLIGHT

    def keys_of(self, insert: Insert) -> Sequence[Key]:
        """Return the primary keys of an insert's rows."""
        return columns.primary_keys(insert, self._key_field.fieldID)

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._in_flight)

    def write(self, batch: Batch, done: Callable[[], None]) -> None:
        """Send a batch; ``done`` is called once all of it is answered.

        Returns when the last insert has been sent; ``drain`` waits for the answers.

        Raises:
            TransientError: The target is away; which of the rows it has is unknown.
            UnclearAnswerError: The same, but it answers.
            CollectionError: The target refuses.
        """
        if batch.deletes:
            self.drain()
        for partition, keys in batch.deletes.items():
            self._delete(partition, keys)
        for request in self._requests(batch.inserts):
            self._settle(self._limit - 1)
            self._in_flight.append(_Flight(self._send(request), _nothing, request))
        self._in_flight.append(_Flight(None, done))
        self._settle(self._limit)

    def drain(self) -> None:
        """Wait until everything sent is answered."""
        self._settle(0)

    def ensure_partition(self, partition: str) -> bool:
        """Create a partition unless it is there; return whether it was created."""
        if self._divided or self._has_partition(partition):
            return False
        collections.create_partition(
            self._target, self._database, self._name, partition
        )
        self._partitions = None
        return True

    def abandon(self) -> None:
        """Call nothing done any more of what was sent, once all of it is answered.

        What is under way may come to the target late, after what follows. Its partitions
        may be others than they were, too.
        """
        self._partitions = None
        flights = [*self._in_flight]
        self._in_flight.clear()
        for flight in flights:
            if flight.answer is not None:
                with suppress(CollectionError, UnclearAnswerError, RateLimitError):
                    self._target.finish(flight.answer, "Insert")

    def forget_partition(self, partition: str) -> None:
        """Know no longer that a partition exists: it was dropped."""
        if self._partitions:
            self._partitions.discard(partition)

    def _settle(self, at_most: int) -> None:
        """Take answers, oldest first, until no more than ``at_most`` are open.

        One that failed stays, so that nothing behind it is ever called done.
        """
        while self._in_flight and (
            self._in_flight[0].answer is None or self._open_answers() > at_most
        ):
            flight = self._in_flight[0]
            if flight.answer is not None:
                self._finish(flight.answer, flight.request)
            self._in_flight.popleft()
            flight.done()

    def _send(self, request: bytes) -> grpc.Future:
        self._target.wait(self._limiter.delay(len(request), time.monotonic()))
        return self._target.begin_insert(request, self._database)

    def _finish(self, answer: grpc.Future, request: bytes) -> None:
        """Wait for an insert's answer; one that came too soon is sent again, later."""
        while True:
            try:
                self._target.finish(answer, "Insert")
            except RateLimitError as refusal:
                self._slow_down(len(request), refusal)
                answer = self._send(request)
            else:
                self._limiter.on_success()
                return

    def _slow_down(self, size: int, refusal: RateLimitError) -> None:
        self._limiter.on_rejected(size, time.monotonic())
        _log.info("target_rate_limited", rate=self._limiter.rate, detail=str(refusal))

    def _open_answers(self) -> int:
        return sum(flight.answer is not None for flight in self._in_flight)

    def _requests(self, rows: Sequence[Rows]) -> Iterator[bytes]:
        for partition, group in row_groups(rows):
            self.ensure_partition(partition)
            self._keep_deletes(partition, group)
            named = [columns.named_columns(each, self._computed) for each in group]
            count = sum(
                each.insert.rows if each.keep is None else len(each.keep)
                for each in group
            )
            joined = [columns.join([one[name] for one in named]) for name in named[0]]
            where = "" if self._divided else partition
            yield columns.insert_request(
                self._database, self._name, where, count, joined
            )

    def _keep_deletes(self, partition: str, group: Sequence[Rows]) -> None:
        """Have Milvus Lite flush the deletes that an insert would undo."""
        if self._unflushed is None or not self._is_one_of_several(partition):
            return
        if self._unflushed.may_undo(
            partition, (self._kept_keys(rows) for rows in group)
        ):
            self.drain()
            self._unflushed.flush(self._target, self._database, self._name)

    def _kept_keys(self, rows: Rows) -> Sequence[Key]:
        keys = self.keys_of(rows.insert)
        return keys if rows.keep is None else [keys[row] for row in rows.keep]

    def _delete(self, partition: str, keys: Sequence[Key]) -> None:
        if partition and not self._divided and not self._has_partition(partition):
            return
        for chunk in key_chunks(keys):
            if named := self._present(partition, chunk):
                if self._unflushed is not None:
                    self._unflushed.add(partition, named)
                self._call_delete(self._delete_request(partition, named), len(named))

    def _present(self, partition: str, keys: Sequence[Key]) -> Sequence[Key]:
        """Return which keys a delete may name at Milvus Lite; at a Milvus all of them."""
        if not self._target.is_lite or not self._is_one_of_several(partition):
            return keys
        request = self._delete_request(partition, keys)
        return keys_in_partition(self._target, request, self._key_field.name)

    def _delete_request(
        self, partition: str, keys: Sequence[Key]
    ) -> milvus_pb2.DeleteRequest:
        return milvus_pb2.DeleteRequest(
            db_name=self._database,
            collection_name=self._name,
            partition_name="" if self._divided else partition,
            expr=key_expression(self._key_field.name, keys, lite=self._target.is_lite),
        )

    def _is_one_of_several(self, partition: str) -> bool:
        return bool(partition) and not self._divided and len(self._known()) > 1

    def _call_delete(self, request: milvus_pb2.DeleteRequest, keys: int) -> None:
        size = len(request.expr)
        while True:
            self._target.wait(self._limiter.delay(size, time.monotonic()))
            try:
                answer = self._target.call("Delete", request, self._database)
            except RateLimitError as refusal:
                self._slow_down(size, refusal)
            else:
                self._limiter.on_success()
                _check_count(answer, keys)
                return

    def _has_partition(self, partition: str) -> bool:
        return partition in self._known()

    def _known(self) -> set[str]:
        if self._partitions is None:
            self._partitions = collections.partitions(
                self._target, self._database, self._name
            )
        return self._partitions


def _nothing() -> None:
    pass


def _check_count(answer: milvus_pb2.MutationResult, keys: int) -> None:
    """Both kinds of Milvus count the keys that a delete names, there or not."""
    if answer.delete_cnt < keys:
        raise TransientError(
            f"the target took {answer.delete_cnt} of the {keys} keys of a delete"
        )


def key_expression(field: str, keys: Sequence[Key], *, lite: bool = False) -> str:
    """Return a filter that names exactly these keys, for any number and any text."""
    return f"{field} in {members(keys, lite=lite)}"
