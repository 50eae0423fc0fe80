"""Copies of a whole log: lines of JSON, from one database to another.

The first line names the head; then comes each event as it is stored, encrypted secrets
included, with its hashes; then the checkpoints and send horizons, so that a service on
the copy continues where that on the original stood; and a last line, so that none is
missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from cdc_actors.errors import OperatorError
from cdc_actors.store.audit.verify import Auditor, Head, Record, count, head_of, records
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.database import reported
from cdc_actors.store.hash_chain import PAGE, Link
from cdc_actors.store.send_horizons import SendHorizons

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdc_actors.store.event_log import TaskLog

_INSERT_EVENT = (
    "INSERT INTO {events} (originator_id, originator_version, topic, state) "
    "VALUES ({p}, {p}, {p}, {p})"
)
_INSERT_LINK = (
    "INSERT INTO {hashes} SELECT {order}, CAST({p} AS {binary}), "
    "CAST({p} AS {binary}), CAST({p} AS TEXT) FROM {events} "
    "WHERE originator_id = {p} AND originator_version = {p}"
)


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="line"):
    pass


class _Header(_Line, frozen=True, tag="cdc-actors log 1"):
    head: str


class _Event(_Line, frozen=True, tag="event"):
    task_id: UUID
    number: int
    topic: str
    state: str
    stream_hash: str
    log_hash: str
    sealed_at: str | None = None

    @classmethod
    def of(cls, event: StoredEvent, link: Link) -> _Event:
        return cls(
            task_id=UUID(str(event.originator_id)),
            number=event.originator_version,
            topic=event.topic,
            state=event.state.decode(),
            stream_hash=link.stream.hex(),
            log_hash=link.log.hex(),
            sealed_at=link.sealed_at,
        )

    def stored(self) -> tuple[StoredEvent, Link]:
        state = self.state.encode()
        event = StoredEvent(self.task_id, self.number, self.topic, state)
        hashes = bytes.fromhex(self.stream_hash), bytes.fromhex(self.log_hash)
        return event, Link(*hashes, self.sealed_at)


class _Checkpoint(_Line, frozen=True, tag="checkpoint"):
    task_id: str
    channel: str
    position_id: bytes
    position_text: str
    inclusive: int
    tick: int
    saved_at: str


class _SendHorizon(_Line, frozen=True, tag="fence"):
    task_id: str
    channel: str
    sent: int


class _End(_Line, frozen=True, tag="end"):
    lines: int


_Place = _Checkpoint | _SendHorizon
_PLACES: dict[str, type[_Place]] = {
    "{checkpoints}": _Checkpoint,
    "{send_horizons}": _SendHorizon,
}
_LINES: msgspec.json.Decoder[_Line] = msgspec.json.Decoder(
    _Header | _Event | _Checkpoint | _SendHorizon | _End
)


def export(log: TaskLog) -> Iterator[bytes]:
    """Yield a log as lines, as it is now, while others may write.

    Raises:
        OperatorError: An event does not fit its hashes.
    """
    lines = 0
    for line in _lines(log):
        yield msgspec.json.encode(line) + b"\n"
        lines += 1
    yield msgspec.json.encode(_End(lines=lines)) + b"\n"


def _lines(log: TaskLog) -> Iterator[_Line]:
    # First, so that no checkpoint is behind an operation that the events lack.
    places = list(_places(log))
    head = head_of(log.database)
    yield _Header(head=str(head))
    auditor = Auditor(head)
    for record in records(log.database):
        if auditor.events == head.events:
            break
        mismatch = auditor.check_next(record)
        if mismatch or not isinstance(record.event, StoredEvent) or not record.link:
            raise OperatorError(f"this log cannot be exported: {mismatch}")
        yield _Event.of(record.event, record.link)
    yield from places


def _places(log: TaskLog) -> Iterator[_Place]:
    Checkpoints(log)
    SendHorizons(log)
    for table, kind in _PLACES.items():
        for row in log.database.read(f"SELECT * FROM {table}"):  # noqa: S608
            yield msgspec.convert(dict(row), kind, strict=False)


def import_log(log: TaskLog, lines: Iterable[bytes]) -> Head:
    """Fill an empty log with what ``export`` yielded, all of it or nothing.

    Returns its head.

    Raises:
        OperatorError: The log is not empty, or the lines are not those of an export,
            or were changed, or some are missing.
    """
    Checkpoints(log)
    SendHorizons(log)
    names = log.database.names
    with reported(), log.database.datastore.transaction(commit=True) as cursor:
        cursor.execute(names["lock"].format(**names))
        if count(log.database):
            raise OperatorError("this log has events: import into an empty one")
        return _Import(cursor, names).run(lines)


class _Import:
    """One import, inside its transaction."""

    def __init__(self, cursor: Any, names: dict[str, str]) -> None:
        self._cursor = cursor
        self._names = names
        self._auditor = Auditor()
        self._page: list[tuple[StoredEvent, Link]] = []

    def run(self, lines: Iterable[bytes]) -> Head:
        expected: Head | None = None
        line: _Line | None = None
        for number, text in enumerate(lines):
            if isinstance(line, _End):
                raise OperatorError(f"line {number + 1} comes after the end")
            line = _decoded(text, number)
            if isinstance(line, _Header) == bool(number):
                raise OperatorError(f"line {number + 1} is no line of an export")
            match line:
                case _Header():
                    expected = Head.parse(line.head)
                case _Event():
                    self._take(line)
                case _Checkpoint() | _SendHorizon():
                    self._place(line)
                case _End() if line.lines != number:
                    raise OperatorError(
                        f"there were {line.lines} lines before the last"
                    )
        self._store()
        if expected != self._auditor.head or not isinstance(line, _End):
            raise OperatorError("lines are missing, this is not a whole export")
        return self._auditor.head

    def _take(self, line: _Event) -> None:
        try:
            event, link = line.stored()
        except ValueError as error:
            raise OperatorError(f"a hash is not hexadecimal: {error}") from error
        record = Record(self._auditor.events + 1, event, link)
        if mismatch := self._auditor.check_next(record):
            raise OperatorError(f"this is not what was exported: {mismatch}")
        self._page.append((event, link))
        if len(self._page) == PAGE:
            self._store()

    def _store(self) -> None:
        events, links = [], []
        for event, link in self._page:
            key = (UUID(str(event.originator_id)).hex, event.originator_version)
            events.append((*key, event.topic, event.state))
            links.append((link.stream, link.log, link.sealed_at, *key))
        self._page = []
        if events:
            self._cursor.executemany(_INSERT_EVENT.format(**self._names), events)
            self._cursor.executemany(_INSERT_LINK.format(**self._names), links)

    def _place(self, line: _Place) -> None:
        table = next(table for table, kind in _PLACES.items() if type(line) is kind)
        values = msgspec.structs.astuple(line)
        marks = ", ".join(["{p}"] * len(values))
        statement = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608
        self._cursor.execute(statement.format(**self._names), values)


def _decoded(text: bytes, number: int) -> _Line:
    try:
        return _LINES.decode(text)
    except (msgspec.MsgspecError, ValueError) as error:
        raise OperatorError(
            f"line {number + 1} is no line of an export: {error}"
        ) from error
