"""Whether two Milvus hold the same: collection by collection, row by row."""

from __future__ import annotations

from cdc_actors.compare.collection import Cursor, Pair
from cdc_actors.compare.run import Comparison, begin, compare
from cdc_actors.compare.server import Endpoint
from cdc_actors.compare.settle import Repair
from cdc_actors.compare.sweep import MAX_PAGE_ROWS, Side
from cdc_actors.comparison_report import (
    CollectionReport,
    Finding,
    Kind,
    Report,
    RowFinding,
    Tally,
    Verdict,
)

__all__ = [
    "MAX_PAGE_ROWS",
    "CollectionReport",
    "Comparison",
    "Cursor",
    "Endpoint",
    "Finding",
    "Kind",
    "Pair",
    "Repair",
    "Report",
    "RowFinding",
    "Side",
    "Tally",
    "Verdict",
    "begin",
    "compare",
]
