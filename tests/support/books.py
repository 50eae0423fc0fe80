"""One small collection for tests of the service: books by number, with a text each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from cdc_actors.compare import compare
from cdc_actors.errors import CdcError
from tests.support.accounts import ROOT
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

DIM = 4
TIMEOUT = 60.0


class Books:
    """One collection at the source. Used by one thread."""

    def __init__(self, client: MilvusClient, name: str = "books") -> None:
        self.client = client
        self.name = name

    def create(
        self,
        *,
        index: bool = True,
        vector: DataType = DataType.FLOAT_VECTOR,
        shards: int = 1,
        **more: Any,
    ) -> Books:
        """Create the collection, with an index and loaded unless told otherwise.

        ``more`` are columns of the kind VARCHAR, by name, with their longest lengths.
        """
        schema = MilvusClient.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        for name, longest in {"title": 64, **more}.items():
            schema.add_field(name, DataType.VARCHAR, max_length=longest)
        schema.add_field("vector", vector, dim=DIM * 2)
        self.client.create_collection(
            self.name, schema=schema, num_shards=shards, timeout=TIMEOUT
        )
        if index:
            self.index()
            self.client.load_collection(self.name, timeout=TIMEOUT)
        return self

    def index(self) -> None:
        """Create the index of the vectors."""
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("vector", index_type="FLAT", metric_type="L2")
        # The client would look for what is built after half a second only.
        self.client.create_index(self.name, indexes, timeout=TIMEOUT, sync=False)

    def insert(self, keys: Iterable[int], partition: str = "", **more: str) -> None:
        """Insert a book for each key."""
        self.client.insert(
            self.name,
            [book(key, **more) for key in keys],
            partition_name=partition or None,
            timeout=TIMEOUT,
        )

    def upsert(self, keys: Iterable[int], **more: str) -> None:
        """Write books again, in other words."""
        rows = [book(key, **more) | {"title": f"{key}, revised"} for key in keys]
        self.client.upsert(self.name, rows, timeout=TIMEOUT)

    def delete(self, keys: Iterable[int]) -> None:
        """Delete the books of these keys."""
        self.client.delete(self.name, filter=f"id in {list(keys)}", timeout=TIMEOUT)


def book(key: int, **more: str) -> dict[str, Any]:
    """Return the row of one book."""
    vector = [key % 97 / 7 + place for place in range(DIM * 2)]
    return {"id": key, "title": f"book {key}", "vector": vector, **more}


def keys(client: MilvusClient, name: str = "books") -> list[int]:
    """Return the keys that a loaded collection has, in order, each as often as it is."""
    rows = client.query(
        name,
        "id >= 0",
        output_fields=["id"],
        consistency_level="Strong",
        timeout=TIMEOUT,
    )
    return sorted(row["id"] for row in rows)


def wait_keys(
    client: MilvusClient,
    wanted: Iterable[int],
    name: str = "books",
    timeout: float = 90,
) -> None:
    """Wait until a collection is there, loaded, and has these keys and no others."""
    expected = sorted(wanted)
    seen: list[str] = []

    def has_them() -> bool:
        try:
            found = keys(client, name)
        except MilvusException as error:
            found, seen[:] = [], [str(error)]
        else:
            seen[:] = [f"it has {found}"]
        return found == expected

    try:
        wait_until(has_them, f"{name} has {len(expected)} keys", timeout)
    except AssertionError as late:
        late.add_note(seen[0])
        raise


def wait_equal(
    source: EmbeddedMilvus,
    target: EmbeddedMilvus | EmbeddedLite,
    selected: Callable[[str, str], bool] = lambda _database, _name: True,
    timeout: float = 90,
    or_else: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until both sides hold the same, or until something else is so."""
    last = ["never compared"]

    def equal() -> bool:
        try:
            report = compare(
                source.uri, "", target.uri, ROOT, databases_selected=selected, load=True
            )
        except CdcError as error:
            last[0] = str(error)
            return False
        last[0] = str(report)
        return report.equal

    try:
        wait_until(lambda: or_else() or equal(), "both sides are equal", timeout)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last[0]}") from None
