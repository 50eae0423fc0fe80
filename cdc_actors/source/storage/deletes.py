"""When keys were last deleted. Pure; whole columns at a time, as there may be millions."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from cdc_actors.changes import Key

Said: TypeAlias = "tuple[Sequence[Key], Sequence[int]]"
"""Keys, some of them more than once, and when each was deleted (hybrid timestamps)."""


@dataclass(frozen=True, slots=True)
class LastDeletes:
    """Keys, each once, and when each was last deleted."""

    keys: pa.Array
    times: pa.Array

    @classmethod
    def of(cls, kind: pa.DataType, said: Iterable[Said], until: int) -> LastDeletes:
        """Return the last deletes up to a moment, of keys that Arrow has as ``kind``."""
        tables = [_table(kind, *each) for each in said]
        schema = pa.schema({"key": kind, "time": pa.uint64()})
        whole = pa.concat_tables(tables) if tables else schema.empty_table()
        known = whole.filter(pc.field("time") <= pa.scalar(until, pa.uint64()))
        last = known.group_by("key", use_threads=False).aggregate([("time", "max")])
        found = last.combine_chunks()
        return cls(_one(found["key"], kind), _one(found["time_max"], pa.uint64()))

    def note(self, keys: pa.Array, latest: NDArray[np.uint64]) -> None:
        """Raise ``latest`` to when each of some keys was deleted, where it was."""
        if not len(self.keys):
            return
        times = self.times.take(pc.index_in(keys, value_set=self.keys))
        np.maximum(latest, pc.fill_null(times, 0).to_numpy(), out=latest)


def _table(kind: pa.DataType, keys: Sequence[Key], times: Sequence[int]) -> pa.Table:
    return pa.table({"key": _column(keys, kind), "time": _column(times, pa.uint64())})


def _column(values: Sequence[Key], kind: pa.DataType) -> pa.Array:
    return pa.array(np.asarray(values) if isinstance(values, array) else values, kind)


def _one(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], kind)
