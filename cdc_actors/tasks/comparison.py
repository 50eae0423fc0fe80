"""What a comparison of a task's source with its target came to, as the log keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResult:
    """The attributes of ``TaskCompared``.

    Attributes:
        outcome: ``equal``, ``different``, ``undecided`` (not all could be read, or changed
            all the while), ``cancelled`` or ``failed``.
        began: When it began, in ISO 8601.
        selection: Which collections were asked for, ``database.name``; none means all.
        repair: Whether what differed was to be repaired.
        delete_extra: Whether what only the target had was to be deleted there.
        counts: How many ``collections``, and ``rows`` of the source, were compared, and how
            many rows were found to differ, in which way.
        differing: The first collections that differ, ``database.name``.
        error: Why it failed.
    """

    outcome: str
    began: str
    selection: list[str]
    repair: bool
    delete_extra: bool
    counts: dict[str, int]
    differing: list[str] = field(default_factory=list)
    error: str | None = None
