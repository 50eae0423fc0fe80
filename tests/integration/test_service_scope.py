"""A target that has something against one collection, and the others beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.forwarder import Forwarder

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

UNCLEAR = (1, 500, 108, 65535)
NULL = 6
"""The key of a row that Milvus Lite does not take."""

REFUSED = 44
"""The key of one that the way to it refuses."""


class Refusing:
    """Answers what is asked about one collection with codes that say nothing."""

    def __init__(self, method: str, name: str) -> None:
        self.answers = 0
        self._about = method, name

    def __call__(self, method: str, request: bytes) -> bytes | None:
        """Return the answer to a request, if it is such a one."""
        if method != self._about[0]:
            return None
        message = getattr(milvus_pb2, f"{method}Request").FromString(request)
        if message.collection_name != self._about[1]:
            return None
        code = UNCLEAR[self.answers % len(UNCLEAR)]
        self.answers += 1
        status = common_pb2.Status(code=code, error_code=1, reason="it did not work")
        answer = milvus_pb2.MutationResult(status=status)
        return bytes((answer if method == "Insert" else status).SerializeToString())


def refuse_row(method: str, request: bytes) -> bytes | None:
    """Refuse, clearly, an insert that has a row of one key."""
    if method != "Insert":
        return None
    columns = milvus_pb2.InsertRequest.FromString(request).fields_data
    if not any(REFUSED in each.scalars.long_data.data for each in columns):
        return None
    status = common_pb2.Status(code=1100, error_code=1, reason="invalid parameter")
    return bytes(milvus_pb2.MutationResult(status=status).SerializeToString())


def test_a_collection_is_tried_again_beside_the_others(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """Rows of the others come while inserts into one are answered unclearly, then its own.

    So with a drop. One row that the target never takes sets its collection aside alone.
    """
    books, papers = Books(client).create(), Books(client, "papers").create()
    notes(client)
    with Forwarder(target_lite.uri) as way:
        task = cdc.create(way.uri)
        wait_keys(lite, [], "books")
        refusing = way.refuse = Refusing("Insert", "books")
        books.insert(range(10))
        client.insert("notes", [note(key) for key in range(10)])
        wait_until(lambda: refusing.answers > 0, "books are refused")
        for first in range(0, 30, 10):
            papers.insert(range(first, first + 10))
            wait_keys(lite, range(first + 10), "papers")
        Books(client, "new").create().insert(range(3))
        wait_keys(lite, range(3), "new")
        tries = refusing.answers
        wait_until(lambda: refusing.answers > tries, "books are tried again")
        assert count(lite, "books") == 0
        shown = shown_by(cdc, task)
        assert shown["books"]["state"] == "retrying"
        assert "it did not work" in shown["books"]["reason"]
        books.delete([3])
        refusing = way.refuse = Refusing("DropCollection", "new")
        client.drop_collection("new")
        wait_keys(lite, [key for key in range(10) if key != 3], "books")
        wait_until(lambda: refusing.answers > 1, "the drop is asked for again")
        papers.insert(range(30, 40))
        wait_keys(lite, range(40), "papers")
        way.refuse = lambda _method, _request: None
        wait_until(lambda: not lite.has_collection("new"), "it is dropped")
        wait_equal(source, target_lite, lambda _database, name: name != "notes")
        for name in ("books", "papers"):
            assert count(lite, name) == count(client, name)
        is_aside = "set_aside"
        wait_until(lambda: shown_by(cdc, task)["notes"]["state"] == is_aside, is_aside)
        shown = shown_by(cdc, task)
        assert (
            f"not the row with the key {NULL}: the target" in shown["notes"]["reason"]
        )
        assert {shown[name]["state"] for name in ("books", "papers")} == {"live"}
        way.refuse = refuse_row
        papers.insert(range(40, 50))
        said = (
            f"not the row with the key {REFUSED}: the target answers Insert with code"
        )
        wait_until(lambda: said in str(shown_by(cdc, task)["papers"]["reason"]), said)
        way.refuse = lambda _method, _request: None
        cdc.ask("retry", task_id=task, collection_infos=[{"name": "papers"}])
        wait_keys(lite, range(50), "papers")
        assert count(lite, "papers") == 50


def notes(client: MilvusClient) -> None:
    """Create a collection with a column of JSON."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("meta", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection("notes", schema=schema)


def note(key: int) -> dict[str, object]:
    """Return a row, which has a null where the target takes none."""
    meta: object = "null" if key == NULL else {"key": key}
    return {"id": key, "meta": meta, "vector": [1.0, 2.0]}


def shown_by(cdc: Cdc, task: str) -> dict[str, dict[str, str]]:
    """Return the collections that the API shows of a task, by name."""
    return {each["name"]: each for each in cdc.get(task)["collections"]}


def count(client: MilvusClient, name: str) -> int:
    """Return what the server counts."""
    found = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])
