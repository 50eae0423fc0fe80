"""Whether two Milvus hold the same: collection by collection, row by row."""

from __future__ import annotations

from cdc_actors.compare.report import (
    CollectionReport,
    Finding,
    Kind,
    Report,
    RowFinding,
    Tally,
    Verdict,
)
from cdc_actors.compare.run import compare

__all__ = [
    "CollectionReport",
    "Finding",
    "Kind",
    "Report",
    "RowFinding",
    "Tally",
    "Verdict",
    "compare",
]
