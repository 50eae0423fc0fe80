"""Which suspected rows differ, where both sides change between the looks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import DataType

from cdc_actors.compare.schema import Table
from cdc_actors.compare.settle import MOST_REPAIRS, Settler, Suspect
from cdc_actors.comparison_report import CollectionReport
from cdc_actors.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = Table(
    name="t",
    key="id",
    types={"id": (DataType.INT64,), "n": (DataType.INT64,)},
    has_partition_key=False,
    page_rows=80,
)
ONE = Suspect("_default", 1)


class ScriptedSide:
    """A side whose one row is another at each look: its value, None where it is missing."""

    table = TABLE
    at = 0
    server = SimpleNamespace(now=lambda: 0)

    def __init__(self, *values: int | None, times: int = 1) -> None:
        """``values`` are those of one look after another; the last one stays."""
        self._values = list(values)
        self._times = times

    def rows_of(self, _partition: str, keys: Sequence[int]) -> dict[int, Any]:
        """Return the row of the next look."""
        value = self._values.pop(0) if len(self._values) > 1 else self._values[0]
        return {} if value is None else {key: {"id": key, "n": value} for key in keys}

    def times_of(self, _partition: str, keys: Sequence[int]) -> dict[int, int]:
        """Return as many copies as the test says."""
        return dict.fromkeys(keys, self._times)


class Sent:
    """Takes note of what is repaired."""

    def __init__(self, *, deletes_extra: bool = False) -> None:
        self.deletes_extra = deletes_extra
        self.rows: list[tuple[list[int], list[int]]] = []

    def send(self, _partition: str, keys: list[int], extra: list[int]) -> None:
        """Send nothing."""
        self.rows.append((keys, extra))


def settled(
    source: ScriptedSide,
    target: ScriptedSide,
    *,
    reached: bool = True,
    repair: Sent | None = None,
) -> CollectionReport:
    """Settle one suspect and return the report."""
    report = CollectionReport(database="default", name="t")
    suspects = [ONE]
    Settler(source, target, report, lambda: reached, 2, repair).settle(suspects)
    assert suspects == []
    return report


def counts(report: CollectionReport) -> dict[str, int]:
    """Return what a report counts, without what it has none of."""
    tallies = {
        "missing": report.missing.count,
        "extra": report.extra.count,
        "different": report.different.count,
        "doubled": report.doubled.count,
        "uneven": report.uneven,
        "unsettled": report.unsettled.count,
    }
    return {name: count for name, count in tallies.items() if count}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ([1], [None], {"missing": 1}),
        ([None], [1], {"extra": 1}),
        ([1], [2], {"different": 1}),
        # Its change comes before the first look.
        ([1], [1], {}),
        # It is missing for a moment: the source has written the same once more.
        ([1], [None, 1], {}),
        # The source changes it, and the target follows.
        ([1, 2], [1, 2], {}),
        ([1, 2, 2, 2], [3, 1, 2], {}),
        # The source has deleted it, and the target does so next.
        ([1, None], [1, None], {}),
        # The source's row changes once, and then the target never follows.
        ([1, 2], [3], {"different": 1}),
        ([*range(100)], [500], {"unsettled": 1}),
    ],
)
def test_a_difference_is_one_that_stays(source, target, expected) -> None:
    """What the target lacks only for a while, and what never stands still, is none."""
    assert counts(settled(ScriptedSide(*source), ScriptedSide(*target))) == expected


def test_what_may_be_on_its_way_is_not_called_a_difference() -> None:
    """Where the task does not come to the moment, a row is unsettled, after one look."""
    report = settled(ScriptedSide(1), ScriptedSide(2), reached=False)
    assert counts(report) == {"unsettled": 1}
    assert report.unsettled.examples[0].text == "n: 1 -> 2"


def test_copies_of_a_key_are_counted() -> None:
    """One more at the target is a difference, as many as at the source are told."""
    uneven = settled(ScriptedSide(1), ScriptedSide(1, times=3))
    assert counts(uneven) == {"doubled": 1, "uneven": 1}
    assert uneven.doubled.examples[0].text == "1 times at the source, 3 at the target"
    even = settled(ScriptedSide(1, times=2), ScriptedSide(1, times=2))
    assert counts(even) == {"doubled": 1}
    assert even.equal


def test_what_was_settled_before_an_error_is_not_settled_again() -> None:
    """A side that is lost in the middle leaves the rest of the suspects as they were."""
    report = CollectionReport(database="default", name="t")
    suspects = [Suspect("a", 1), Suspect("b", 1)]
    target = ScriptedSide(1)

    def lost_later(partition: str, keys: Sequence[int]) -> dict[int, Any]:
        if partition == "b":
            raise TransientError("the target does not answer")
        return {key: {"id": key, "n": 1} for key in keys}

    target.rows_of = lost_later
    with pytest.raises(TransientError):
        Settler(ScriptedSide(1), target, report, lambda: True, 2).settle(suspects)
    assert suspects == [Suspect("b", 1)]


@pytest.mark.parametrize(
    ("source", "target", "sent", "expected"),
    [
        # It is sent once, and then the same.
        ([1], [None, None, 1], [([1], [])], {}),
        ([1], [2, 2, 1], [([1], [])], {}),
        # The task's own change and the repair met: it is sent once more.
        ([1, 1, 1, 3], [None, None, 1, 1, 1, 3], [([1], []), ([1], [])], {}),
        # The target takes it and does not keep it.
        ([1], [2], [([1], [])] * MOST_REPAIRS, {"different": 1}),
        ([None], [1], [], {"extra": 1}),
    ],
)
def test_a_repaired_row_is_looked_at_again(source, target, sent, expected) -> None:
    """What differs is sent until it is the same; nothing is deleted unless asked for."""
    repair = Sent()
    report = settled(ScriptedSide(*source), ScriptedSide(*target), repair=repair)
    assert (repair.rows, counts(report)) == (sent, expected)
    assert report.repaired == (not expected)
    was_missing = target[0] is None and not expected
    assert (report.target_rows or 0) == was_missing


def test_what_only_the_target_has_is_deleted_if_asked_for() -> None:
    """With the permission it is deleted, and looked at again."""
    repair = Sent(deletes_extra=True)
    report = settled(ScriptedSide(None), ScriptedSide(1, 1, None), repair=repair)
    assert (repair.rows, counts(report), report.repaired) == ([([], [1])], {}, 1)
    assert report.target_rows == -1


def test_what_cannot_be_told_apart_is_not_sent() -> None:
    """Copies at the source, of which it shows one, and what may be on its way."""
    repair = Sent()
    copies = settled(ScriptedSide(1, times=2), ScriptedSide(1), repair=repair)
    away = settled(ScriptedSide(1), ScriptedSide(2), reached=False, repair=repair)
    assert (counts(copies), counts(away)) == (
        {"doubled": 1, "uneven": 1},
        {"unsettled": 1},
    )
    assert repair.rows == []


def test_what_is_sent_is_a_suspect_at_that_moment() -> None:
    """Whoever stores them before sending has the row among them, and not what is done."""
    suspects = [ONE, Suspect("_default", 2)]
    stored: list[list[Suspect]] = []

    class Storing(Sent):
        def send(self, _partition: str, _keys: list[int], _extra: list[int]) -> None:
            stored.append(list(suspects))

    target = ScriptedSide(1)
    target.rows_of = lambda _, keys: {k: {"id": k, "n": k} for k in keys if k != 1}
    source = ScriptedSide(1)
    source.rows_of = lambda _, keys: {k: {"id": k, "n": k} for k in keys}
    report = CollectionReport(database="default", name="t")
    Settler(source, target, report, lambda: True, 2, Storing()).settle(suspects)
    assert stored == [[ONE]] * MOST_REPAIRS
    assert counts(report) == {"missing": 1}
