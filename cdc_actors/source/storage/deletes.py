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

Values: TypeAlias = "Sequence[Key] | pa.Array"

Said: TypeAlias = "tuple[Values, Values]"
"""Keys, some of them more than once, and when each was deleted (hybrid timestamps)."""


@dataclass(frozen=True, slots=True)
class LastDeletes:
    """Keys, each once and in order, and when each was last deleted."""

    keys: pa.Array
    times: pa.Array

    @classmethod
    def of(cls, kind: pa.DataType, said: Iterable[Said], until: int) -> LastDeletes:
        """Return the last deletes up to a moment, of keys that Arrow has as ``kind``."""
        tables = [_table(kind, *each) for each in said]
        schema = pa.schema({"key": kind, "time": pa.uint64()})
        whole = pa.concat_tables(tables) if tables else schema.empty_table()
        known = whole.filter(pc.field("time") <= pa.scalar(until, pa.uint64()))
        # Groups would take three times as much memory.
        found = known.sort_by([("key", "ascending"), ("time", "ascending")])
        keys = _one(found["key"], kind)
        last = pc.not_equal(keys[:-1], keys[1:]).to_numpy(zero_copy_only=False)
        chosen = pa.array(np.flatnonzero(np.append(last, [True] * bool(len(keys)))))
        return cls(keys.take(chosen), _one(found["time"], pa.uint64()).take(chosen))

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return int(self.keys.nbytes + self.times.nbytes)

    def note(self, keys: pa.Array, latest: NDArray[np.uint64]) -> None:
        """Raise ``latest`` to when each of some keys was deleted, where it was."""
        if not len(self.keys):
            return
        times = self.times.take(self._places(keys))
        np.maximum(latest, pc.fill_null(times, 0).to_numpy(), out=latest)

    def _places(self, keys: pa.Array) -> pa.Array:
        """Return where some keys stand here, null where they do not."""
        if not pa.types.is_integer(keys.type):
            return pc.index_in(keys, value_set=self.keys)
        own, wanted = self.keys.to_numpy(), keys.to_numpy()
        places = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
        return pa.array(places, mask=own[places] != wanted)


def _table(kind: pa.DataType, keys: Values, times: Values) -> pa.Table:
    return pa.table({"key": _column(keys, kind), "time": _column(times, pa.uint64())})


def _column(values: Values, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values.cast(kind)
    return pa.array(np.asarray(values) if isinstance(values, array) else values, kind)


def _one(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], kind)
