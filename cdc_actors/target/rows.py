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

from cdc_actors.errors import (
    CollectionError,
    OperationRefusedError,
    TransientError,
    UnclearAnswerError,
)
from cdc_actors.key_literals import members
from cdc_actors.target import collections, columns, structs
from cdc_actors.target.answers import RateLimitError, TooLargeError
from cdc_actors.target.lite import UnflushedDeletes, keys_in_partition
from cdc_actors.target.proxies import is_stale, refresh
from cdc_actors.target.rate_limiter import RateLimiter
from cdc_actors.target.skipping import held_schema, skipped_columns
from cdc_actors.target.splitting import halves, kept, key_chunks, row_groups, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    import grpc

    from cdc_actors.changes import Batch, Insert, Key, Rows
    from cdc_actors.errors import CdcError
    from cdc_actors.target.connection import Connection
    from cdc_actors.target.request_size import RequestSize

IN_FLIGHT = 4

_SHOWN = 100
"""Characters of a key that an error names."""

_log = structlog.get_logger()


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Flight:
    """An insert under way; without an answer to wait for, a mark between inserts."""

    answer: grpc.Future | None
    done: Callable[[], None]
    request: bytes = field(default=b"", repr=False)
    rows: Sequence[Rows] = ()


class RowWriter:
    """Writes the rows of one collection. One thread uses it."""

    def __init__(
        self,
        target: Connection,
        database: str,
        name: str,
        schema: bytes,
        skipped: Collection[str] = (),
    ) -> None:
        """``schema`` is the source's serialized CollectionSchema.

        The target has none of the fields that are ``skipped``.
        """
        held = held_schema(schema, skipped)
        parsed = schema_pb2.CollectionSchema.FromString(held)
        self._target = target
        self._database, self._name = database, name
        self._key_field = collections.primary_field(parsed)
        self._divided = collections.has_partition_key(parsed)
        left_out = skipped_columns(schema, skipped)
        self._left_out = left_out | collections.computed_fields(parsed)
        self._defaulted = collections.defaulted_fields(parsed)
        self._fields = collections.field_names(parsed)
        self._structs = structs.columns_of(parsed)
        self._partitions: set[str] | None = None
        self._unflushed = (
            UnflushedDeletes() if target.is_lite and not self._divided else None
        )
        self._in_flight: deque[_Flight] = deque()
        self._limiter = RateLimiter()
        self._limit = 1 if target.is_lite else IN_FLIGHT

    def keys_of(self, inserts: Sequence[Insert]) -> Sequence[Sequence[Key]]:
        """Return the primary keys of each insert's rows."""
        return columns.keys_of_each(inserts, self._key_field.fieldID)

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._in_flight)

    def write(self, batch: Batch, done: Callable[[], None] = _nothing) -> None:
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
        for rows in row_groups(batch.inserts, self._target.insert_size):
            self._prepare(rows)
            self._settle(self._limit - 1)
            self._in_flight.append(self._begin(rows))
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
                self._finish(flight)
            self._in_flight.popleft()
            flight.done()

    def _begin(self, rows: Sequence[Rows]) -> _Flight:
        request = self._insert_request(rows)
        return _Flight(self._send(request), _nothing, request, rows)

    def _send(self, request: bytes) -> grpc.Future:
        self._target.wait(self._limiter.delay(len(request), time.monotonic()))
        return self._target.begin_insert(request, self._database)

    def _finish(self, flight: _Flight) -> None:
        """Wait for an insert's answer; what is not taken as it is, is sent otherwise.

        One that came too soon is sent again, later; one that is too large, in parts; one
        for something that the target's proxy does not know, once more.
        """
        answer, size, is_known = flight.answer, len(flight.request), True
        while True:
            try:
                self._target.finish(answer, "Insert")
            except RateLimitError as refusal:
                self._slow_down(size, refusal)
                answer = self._send(flight.request)
            except TooLargeError as refusal:
                self._insert_apart(flight, refusal)
                return
            except (UnclearAnswerError, OperationRefusedError) as refusal:
                if not (is_known and is_stale(refusal)):
                    raise
                refresh(self._target, self._database, self._name)
                answer, is_known = self._send(flight.request), False
            else:
                self._limiter.on_success()
                self._target.insert_size.on_success(size)
                return

    def _insert_apart(self, flight: _Flight, refusal: TooLargeError) -> None:
        """Insert in halves what is too large as a whole, one after the other.

        What of it may be there already is deleted first; of a key that the source has
        inserted twice one row may remain.
        """
        rows, size = flight.rows, len(flight.request)
        parts = halves(rows)
        if not parts:
            [row] = kept(rows[0])
            key = self.keys_of([rows[0].insert])[0][row]
            raise _single(self._target.insert_size, "row", key, size, refusal)
        self._note_too_large(self._target.insert_size, size, refusal)
        if refusal.may_be_done:
            keys = [key for each in rows for key in self._kept_keys(each)]
            self._delete(rows[0].insert.partition, keys)
        for part in parts:
            self._insert_part(part)

    def _insert_part(self, rows: Sequence[Rows]) -> None:
        """Insert rows in as many requests as it takes."""
        is_larger = size_of(rows) > self._target.insert_size.limit
        if is_larger and (parts := halves(rows)):
            for part in parts:
                self._insert_part(part)
        else:
            self._finish(self._begin(rows))

    def _note_too_large(
        self, limit: RequestSize, size: int, refusal: TooLargeError
    ) -> None:
        if not _is_passing(limit, size, refusal):
            limit.on_rejected(size)
        _log.info("request_halved", size=size, limit=limit.limit, detail=str(refusal))

    def _slow_down(self, size: int, refusal: RateLimitError) -> None:
        self._limiter.on_rejected(size, time.monotonic())
        _log.info("target_rate_limited", rate=self._limiter.rate, detail=str(refusal))

    def _open_answers(self) -> int:
        return sum(flight.answer is not None for flight in self._in_flight)

    def _prepare(self, rows: Sequence[Rows]) -> None:
        """See that the partition of an insert exists, and that it undoes no delete."""
        partition = rows[0].insert.partition
        self.ensure_partition(partition)
        self._keep_deletes(partition, rows)

    def _insert_request(self, rows: Sequence[Rows]) -> bytes:
        named = [
            columns.named_columns(each, self._left_out, self._defaulted)
            for each in columns.merged(rows)
        ]
        self._refuse_unknown(named[0])
        count = sum(len(kept(each)) for each in rows)
        joined = {name: columns.join([one[name] for one in named]) for name in named[0]}
        where = "" if self._divided else rows[0].insert.partition
        given = structs.fold(joined, self._structs)
        return columns.insert_request(self._database, self._name, where, count, given)

    def _refuse_unknown(self, names: Iterable[str]) -> None:
        """Not every target refuses a column that it has no field for."""
        if added := set(names) - self._fields:
            raise CollectionError(
                f"rows have {', '.join(sorted(added))}, which the source's schema had not "
                "when the target was given it: `resync` with --drop-target brings all "
                "anew, what the source has dropped since only with sourceConfig.storage"
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
        keys = self.keys_of([rows.insert])[0]
        return keys if rows.keep is None else [keys[row] for row in rows.keep]

    def _delete(self, partition: str, keys: Sequence[Key]) -> None:
        if partition and not self._divided and not self._has_partition(partition):
            return
        for chunk in key_chunks(keys, self._target.delete_size):
            self._delete_chunk(partition, chunk)

    def _delete_chunk(self, partition: str, keys: Sequence[Key]) -> None:
        """Delete keys; in halves if they are too many for one request."""
        try:
            if named := self._present(partition, keys):
                if self._unflushed is not None:
                    self._unflushed.add(partition, named)
                self._call_delete(self._delete_request(partition, named), len(named))
        except TooLargeError as refusal:
            limit, middle = self._target.delete_size, len(keys) // 2
            size = self._delete_request(partition, keys).ByteSize()
            if not middle:
                raise _single(
                    limit, "delete of the row", keys[0], size, refusal
                ) from None
            self._note_too_large(limit, size, refusal)
            for part in (keys[:middle], keys[middle:]):
                self._delete_chunk(partition, part)

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
        size = request.ByteSize()
        while True:
            self._target.wait(self._limiter.delay(size, time.monotonic()))
            try:
                answer = self._target.call("Delete", request, self._database)
            except RateLimitError as refusal:
                self._slow_down(size, refusal)
            else:
                self._limiter.on_success()
                self._target.delete_size.on_success(size)
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


def _is_passing(limit: RequestSize, size: int, refusal: TooLargeError) -> bool:
    """Tell whether a size is refused on the way that was taken before.

    What the target's queue refuses is a message for one shard, smaller than the request.
    """
    return limit.was_taken(size) and not refusal.may_be_done


def _single(
    limit: RequestSize, what: str, key: Key, size: int, refusal: TooLargeError
) -> CdcError:
    """Return the error of a single row that is called too large."""
    if _is_passing(limit, size, refusal):
        return UnclearAnswerError(f"{refusal}; as large ones were taken before")
    return CollectionError(
        f"the {what} with the key {key!r:.{_SHOWN}} takes {size} bytes, more than the "
        f"target or a proxy on the way to it takes in a request ({refusal}): raise the "
        "limit there"
    )


def _check_count(answer: milvus_pb2.MutationResult, keys: int) -> None:
    """Both kinds of Milvus count the keys that a delete names, there or not."""
    if answer.delete_cnt < keys:
        raise TransientError(
            f"the target took {answer.delete_cnt} of the {keys} keys of a delete"
        )


def key_expression(field: str, keys: Sequence[Key], *, lite: bool = False) -> str:
    """Return a filter that names exactly these keys, for any number and any text."""
    return f"{field} in {members(keys, lite=lite)}"
