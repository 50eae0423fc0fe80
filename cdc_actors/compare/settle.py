"""Which of the suspected rows differ, however much is written meanwhile.

A row may differ because its change is on the way. So the source's row is noted, then time
passes until the target is confirmed to have all that the source had (a ``Moment``), then
the target's row is read, and then the source's once more. Where the source's is what it
was all the while, the target's should be the same. It is seen to differ twice before that
is believed: a source that writes the same row once more has it deleted and inserted at the
target, and between the two it is missing there. A row that never stands still is unsettled.

A repair sends such a row while the task goes on, and the two may meet: whatever order the
target takes them in, it may be left with the older row, with two, or with none. So a row
that was repaired is a suspect like any other afterwards. The repair has been answered by
then, the next moment is later, and up to that the task has done all it had to: if both
sides are the same then, with the source's row read after the target's, nothing older can
come any more, and what is newer the task brings onto what the source had, as always. If
they are not, the row is repaired again. Only a row that stood still while the task came to
a moment is sent, so that the task has nothing older left which would insert it once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cdc_actors.changes import Key  # noqa: TC001 - a suspect is decoded
from cdc_actors.compare.content import differences, digest
from cdc_actors.compare.keys import groups
from cdc_actors.compare.sweep import GROUP_ROWS
from cdc_actors.comparison_report import RowFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cdc_actors.compare.sweep import Side
    from cdc_actors.comparison_report import CollectionReport

    Moment = Callable[[], bool]
    """Returns once the target has all that the source had at the call; False if that
    cannot be waited for."""

COUNTED_ROWS = 32
"""How many of them are counted together: one that is missing just then hides a copy."""

GROUP_SHARE = 8
"""By how much fewer rows are looked at together than a page has: one by one."""

MOST_LOOKS = 10
"""How often a row is looked at that never stands still."""


MOST_REPAIRS = 3
"""How often a row is sent before it is said to differ."""


class Repair(Protocol):
    """What makes rows of the target those of the source."""

    @property
    def deletes_extra(self) -> bool:
        """Whether it may delete what only the target has."""

    def send(self, partition: str, keys: list[Key], extra: list[Key]) -> None:
        """Send the source's rows of some keys, and delete others.

        Before it begins, it notes that the rows are suspects. It returns once all of it is
        answered.
        """


class Suspect(NamedTuple):
    """A row that may differ."""

    partition: str
    key: Key


@dataclass(slots=True)
class _Open:
    """A suspect: the source's row when last seen, and how often they differed since.

    ``before`` is how often the target had the key before the first repair.
    """

    source: object = None
    seen: int = 0
    repairs: int = 0
    before: int = 0
    words: RowFinding | None = None


class Settler:
    """Settles the suspects of one collection and counts them in ``report``.

    One thread uses it. ``looks`` is how often a difference must be seen; where nobody
    writes, once is enough.
    """

    def __init__(
        self,
        source: Side,
        target: Side,
        report: CollectionReport,
        moment: Moment,
        looks: int,
        repair: Repair | None = None,
    ) -> None:
        """``repair`` is what brings rows to the target, if that is to be done."""
        self._repair = repair
        self._source, self._target = source, target
        self._report = report
        self._moment = moment
        self._looks = looks
        rows = source.table.page_rows // GROUP_SHARE
        self._group_rows = max(1, min(GROUP_ROWS, rows))

    def settle(self, suspects: list[Suspect]) -> None:
        """Look at the suspects until each is known to be the same, or to differ.

        Those that are settled leave the list, also where an error ends it.
        """
        pending = {suspect: _Open() for suspect in suspects}
        self._suspects = suspects
        try:
            self._look_until_settled(pending)
        finally:
            suspects[:] = pending

    def _look_until_settled(self, pending: dict[Suspect, _Open]) -> None:
        if self._looks > 1:
            self._note_source(pending)
        looks = MOST_LOOKS if self._repair is None else MOST_LOOKS + 2 * MOST_REPAIRS
        for _ in range(looks):
            if not pending:
                return
            is_reached = self._moment()
            self._look(pending, is_reached=is_reached)
            if not is_reached:
                break
        while pending:
            suspect, each = pending.popitem()
            self._report.unsettled.add(each.words or _found(suspect))

    def _note_source(self, pending: dict[Suspect, _Open]) -> None:
        for partition, keys in _groups(pending, self._group_rows):
            for key, seen in self._rows(self._source, partition, keys).items():
                pending[Suspect(partition, key)].source = seen.content

    def _look(self, pending: dict[Suspect, _Open], *, is_reached: bool) -> None:
        """Take those from ``pending`` that are settled."""
        for side in (self._source, self._target):
            side.at = side.server.now()
        for partition, keys in _groups(pending, self._group_rows):
            target = self._rows(self._target, partition, keys)
            source = self._rows(self._source, partition, keys)
            repaired: list[tuple[Key, bool]] = []
            for key in keys:
                suspect = Suspect(partition, key)
                each = pending[suspect]
                if self._is_same(suspect, each, source[key], target[key]):
                    del pending[suspect]
                    continue
                is_sure = is_reached and self._differs(each, source[key])
                if is_sure and not self._may_repair(each, source[key]):
                    self._count(suspect, source[key], target[key])
                    del pending[suspect]
                    continue
                each.words = self._words(suspect, source[key], target[key])
                if is_sure:
                    if not each.repairs:
                        each.before = target[key].times
                    repaired.append((key, source[key].times > 0))
            self._send(partition, repaired, pending)

    def _send(
        self,
        partition: str,
        repaired: list[tuple[Key, bool]],
        pending: dict[Suspect, _Open],
    ) -> None:
        """Repair rows, each with whether the source has it; all are suspects again."""
        if not repaired or self._repair is None:
            return
        for key, _ in repaired:
            each = pending[Suspect(partition, key)]
            each.seen, each.repairs = 0, each.repairs + 1
        self._suspects[:] = pending
        self._repair.send(
            partition,
            [key for key, is_there in repaired if is_there],
            [key for key, is_there in repaired if not is_there],
        )

    def _may_repair(self, each: _Open, source: _Seen) -> bool:
        """Of copies the source shows one: they cannot be sent."""
        if self._repair is None or each.repairs >= MOST_REPAIRS:
            return False
        return source.times == 1 or (not source.times and self._repair.deletes_extra)

    def _is_same(
        self, suspect: Suspect, each: _Open, source: _Seen, target: _Seen
    ) -> bool:
        if source.content != target.content:
            return False
        if source.times > 1:
            self._report.doubled.add(_found(suspect, _times(source, target)))
        if each.repairs:
            self._report.repaired += 1
            rows = self._report.target_rows or 0
            self._report.target_rows = rows + target.times - each.before
        return True

    def _differs(self, each: _Open, source: _Seen) -> bool:
        """Tell whether two rows that are not the same have been so for long enough."""
        if self._looks > 1 and each.source != source.content:
            each.source, each.seen = source.content, 0
        else:
            each.seen += 1
        return each.seen >= self._looks

    def _count(self, suspect: Suspect, source: _Seen, target: _Seen) -> None:
        if not target.times:
            self._report.missing.add(_found(suspect))
        elif not source.times:
            self._report.extra.add(_found(suspect))
        elif source.digest != target.digest:
            # Only the first are told of, and words take as long as all the rest.
            is_told = not self._report.different.is_full
            words = self._words(suspect, source, target) if is_told else _found(suspect)
            self._report.different.add(words)
        if max(source.times, target.times) > 1:
            self._report.doubled.add(_found(suspect, _times(source, target)))
            is_counted = not source.times or not target.times
            self._report.uneven += source.times != target.times and not is_counted

    def _words(self, suspect: Suspect, source: _Seen, target: _Seen) -> RowFinding:
        if source.row is None or target.row is None:
            return _found(suspect)
        table = self._source.table
        changes = differences(table, source.row, target.row)
        return _found(suspect, "; ".join(changes) or _times(source, target))

    def _rows(
        self, side: Side, partition: str, keys: Sequence[Key]
    ) -> dict[Key, _Seen]:
        rows = side.rows_of(partition, keys)
        times: dict[Key, int] = {}
        for some in groups(rows, COUNTED_ROWS):
            times |= side.times_of(partition, some)
        table = self._source.table
        return {
            key: _Seen(row := rows.get(key), times.get(key, 0), digest(table, row))
            for key in keys
        }


class _Seen(NamedTuple):
    """The row of a key at one side, and how often the key occurs there."""

    row: dict[str, Any] | None
    times: int
    digest: bytes

    @property
    def content(self) -> tuple[bytes, int]:
        """What two sides have alike where they are the same."""
        return self.digest, self.times


def _groups(suspects: Iterable[Suspect], rows: int) -> Iterator[tuple[str, list[Key]]]:
    """Yield the keys of each partition, as many together as one request may name."""
    by_partition = sorted(suspects, key=lambda each: each.partition)
    for partition, group in groupby(by_partition, lambda each: each.partition):
        for keys in groups((each.key for each in group), rows):
            yield partition, keys


def _found(suspect: Suspect, text: str = "") -> RowFinding:
    return RowFinding(partition=suspect.partition, key=suspect.key, text=text)


def _times(source: _Seen, target: _Seen) -> str:
    return f"{source.times} times at the source, {target.times} at the target"
