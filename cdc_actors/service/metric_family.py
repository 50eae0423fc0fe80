"""Metric families, light enough that thousands of series are made for one scrape.

Those of prometheus-client make an object and a dictionary of each sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = tuple[tuple[str, ...], float]
"""The values of the labels of one series, and its own."""


@dataclass(frozen=True, slots=True)
class Family:
    """Series of one name. ``name`` is without ``_total`` or ``_info``, ``text`` of a line.

    ``labels`` are the names of the labels; each row has as many values. Rows may be made
    while they are read, once.
    """

    kind: Literal["gauge", "counter", "info"]
    name: str
    text: str
    labels: tuple[str, ...]
    rows: Iterable[Row]
