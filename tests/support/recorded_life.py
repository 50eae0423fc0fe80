"""What real Milvus servers wrote into their logs and catalogs while clients used them.

``recorded/life_2_5_27.jsonl.gz`` is cut from the recording of a 2.5.27 with RocksMQ whose
client made collections of every type, wrote, upserted, deleted, renamed, altered, indexed,
loaded, granted, dropped and made again. A line is a record of the log or a write to etcd,
in the order in which they came to be; "at" is in milliseconds since 1970. Of the ticks only
those are kept that release something, every tenth, and each channel's last; of etcd what a
catalog reads.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
class CatalogWrite:
    """One write to etcd; without a ``value`` the key was removed."""

    at: int
    key: str
    value: bytes | None


Step = LogRecord | CatalogWrite


@cache
def life(version: str) -> tuple[Step, ...]:
    """Return all that a server of a version wrote, in order."""
    path = FOLDER / f"life_{version.replace('.', '_')}.jsonl.gz"
    return tuple(map(_step, gzip.decompress(path.read_bytes()).splitlines()))


def records(version: str) -> list[LogRecord]:
    """Return the records of the log."""
    return [step for step in life(version) if isinstance(step, LogRecord)]


def _step(line: bytes) -> Step:
    read = json.loads(line)
    if "key" in read:
        value = read["value"]
        written = None if value is None else base64.b64decode(value)
        return CatalogWrite(read["at"], read["key"], written)
    payload = base64.b64decode(read["payload"])
    return LogRecord(read["at"], read["channel"], read["id"], payload)
