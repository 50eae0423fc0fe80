"""``compare`` of a running service: what it finds while both sides are written to."""

from __future__ import annotations

import json
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from pymilvus import CollectionSchema, DataType, FieldSchema, MilvusClient

from cdc_actors.cli.main import main
from cdc_actors.grpc_common import NO_KEEPALIVE
from cdc_actors.service.comparison_state import ComparisonState
from cdc_actors.store.comparisons import ComparisonRows
from cdc_actors.store.event_log import TaskLog
from cdc_actors.target.rows import key_expression
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

BOOKS = "books"
ROWS = 3_000
SCHEMA = CollectionSchema(
    [
        FieldSchema("id", DataType.INT64, is_primary=True),
        FieldSchema("title", DataType.VARCHAR, max_length=64),
        FieldSchema("vector", DataType.FLOAT_VECTOR, dim=4),
    ],
    enable_dynamic_field=True,
)
NO_MAPPING: dict[str, Any] = {}
MAPPED = {
    "db_collections": {"default": [{"name": "*"}]},
    "name_mapping": [
        {
            "source_db": "default",
            "target_db": "default",
            "collection_mapping": {BOOKS: "buecher"},
        }
    ],
}


def rows(*keys: int, title: str = "a book") -> list[dict[str, Any]]:
    """Return rows of ``SCHEMA``."""
    vector = [0.1, 0.2, 0.3, 0.4]
    return [{"id": key, "title": title, "vector": vector, "n": key} for key in keys]


def create(client: MilvusClient, name: str, schema: CollectionSchema) -> None:
    """Create a collection with an index, and load it."""
    client.create_collection(name, schema=schema)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_index(name, indexes, sync=False)
    client.load_collection(name)


@pytest.fixture
def task_id(
    cdc: Cdc, client: MilvusClient, milvus: MilvusClient, target_milvus: EmbeddedMilvus
) -> str:
    """Return a task whose target has ``ROWS`` rows under another name of the collection."""
    create(client, BOOKS, SCHEMA)
    client.insert(BOOKS, rows(*range(ROWS)))
    task_id = cdc.create(target_milvus.uri, **MAPPED)
    cdc.wait_caught_up(task_id)
    wait_until(lambda: loaded(milvus, "buecher"), "the target has loaded it")
    return task_id


def loaded(client: MilvusClient, name: str) -> bool:
    """Tell whether a collection is there and can be read."""
    return bool(client.query(name, "id >= 0", limit=1))


def run(cdc: Cdc, task_id: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Run ``cdc-actors compare``; return its status and what it prints as JSON."""
    url = f"http://127.0.0.1:{cdc.port}"
    words = ["compare", task_id, "--url", url, "-o", "json", *options]
    done: Result = CliRunner().invoke(main, words)
    assert done.exit_code in {0, 3, 4}, done.output
    print(options, done.stdout)  # noqa: T201 - for who wonders about a failure
    return done.exit_code, json.loads(done.stdout)


def keys_of(report: dict[str, Any], kind: str) -> list[int]:
    """Return the keys that a report names of one kind of difference."""
    return [each["key"] for each in report[kind]["examples"]]


def test_what_differs_is_found_and_nothing_else(
    cdc: Cdc, task_id: str, milvus: MilvusClient
) -> None:
    """Equal first; then a row less, one more, one bit, and a copy: each is named."""
    status, found = run(cdc, task_id)
    assert (status, found["status"]) == (0, "equal"), found
    assert found["counts"]["rows"] == ROWS
    bit = [0.1, 0.2, 0.3, 0.4000000357627869]
    milvus.delete("buecher", ids=[1])
    milvus.insert("buecher", rows(ROWS + 1, 2))
    milvus.upsert("buecher", [{**rows(3)[0], "vector": bit}])
    status, found = run(cdc, task_id)
    [report] = found["reports"]
    assert (status, found["status"], report["verdict"]) == (3, *["different"] * 2)
    assert [
        keys_of(report, k) for k in ("missing", "extra", "different", "doubled")
    ] == [
        [1],
        [ROWS + 1],
        [3],
        [2],
    ]
    assert report["notes"] == ["is called default.buecher at the target"]
    last = cdc.ask("history", task_id=task_id)["events"][-1]
    assert (last["event"], last["content"]["outcome"]) == ("compared", "different")
    assert last["content"]["counts"]["missing"] == 1


@contextmanager
def writing(uri: str) -> Iterator[None]:
    """Insert, update and delete rows of the source all the while."""
    over = threading.Event()
    client = MilvusClient(uri, dedicated=True, grpc_options=NO_KEEPALIVE)

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            client.insert(BOOKS, rows(ROWS + number))
            client.upsert(
                BOOKS, rows(number % 97, ROWS - number % 97, title=str(number))
            )
            client.upsert(BOOKS, rows(100))
            client.delete(BOOKS, ids=[200 + number])

    thread = threading.Thread(target=write)
    with closing(client):
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def test_rows_on_their_way_are_no_difference(
    cdc: Cdc, task_id: str, milvus: MilvusClient, source: EmbeddedMilvus
) -> None:
    """While the source is written to, a row that the target lost is all that is found."""
    milvus.delete("buecher", ids=[2_500])
    with writing(source.uri):
        wait_until(lambda: cdc.get(task_id)["rows_applied"] > ROWS + 50, "rows flow")
        _, found = run(cdc, task_id)
    [report] = found["reports"]
    assert keys_of(report, "missing") == [2_500], found
    differing = ("extra", "different", "uneven", "settings")
    assert {kind: found["counts"][kind] for kind in differing} == dict.fromkeys(
        differing, 0
    )


def test_a_comparison_goes_on_after_a_kill(cdc: Cdc, task_id: str) -> None:
    """One at a time; killed in the middle, it goes on behind what was equal already."""
    asked = {"task_id": task_id, "rows_per_second": 600}
    assert cdc.ask("compare", **asked)["status"] == "running"
    assert cdc.request("compare", **asked)[0] == 409
    begun = cdc.ask("comparison", task_id=task_id)["began"]
    wait_until(
        lambda: state(cdc, task_id)["collection_rows"] >= 1_800, "it is half done"
    )
    cdc.kill()
    kept = rows_kept(cdc, task_id)
    cdc.start()
    wait_until(lambda: state(cdc, task_id)["collection_rows"], "it goes on")
    assert state(cdc, task_id)["collection_rows"] >= kept > 0
    wait_until(lambda: state(cdc, task_id)["ended"], "it ends")
    found = state(cdc, task_id)
    assert (found["began"], found["status"]) == (begun, "equal"), found
    assert found["counts"]["rows"] == ROWS
    events = cdc.ask("history", task_id=task_id)["events"]
    assert [event["event"] for event in events].count("compared") == 1


def rows_kept(cdc: Cdc, task_id: str) -> int:
    """Return up to where the store knows of the comparison; on a busy machine not all."""
    with closing(TaskLog.sqlite(cdc.folder / "cdc.db")) as log:
        stored = ComparisonRows(log).load_all()[task_id.replace("-", "")]
    return ComparisonState.decode(stored).view().collection_rows


def state(cdc: Cdc, task_id: str) -> dict[str, Any]:
    """Return how far the comparison is."""
    shown: dict[str, Any] = cdc.ask("comparison", task_id=task_id)
    return shown


def test_what_cannot_be_compared_is_said(
    cdc: Cdc, task_id: str, client: MilvusClient, milvus: MilvusClient
) -> None:
    """Cancelled, paused with rows that have not come, not loaded: each in its words."""
    cdc.ask("compare", task_id=task_id, rows_per_second=1)
    cdc.ask("cancel_comparison", task_id=task_id)
    wait_until(lambda: state(cdc, task_id)["status"] == "cancelled", "it is cancelled")
    assert cdc.request("cancel_comparison", task_id=task_id)[0] == 409
    assert cdc.request("comparison", task_id="0" * 32)[0] == 404
    asked = {"task_id": task_id, "db_collections": {"other": [{"name": "a"}]}}
    assert cdc.request("compare", **asked)[0] == 409
    cdc.ask("compare", task_id=task_id, collection_infos=[{"name": "boks"}])
    wait_until(
        lambda: state(cdc, task_id)["status"] == "failed", "nothing has the name"
    )
    assert "no collection default.boks" in state(cdc, task_id)["error"]
    cdc.ask("pause", task_id=task_id)
    client.insert(BOOKS, rows(ROWS + 1))
    status, found = run(cdc, task_id)
    assert (status, found["status"], found["counts"]["unsettled"]) == (
        4,
        "undecided",
        1,
    )
    milvus.release_collection("buecher")
    status, found = run(cdc, task_id)
    [report] = found["reports"]
    assert (status, [each["kind"] for each in report["findings"]]) == (
        4,
        ["load", "unread"],
    )


def test_what_differs_is_repaired_while_rows_are_written(
    cdc: Cdc, task_id: str, milvus: MilvusClient, source: EmbeddedMilvus
) -> None:
    """Rows less, changed, doubled and in the way are mended; what is extra only if asked.

    Among them are keys that the source writes at that moment.
    """
    milvus.delete("buecher", ids=[*range(7), *range(1_000, 1_200)])
    milvus.insert("buecher", rows(-1, 2_000, 2_000))
    milvus.upsert("buecher", rows(*range(2_100, 2_300), title="another"))
    with writing(source.uri):
        _, found = run(cdc, task_id, "--repair")
    cdc.wait_caught_up(task_id)
    # A row that is written again and again may not stand still in time: then it is told.
    told = "missing", "different", "uneven", "unsettled"
    if any(found["counts"][kind] for kind in told):
        run(cdc, task_id, "--repair")
    status, found = run(cdc, task_id)
    [report] = found["reports"]
    assert (status, keys_of(report, "extra"), report["repaired"]) == (3, [-1], 0), found
    wrong = {**found["counts"], "extra": 0, "rows": 0}
    assert wrong == dict.fromkeys(wrong, 0), found
    status, found = run(cdc, task_id, "--repair", "--delete-extra")
    assert (status, found["counts"]["repaired"]) == (0, 1), found
    events = cdc.ask("history", task_id=task_id)["events"]
    first, *_, last = [each for each in events if each["event"] == "compared"]
    assert first["content"]["counts"]["repaired"] >= 400
    assert last["content"]["delete_extra"]


def test_what_milvus_lite_lacks_is_repaired_in_every_partition(
    cdc: Cdc, client: MilvusClient, lite: MilvusClient, target_lite: EmbeddedLite
) -> None:
    """Named partitions with text keys, and a partition key: rows come where they belong."""
    vector = FieldSchema("vector", DataType.FLOAT_VECTOR, dim=4)
    text = FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=64)
    number = FieldSchema("id", DataType.INT64, is_primary=True)
    shelf = FieldSchema("shelf", DataType.INT64, is_partition_key=True)
    about = FieldSchema("about", DataType.JSON)
    schemas = {
        "named": CollectionSchema([text, about, vector], enable_dynamic_field=True),
        "divided": CollectionSchema([number, shelf, vector]),
    }
    for name, schema in schemas.items():
        create(client, name, schema)
    client.create_partition("named", "a")
    keys = ["", "it's", 'a "quote"', "line\nend", "\U0001f4da"]
    values = [0.1, 0.2, 0.3, 0.4]
    some = [{"id": key, "about": {"k": [key, 1.5]}, "vector": values} for key in keys]
    for partition, suffix in (("_default", ""), ("a", "a")):
        written = [{**row, "id": row["id"] + suffix, "c": suffix} for row in some]
        client.insert("named", written, partition_name=partition)
    client.insert(
        "divided", [{"id": k, "shelf": k, "vector": values} for k in range(9)]
    )
    task_id = cdc.create(target_lite.uri)
    cdc.wait_caught_up(task_id)
    for name in schemas:
        wait_until(lambda name=name: bool(lite.query(name, limit=1)), "it is loaded")
    two = key_expression("id", ["it'sa", "line\nend"], lite=True)

    def damaged() -> bool:
        """One of the two is now and then there again."""
        lite.delete("named", filter=two)
        lite.upsert("named", {**some[0], "about": {}}, partition_name="_default")
        lite.delete("divided", ids=[3, 4])
        changed = lite.query("named", filter='id == ""', output_fields=["about"])
        left = lite.query("named", filter=two) + lite.query("divided", ids=[3, 4])
        return not left and [each["about"] for each in changed] == [{}]

    wait_until(damaged, "the target lacks four rows, and one differs")
    status, found = run(cdc, task_id, "--repair")
    assert (status, found["counts"]["repaired"]) == (0, 5), found
    assert run(cdc, task_id)[0] == 0
