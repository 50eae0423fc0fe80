"""The order of RocksMQ's ids, on a real RocksDB, whatever their numbers of digits."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rocksdict import Options, Rdict

from cdc_actors.changes import Position
from cdc_actors.errors import OperatorError
from cdc_actors.source.wal.rocksmq.positions import Keys, number_of, position_of

if TYPE_CHECKING:
    from collections.abc import Iterator

INT64 = st.integers(-(2**63), 2**63 - 1)
GAPS = st.lists(st.integers(1, 10**6), min_size=1, max_size=20)
channels = map("channel-{}".format, itertools.count())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rdict]:
    """A RocksDB; each example has a channel of its own in it."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    database = Rdict(str(tmp_path_factory.mktemp("keys")), options)
    yield database
    database.close()


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Ids before and after the clock got to more digits, by itself or by being set."""
    digits = draw(st.integers(15, 18))
    border = 10**digits
    before = border - 1 - draw(st.integers(0, 10**6))
    if draw(st.booleans()):
        before = draw(st.integers(border // 10, border // 2))
    after = draw(st.integers(border, border + 10**6))
    short = [before - each for each in itertools.accumulate(draw(GAPS))]
    longer = [after + each for each in itertools.accumulate(draw(GAPS))]
    return sorted(each for each in short if each >= border // 10), longer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(log=logs(), only=st.sampled_from(["both", "shorter", "longer"]))
def test_first_last_and_longer_are_those_of_the_numbers(
    database: Rdict, log: tuple[list[int], list[int]], only: str
) -> None:
    """What RocksDB's own order hides is found: the lowest, the highest, the next id."""
    short, longer = log
    ids = {"both": short + longer, "shorter": short, "longer": longer}[only]
    channel = next(channels)
    keys = Keys(channel)
    for number in ids:
        database[keys.key(number)] = b""
    entries = database.iter()

    assert keys.first(entries) == min(ids, default=None)
    assert keys.last(entries) == max(ids, default=None)
    if short and only != "longer":
        assert keys.longer(entries, short[-1]) == min(
            (each for each in ids if each in longer), default=None
        )


@given(number=INT64)
def test_a_position_is_the_eight_bytes_of_milvus(number: int) -> None:
    """Little-endian and signed: Milvus writes -1 for a channel that is still empty."""
    position = position_of("channel", number)

    assert number_of(position) == number
    assert position.text == str(number)
    assert len(position.id) == 8


@given(message_id=st.binary().filter(lambda each: len(each) != 8))
def test_ids_of_another_queue_are_refused(message_id: bytes) -> None:
    """What is not eight bytes is not RocksMQ's."""
    with pytest.raises(OperatorError, match="not one of RocksMQ"):
        number_of(Position("channel", message_id, "text"))
