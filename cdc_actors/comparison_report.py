"""What a comparison found, for programs and for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cdc_actors.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = 10
"""How many rows of each kind of difference a report names."""


class Kind(StrEnum):
    """What a difference between the collections themselves is about."""

    COLLECTION = "collection"
    SCHEMA = "schema"
    PARTITION = "partition"
    ALIAS = "alias"
    INDEX = "index"
    LOAD = "load"
    UNREAD = "unread"


class Verdict(StrEnum):
    """What a comparison comes to.

    ``UNDECIDED``: nothing is known to differ, but not all could be read, or changed all the
    while. The worst is last.
    """

    EQUAL = "equal"
    UNDECIDED = "undecided"
    DIFFERENT = "different"


_CONTENT = frozenset(Kind) - {Kind.INDEX, Kind.LOAD, Kind.UNREAD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference between the collections themselves, in words."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFinding:
    """One row that differs. ``partition`` is empty where a partition key rules."""

    partition: str
    key: int | str
    text: str = ""

    def __str__(self) -> str:
        where = f"{self.partition} / " if self.partition else ""
        what = f": {self.text}" if self.text else ""
        return f"{where}{self.key!r}{what}"


@dataclass(slots=True)
class Tally:
    """How many rows differ in one way, and the first of them."""

    count: int = 0
    examples: list[RowFinding] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether those to come are only counted."""
        return len(self.examples) >= EXAMPLES

    def add(self, row: RowFinding) -> None:
        """Count a row; keep it if it is among the first."""
        self.count += 1
        if not self.is_full:
            self.examples.append(row)


@dataclass(slots=True, kw_only=True)
class CollectionReport:
    """How one collection compares.

    Attributes:
        source_rows: Rows at the source, each of a doubled key counted; None if unknown.
        target_rows: The same at the target, with what was repaired.
        missing: Rows that only the source has.
        extra: Rows that only the target has.
        different: Rows that both have under one key, with other content.
        doubled: Keys that occur more than once in a partition, at either side. Milvus
            shows one row of such a key and hides the others, so only their number is
            compared.
        uneven: How many of the doubled keys occur more often at one side.
        unsettled: Rows that differed, but may have been on their way.
        repaired: Rows that differed, were sent, and are the same now.
        findings: Differences between the collections themselves.
        notes: What is not as at the source, and rightly so.
    """

    database: str
    name: str
    source_rows: int | None = None
    target_rows: int | None = None
    missing: Tally = field(default_factory=Tally)
    extra: Tally = field(default_factory=Tally)
    different: Tally = field(default_factory=Tally)
    doubled: Tally = field(default_factory=Tally)
    uneven: int = 0
    unsettled: Tally = field(default_factory=Tally)
    repaired: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """What it comes to. Indexes and load state do not count."""
        if self.differences or any(each.kind in _CONTENT for each in self.findings):
            return Verdict.DIFFERENT
        if self.unsettled.count or self.findings_of(Kind.UNREAD):
            return Verdict.UNDECIDED
        return Verdict.EQUAL

    @property
    def equal(self) -> bool:
        """Whether both sides are known to hold the same."""
        return self.verdict is Verdict.EQUAL

    @property
    def differences(self) -> int:
        """How many rows differ."""
        rows = self.missing.count + self.extra.count + self.different.count
        return rows + self.uneven

    def findings_of(self, kind: Kind) -> list[Finding]:
        """Return the differences of one kind."""
        return [finding for finding in self.findings if finding.kind is kind]

    def find(self, kind: Kind, text: str) -> None:
        """Add a difference between the collections themselves."""
        self.findings.append(Finding(kind=kind, text=text))

    def lines(self) -> Iterator[str]:
        """Yield the report as lines for people."""
        yield f"{self.database}.{self.name}: {_WORDS[self.verdict]}, {self._rows()}"
        for finding in self.findings:
            yield f"  {finding.kind}: {finding.text}"
        for title, tally in self._tallies():
            yield from _tally_lines(title, tally)
        if self.repaired:
            yield f"  repaired: {self.repaired:,}"
        for note in self.notes:
            yield f"  note: {note}"

    def _rows(self) -> str:
        if self.source_rows is None and self.target_rows is None:
            return "rows not compared"
        if self.source_rows is not None and self.source_rows == self.target_rows:
            return counted(self.source_rows, "row")
        return f"rows: {_number(self.source_rows)} -> {_number(self.target_rows)}"

    def _tallies(self) -> Iterator[tuple[str, Tally]]:
        yield "missing at the target", self.missing
        yield "only at the target", self.extra
        yield "other content", self.different
        yield "key occurs more than once", self.doubled
        yield "not settled, may be on their way", self.unsettled


@dataclass(slots=True, kw_only=True)
class Report:
    """How two Milvus compare."""

    collections: list[CollectionReport] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """That of the worst collection."""
        verdicts = [collection.verdict for collection in self.collections]
        return max(verdicts, key=list(Verdict).index, default=Verdict.EQUAL)

    @property
    def equal(self) -> bool:
        """Whether every collection is equal. Indexes and load state do not count."""
        return self.verdict is Verdict.EQUAL

    def of(self, kind: Kind) -> list[Finding]:
        """Return the differences of one kind, of all collections."""
        return [f for each in self.collections for f in each.findings_of(kind)]

    def lines(self) -> Iterator[str]:
        """Yield the report as lines for people, the verdict last."""
        for collection in self.collections:
            yield from collection.lines()
        counts = Counter(collection.verdict for collection in self.collections)
        total = len(self.collections)
        rows = sum(collection.source_rows or 0 for collection in self.collections)
        if counts[Verdict.DIFFERENT]:
            yield f"{counts[Verdict.DIFFERENT]} of {total} collections differ."
        if counts[Verdict.UNDECIDED]:
            yield f"{counts[Verdict.UNDECIDED]} of {total} collections are undecided."
        if not total:
            yield "Nothing to compare: neither side has a collection that is selected."
        elif self.equal:
            yield f"Equal: {counted(total, 'collection')}, {counted(rows, 'row')}."

    def __str__(self) -> str:
        return "\n".join(self.lines())


_WORDS = {
    Verdict.EQUAL: "equal",
    Verdict.UNDECIDED: "UNDECIDED",
    Verdict.DIFFERENT: "DIFFERENT",
}


def _number(rows: int | None) -> str:
    return "unknown" if rows is None else f"{rows:,}"


def _tally_lines(title: str, tally: Tally) -> Iterator[str]:
    if not tally.count:
        return
    yield f"  {title}: {tally.count:,}"
    for row in tally.examples:
        yield f"    {row}"
    if tally.count > len(tally.examples):
        yield f"    ... and {tally.count - len(tally.examples):,} more"
