"""Deletes reach a real target: whatever the key, the partition, the order, and a kill."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymilvus import DataType

from cdc_actors.changes import Batch
from cdc_actors.replication.fold import fold
from tests.support.keyed import KEY_BYTES, PARTITIONS, Keyed, delete, insert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdc_actors.changes import Delete, Insert
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

CHARACTERS_A_KEY = KEY_BYTES // 4 - 10


@pytest.fixture(params=[DataType.VARCHAR], ids=["texts"])
def keyed(
    request: pytest.FixtureRequest, target: EmbeddedMilvus | EmbeddedLite, emptied
) -> Iterator[Keyed]:
    """Yield a collection at each kind of target, of text keys unless told otherwise."""
    with (
        closing(emptied(target)) as client,
        Keyed(target.uri, client, request.param) as made,
    ):
        yield made


def test_keys_of_every_character_are_deleted(keyed: Keyed) -> None:
    """Keys that hold all of Unicode go where a delete names them, and only they."""
    characters = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]
    keys = [
        "".join(characters[i : i + CHARACTERS_A_KEY])
        for i in range(0, len(characters), CHARACTERS_A_KEY)
    ]
    keyed.insert(keys)
    keyed.delete(keys[::3])
    keyed.delete(keys[1::3], "_default")
    assert keyed.rows() == {"_default": dict.fromkeys(keys[2::3], 1)}


def test_keys_of_any_text_are_deleted(keyed: Keyed) -> None:
    """What escapes, ends or empties a literal is a key like any other."""
    quoted = [
        "",
        *"\"'\\\n\r\t\0%_[],",
        "\\n",
        '\\"',
        "\\\\",
        "\\'",
        " in [",
        '"]',
        "é",
    ]
    keys = list(
        dict.fromkeys(a + b + c for a in quoted for b in quoted for c in quoted)
    )
    keyed.insert(keys)
    keyed.delete(keys[::2])
    assert keyed.rows() == {"_default": dict.fromkeys(keys[1::2], 1)}


@pytest.mark.parametrize("keyed", [DataType.INT64], ids=["numbers"], indirect=True)
def test_the_extremes_of_numbers_are_deleted(keyed: Keyed) -> None:
    """Numbers that a target cannot read as such, or not return, are deleted like others."""
    smallest, largest = -(2**63), 2**63 - 1
    keyed.insert([smallest, smallest + 1, -1, 0, 1, largest - 1, largest])
    keyed.delete([0])
    assert keyed.count() == 6
    keyed.delete([smallest, largest], "_default")
    assert keyed.rows() == {
        "_default": dict.fromkeys([smallest + 1, -1, 1, largest - 1], 1)
    }
    assert keyed.count() == 4
    keyed.delete([largest - 1, smallest + 1])
    assert keyed.rows() == {"_default": {-1: 1, 1: 1}}


@dataclass(slots=True)
class Stretch:
    """Changes that are written together, and what comes behind them.

    ``kill`` tells how many stretches are written once more, by a process that knows
    nothing; the last of them was ``halved``, that is, cut off behind its deletes.
    """

    changes: list[Insert | Delete] = field(default_factory=list)
    flush: bool = False
    kill: int = 0
    halved: bool = False


class History:
    """What a source of keys that are unique did, and which rows it has now."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._stamps = count(1)
        self._rows: dict[str, tuple[str, int]] = {}
        self.stretches = [Stretch()]

    @property
    def rows(self) -> dict[str, dict[str, int]]:
        """The source's rows as ``Keyed.rows`` has the target's."""
        rows: dict[str, dict[str, int]] = {}
        for key, (partition, value) in self._rows.items():
            rows.setdefault(partition, {})[key] = value
        return rows

    def write(self, chosen: set[int], partition: str, *, named: bool) -> None:
        """Insert keys; what is there is deleted first, where it is or everywhere."""
        keys = [self._keys[i] for i in chosen]
        for where in PARTITIONS if named else [""]:
            self._delete([key for key in keys if self._is_in(key, where)], where)
        stamp = next(self._stamps)
        self._rows |= dict.fromkeys(keys, (partition, stamp))
        self.stretches[-1].changes.append(insert(stamp, keys, partition))

    def delete(self, chosen: set[int], partition: str) -> None:
        """Delete keys, there or not."""
        self._delete([self._keys[i] for i in chosen], partition)

    def end(self, **behind: int) -> None:
        """End a stretch."""
        for name, value in behind.items():
            setattr(self.stretches[-1], name, value)
        self.stretches.append(Stretch())

    def _delete(self, keys: list[str], partition: str) -> None:
        if keys:
            change = delete(next(self._stamps), keys, partition)
            self.stretches[-1].changes.append(change)
        for key in keys:
            if self._is_in(key, partition):
                del self._rows[key]

    def _is_in(self, key: str, partition: str) -> bool:
        return key in self._rows and partition in ("", self._rows[key][0])


chosen = st.sets(st.integers(0, 4), min_size=1)
partitions = st.sampled_from(PARTITIONS)


def step(name: str, **arguments: st.SearchStrategy) -> st.SearchStrategy:
    """Return what draws a method of a history, and its arguments."""
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


steps = st.one_of(
    step("write", chosen=chosen, partition=partitions, named=st.booleans()),
    step("delete", chosen=chosen, partition=partitions | st.just("")),
    step("end", flush=st.booleans()),
    step("end", kill=st.integers(1, 4), halved=st.booleans()),
)
texts = st.lists(st.text(max_size=20), min_size=5, max_size=5)


def test_deletes_hold_whatever_comes_behind_them(keyed: Keyed, seed: int) -> None:
    """Keys that move between partitions, flushes, kills: each partition ends equal."""
    numbers = count()

    @hypothesis.seed(seed)
    @settings(max_examples=60 if keyed.is_lite else 8, deadline=None)
    @given(st.lists(steps, max_size=24), texts)
    def check(made: list, texts: list[str]) -> None:
        example = next(numbers)
        history = History([f"{example}.{i}{text}" for i, text in enumerate(texts)])
        for name, arguments in made:
            getattr(history, name)(**arguments)
        replay(history.stretches, keyed)
        expected = history.rows
        ours = f"{example}."
        found = {
            where: {key: value for key, value in rows.items() if key.startswith(ours)}
            for where, rows in keyed.rows().items()
        }
        assert {where: rows for where, rows in found.items() if rows} == expected

    check()


def replay(stretches: Sequence[Stretch], keyed: Keyed) -> None:
    """Write a history as the service would, kills included."""
    for number, stretch in enumerate(stretches):
        batch = fold(stretch.changes, keyed.writer.keys_of)
        keyed.write(Batch(batch.deletes, ()) if stretch.halved else batch)
        if stretch.flush:
            keyed.flush()
        if stretch.kill:
            keyed.restart()
            for again in stretches[max(0, number + 1 - stretch.kill) : number + 1]:
                keyed.write(fold(again.changes, keyed.writer.keys_of, may_exist=True))
