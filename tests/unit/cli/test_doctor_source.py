"""What a bug report has of a source: enough to do it again, and no value of a row."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.changes import Checkpoint
from cdc_actors.cli import doctor_source
from cdc_actors.config import SourceConfig
from cdc_actors.source.wal.streaming import dump
from cdc_actors.source.wal.streaming.positions import Place, position_of
from tests.fakes.public_source import PublicSource
from tests.support.recorded_life import end, messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorded_life import NodeMessage

VERSION = "2.6.20"
INSERT, DELETE = "2", "3"
TEXTS = 5


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[PublicSource]:
    """Yield the API of a recorded life; nothing of it is waited for."""
    monkeypatch.setattr(dump, "AHEAD_SECONDS", 0.05)
    monkeypatch.setattr(doctor_source, "_READ_SECONDS", 0.5)
    source = PublicSource(VERSION, "rocksmq")
    source.play()
    yield source
    source.nodes.close()
    source.api.close()


def config(source: PublicSource) -> SourceConfig:
    """Return where the source is."""
    return SourceConfig(uri=source.api.uri, etcd=None)


def log(source: PublicSource, channel: str) -> dict[str, Any]:
    """Return what is told of a channel from its beginning on."""
    begin = Checkpoint(
        position_of(channel, Place(0, "", "", 0)), inclusive=True, tick=0
    )
    found: dict[str, Any] = doctor_source.log(config(source), {channel: begin})[channel]
    return found


def first(kind: str) -> NodeMessage:
    """Return the first message of a kind."""
    return next(each for each in messages(VERSION) if each.properties["_t"] == kind)


def texts() -> set[str]:
    """Return the longer texts that rows have."""
    rows = [each for found in end(VERSION).rows.values() for each in found.values()]
    values = [value for _, row in rows for value in row.values()]
    return {each for each in values if isinstance(each, str) and len(each) > TEXTS}


def test_the_schemas(source: PublicSource) -> None:
    """Of each collection, with the types, flags and parameters of its fields."""
    found = doctor_source.catalog(config(source))
    assert (found["version"], found["databases"]) == (VERSION, ["default", "db1"])
    named = {each["name"]: each for each in found["collections"].values()}
    fields = {each["name"]: each for each in named["default.every_nullable"]["fields"]}
    assert fields["id"]["is"] == ["is_primary_key"]
    assert fields["added"]["is"] == ["nullable"]
    assert named["default.structs"]["structs"].keys() == {"st"}
    assert [each["to"] for each in named["default.bm25"]["functions"]] == [["sp"]]


def test_the_log_without_values(source: PublicSource) -> None:
    """Every record says what it is, when it was, and how large; ticks are counted."""
    there = first(INSERT)
    found = log(source, there.channel)
    rows = [each for each in found["records"] if each["says"] == "Insert"]
    assert rows[0]["bytes"] == len(there.payload)
    assert rows[0]["properties"] == there.properties
    columns = {each["name"]: each["data"] for each in rows[0]["columns"]}
    assert (columns["id"], columns["a_bool"]) == ("string_data", "array_data")
    assert "Delete" in {each["says"] for each in found["records"]}
    assert found["ticks"]
    told = json.dumps(found, ensure_ascii=False)
    assert len(texts()) > TEXTS
    assert [each for each in texts() if each in told] == []


def test_a_record_that_cannot_be_read(source: PublicSource) -> None:
    """It says why, and the others are there."""
    there = first(DELETE)
    with source.held():
        later = source.latest(there.channel) + 1
        time = dump.base36(later)
        made = there.properties | {"_tt": time, "_rh": "x"}
        source.say(replace(there, properties=made))
    [last] = [each for each in log(source, there.channel)["records"] if "error" in each]
    assert "from another Milvus" in last["error"]
