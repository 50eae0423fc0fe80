"""Which keys of a range may differ, where rows come and go while they are read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pymilvus import DataType
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.compare.page import Page
from cdc_actors.compare.schema import Table
from cdc_actors.compare.sweep import Range, Side, Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TABLE = Table(
    name="t",
    key="id",
    types={"id": (DataType.INT64,), "n": (DataType.INT64,)},
    has_partition_key=False,
    page_rows=80,
)


class FakeServer:
    """Rows by key, each with a number, some of them more than once.

    ``written`` is what comes right after a page was read, and ``gone`` what goes then.
    """

    is_lite = False

    def __init__(
        self,
        keys: Iterable[int],
        *,
        changed: Iterable[int] = (),
        gone: Iterable[int] = (),
        written: Iterable[int] = (),
    ) -> None:
        self.rows = Counter(keys)
        self.counted = 0
        self._numbers = dict.fromkeys(changed, 1)
        self._gone, self._written = gone, written

    def begin_page(
        self, _table: Table, _partition: str, condition: str, _rows: int, _at: int
    ) -> Callable[[], Page]:
        """Return one row of each key; then rows come and go."""
        keys = sorted(self._matching(condition or "True"))
        page = Page("id", [_field("id", keys), _field("n", map(self._number, keys))], 1)
        for key in self._gone:
            self.rows.pop(key, None)
        self.rows.update(self._written)
        self._gone, self._written = (), ()
        return lambda: page

    def begin_count(
        self, _table: Table, _partition: str, condition: str, _at: int
    ) -> Callable[[], int]:
        """Return how many rows there are."""
        self.counted += 1
        return lambda: sum(self.rows[key] for key in self._matching(condition))

    def _matching(self, condition: str) -> list[int]:
        """A condition on an integer reads the same in Python."""
        return [key for key in self.rows if eval(condition, {"id": key})]  # noqa: S307

    def _number(self, key: int) -> int:
        return self._numbers.get(key, 0)


def _field(name: str, values: Iterable[int]) -> schema_pb2.FieldData:
    field = schema_pb2.FieldData(field_name=name, type=DataType.INT64)
    field.scalars.long_data.data.extend(values)
    return field


def swept(source: FakeServer, target: FakeServer) -> list[Range]:
    """Return the ranges of both."""
    sides = [Side(server, TABLE, ["_default"], 0) for server in (source, target)]
    return list(Sweep(*sides, most_rows=1_000).ranges("_default", None))


def test_a_copy_is_suspected() -> None:
    """Wherever it is, and however many there are."""
    [found] = swept(FakeServer(range(50)), FakeServer([*range(50), 7, 7, 49]))
    assert found.suspects == [7, 49]
    assert (found.source_rows, found.target_rows) == (50, 53)


def test_a_copy_is_suspected_though_as_many_rows_are_deleted_meanwhile() -> None:
    """The rows that are on their way are not counted with the others."""
    target = FakeServer([*range(50), 7, 7], changed=(1, 2), gone=(1, 2))
    [found] = swept(FakeServer(range(50)), target)
    assert found.suspects == [1, 2, 7]


def test_a_row_that_comes_between_reading_and_counting_is_no_copy() -> None:
    """There was no key to blame for it when the range was read."""
    target = FakeServer([*range(40), 49], written=(45,))
    [found] = swept(FakeServer([*range(40), 49]), target)
    assert found.suspects == []


def test_what_is_the_same_is_counted_once() -> None:
    """Where nothing is written a range takes one count at each side."""
    sides = FakeServer(range(50)), FakeServer(range(50))
    [found] = swept(*sides)
    assert found.suspects == []
    assert [each.counted for each in sides] == [1, 1]
