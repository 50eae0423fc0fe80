"""Whether a task can begin at positions is looked at where its source is."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.changes import channel_of
from cdc_actors.config import SourceConfig
from cdc_actors.errors import TaskConflictError, UnavailableError
from cdc_actors.service import position_checks
from cdc_actors.service.position_checks import refuse_positions
from cdc_actors.tasks.spec import StartPosition
from tests.fakes.fake_source import A, B, FakeSource
from tests.fakes.memory_log import MemoryReader
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from cdc_actors.tasks import TaskSpec

SOURCE = SourceConfig()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    """Return the source that the configuration names."""
    source = FakeSource()
    catalog = nullcontext(source.catalog)
    monkeypatch.setattr(position_checks, "open_catalog", lambda *_: catalog)
    monkeypatch.setattr(position_checks, "closing", lambda opened: opened)
    monkeypatch.setattr(
        position_checks, "open_wal", lambda *_: MemoryReader(source.log)
    )
    return source


def seeded(source: FakeSource, *shards: str) -> TaskSpec:
    """Return a task that begins with these shards where the log ends by now."""
    begin = {
        each: StartPosition(
            message_id=source.log_end(channel_of(each)).id,
            timestamp=source.next(),
        )
        for each in shards
    }
    source.tick()
    return replace(SPEC, positions=begin)


def test_positions_that_the_log_holds(source: FakeSource) -> None:
    """Nothing is said."""
    refuse_positions(seeded(source, *source.create("c", A, B).shards), SOURCE)


def test_positions_of_another_milvus(source: FakeSource) -> None:
    """The answer names the channel that no collection has."""
    spec = seeded(source, f"{A}_1v0")
    with pytest.raises(TaskConflictError, match=f"no collection with .* {A}_1v0"):
        refuse_positions(spec, SOURCE)


def test_positions_of_what_is_not_selected(source: FakeSource) -> None:
    """The answer names the collection."""
    spec = seeded(source, *source.create("c", A).shards)
    spec = replace(spec, collection_infos=("d",))
    with pytest.raises(TaskConflictError, match=r"default\.c, which is not selected"):
        refuse_positions(spec, SOURCE)


def test_a_position_that_is_yet_to_come(source: FakeSource) -> None:
    """Rows up to then would be passed over: it is no position of this source."""
    [shard] = source.create("c", A).shards
    spec = seeded(source, shard)
    source.catalog.latest = source.now
    later = replace(spec.positions[shard], timestamp=source.now + 1)
    with pytest.raises(TaskConflictError, match=f"{shard} is later than the source's"):
        refuse_positions(replace(spec, positions={shard: later}), SOURCE)


def test_a_shard_without_position(source: FakeSource) -> None:
    """The answer names those that have one, and all."""
    first, second = source.create("c", A, B).shards
    with pytest.raises(TaskConflictError, match=rf"\[{first}\], .* \[{first} {second}"):
        refuse_positions(seeded(source, first), SOURCE)


def test_positions_that_the_log_lost(source: FakeSource) -> None:
    """The answer says what to do."""
    spec = seeded(source, *source.create("c", A).shards)
    source.log.truncate(A, source.log_end(A))
    with pytest.raises(TaskConflictError, match="make a newer backup"):
        refuse_positions(spec, SOURCE)


def test_source_that_does_not_answer(source: FakeSource) -> None:
    """Nobody knows, so nothing is created."""
    spec = seeded(source, *source.create("c", A).shards)
    source.log.stop()
    with pytest.raises(UnavailableError, match="cannot be told"):
        refuse_positions(spec, SOURCE)
    refuse_positions(SPEC, SOURCE)
