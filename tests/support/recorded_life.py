"""What real Milvus servers wrote into their logs and catalogs while clients used them.

``recorded/life_2_5_27.jsonl.gz`` is cut from the recording of a 2.5.27 with RocksMQ whose
client made collections of every type, wrote, upserted, deleted, renamed, altered, indexed,
loaded, granted, dropped and made again. A line is a record of the log or a write to etcd,
in the order in which they came to be; "at" is in milliseconds since 1970. Of the ticks only
those are kept that release something, every tenth, and each channel's last; of etcd what a
catalog reads.

Those of 2.6 and later have what a streaming node's Consume delivered instead:
``life_2_6_20`` and ``life_3_0_0`` the same life as above and what is new since,
``life_2_6_20_woodpecker`` that on another queue, ``life_2_6_20_writers`` ten clients that
wrote at once, with rows of each key that were left in ``end_2_6_20_writers``.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdc_actors.changes import FullName, Key

FOLDER = Path(__file__).parent / "recorded"
REQUESTS = "by-dev-replicate-msg"
"""The channel of clients' requests."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record; ``id`` is RocksMQ's."""

    at: int
    channel: str
    id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class NodeMessage:
    """One message of a streaming node; ``id`` is its queue's."""

    at: int
    channel: str
    id: str
    properties: dict[str, str]
    payload: bytes


@dataclass(frozen=True, slots=True)
class CatalogWrite:
    """One write to etcd; without a ``value`` the key was removed."""

    at: int
    key: str
    value: bytes | None


Step = LogRecord | NodeMessage | CatalogWrite


@cache
def life(version: str) -> tuple[Step, ...]:
    """Return all that a server of a version wrote, in order."""
    path = FOLDER / f"life_{_file_name(version)}.jsonl.gz"
    return tuple(map(_step, gzip.decompress(path.read_bytes()).splitlines()))


def records(version: str) -> list[LogRecord]:
    """Return the records of the log."""
    return [step for step in life(version) if isinstance(step, LogRecord)]


def messages(version: str) -> list[NodeMessage]:
    """Return what the streaming nodes delivered, each channel in order."""
    return [step for step in life(version) if isinstance(step, NodeMessage)]


def left_by_writers() -> dict[str, dict[int, list[int]]]:
    """Return what ten writers left: the values of ``w`` by collection and key."""
    read = json.loads(
        gzip.decompress((FOLDER / "end_2_6_20_writers.json.gz").read_bytes())
    )
    return {
        name: {int(key): values for key, values in rows.items()}
        for name, rows in read.items()
    }


def _file_name(version: str) -> str:
    return version.replace(".", "_").replace("-", "_")


def _step(line: bytes) -> Step:
    read = json.loads(line)
    if "key" in read:
        value = read["value"]
        written = None if value is None else base64.b64decode(value)
        return CatalogWrite(read["at"], read["key"], written)
    payload = base64.b64decode(read["payload"])
    if "properties" in read:
        where = read["channel"], read["id"]
        return NodeMessage(read["at"], *where, read["properties"], payload)
    return LogRecord(read["at"], read["channel"], int(read["id"]), payload)


@dataclass(frozen=True, slots=True)
class End:
    """What the client of a life left behind, by what it asked for and was answered.

    ``rows`` are the partition and the values of each row, by the collection's full name
    and by key; a value that the server was to fill in is left out. ``aliases`` are by full
    name.
    """

    rows: dict[FullName, dict[Key, tuple[str, dict[str, Any]]]]
    aliases: dict[FullName, str]


@cache
def end(version: str) -> End:
    """Return how a life ended: that of 2.5.27, or one of 2.6.20."""
    path = FOLDER / f"end_{_file_name(version)}.json.gz"
    read = json.loads(gzip.decompress(path.read_bytes()))
    return End(
        rows={
            _full_name(name): {key: (part, row) for key, part, row in found["rows"]}
            for name, found in read["collections"].items()
        },
        aliases={_full_name(name): to for name, to in read["aliases"].items()},
    )


def is_same(wanted: Any, found: Any) -> bool:
    """Tell whether a target has a value as the client gave it.

    Bytes and vectors of small numbers are kept as ``{"b64": ...}``, sparse vectors by text.
    """
    if isinstance(wanted, float) and isinstance(found, float):
        return math.isclose(wanted, found, rel_tol=1e-6)
    if isinstance(wanted, dict) and "b64" in wanted:
        return base64.b64decode(wanted["b64"]) == found
    if isinstance(found, bytes):
        return is_same(wanted, json.loads(found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        texts = {str(key): value for key, value in found.items()}
        return wanted.keys() == texts.keys() and all(
            is_same(each, texts[key]) for key, each in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(found, Sequence):
        return len(wanted) == len(found) and all(map(is_same, wanted, found))
    return bool(wanted == found) or _is_same_time(wanted, found)


def _is_same_time(wanted: Any, found: Any) -> bool:
    """A time comes back in another zone than it was given in."""
    try:
        return datetime.fromisoformat(wanted) == datetime.fromisoformat(found)
    except (TypeError, ValueError):
        return False


def _full_name(text: str) -> FullName:
    database, _, name = text.partition(".")
    return database, name
