"""Collections that were set aside come back by a request, on real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import DataType, MilvusClient

from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import wait_until
from tests.support.servers import drop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.embedded.lite import EmbeddedLite
    from tests.support.cdc import Cdc

LIMIT = {"quotaAndLimits": {"limits": {"maxCollectionNum": 3}}}


@pytest.fixture
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMilvus]:
    """Yield a target that takes three collections."""
    folder = tmp_path_factory.mktemp("limited")
    with EmbeddedMilvus(folder, wanted=LIMIT) as server:
        yield server


def shown(cdc: Cdc, task: str, name: str) -> dict[str, Any]:
    """Return what the task shows of a collection."""
    found = [each for each in cdc.get(task)["collections"] if each["name"] == name]
    return found[0] if found else {"state": None, "reason": None}


def wait_state(cdc: Cdc, task: str, name: str, state: str, words: str = "") -> None:
    """Wait until a collection is in a state, for a reason with these words."""
    last: dict[str, Any] = {}

    def is_so() -> bool:
        last.update(shown(cdc, task, name))
        return last["state"] == state and words in str(last["reason"])

    try:
        wait_until(is_so, f"{name} is {state} {words}", 60)
    except AssertionError as error:
        error.add_note(f"shown last: {last}, {cdc.get(task)['health']}")
        raise


def replicate(cdc: Cdc, target: EmbeddedMilvus | EmbeddedLite) -> str:
    """Create a task of everything and return its id."""
    task: str = cdc.ask(
        "create",
        milvus_connect_param={"uri": target.uri},
        collection_infos=[{"name": "*"}],
    )["task_id"]
    return task


def make_anew(there: MilvusClient, key: int) -> None:
    """Drop the books of the target and make an equal collection, with one row."""
    drop(there, "books")
    Books(there).create(shards=2).insert([key])


def count(client: MilvusClient, name: str) -> int:
    """Return what a server counts."""
    found = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])


def test_what_was_dropped_renamed_or_made_anew_at_the_target(
    client: MilvusClient,
    emptied,
    source: EmbeddedMilvus,
    target: EmbeddedMilvus | EmbeddedLite,
    cdc: Cdc,
) -> None:
    """It comes from its beginning, with indexes and loaded; a neighbour is left alone."""
    there = emptied(target)
    books, papers = Books(client).create(shards=2), Books(client, "papers").create()
    books.insert(range(20))
    papers.insert(range(20))
    task = replicate(cdc, target)
    # With its index and loaded: a Lite that works on a collection drops half of it.
    wait_equal(source, target)
    drop(there, "books")
    books.insert(range(20, 30))
    wait_state(cdc, task, "books", "set_aside")
    books.delete(range(5))
    papers.delete(range(5))
    wait_keys(there, range(5, 20), "papers")
    status, answer = cdc.request(
        "retry", task_id=task, collection_infos=[{"name": "papers"}]
    )
    assert status == 409
    assert "no collection default.papers is set aside" in answer["message"]
    cdc.ask("retry", task_id=task, collection_infos=[{"name": "books"}])
    cdc.kill()
    cdc.start()
    wait_keys(there, range(5, 30))
    there.rename_collection("books", "moved")
    books.insert(range(30, 40))
    wait_state(cdc, task, "books", "set_aside", "it was dropped or renamed there")
    drop(there, "moved")
    there.create_collection("books", schema=small_schema())
    cdc.ask("retry", task_id=task)
    wait_state(cdc, task, "books", "set_aside", "with another schema")
    drop(there, "books")
    cdc.ask("pause", task_id=task)
    books.upsert(range(30, 35))
    cdc.ask("resume", task_id=task)
    wait_keys(there, range(5, 40))
    cdc.kill()
    make_anew(there, 99)
    cdc.start()
    words = "is not the one that the task has made"
    wait_state(cdc, task, "books", "set_aside", words)
    wait_until(lambda: words in str(cdc.get(task)["health"]["error"]), "it is degraded")
    cdc.ask("retry", task_id=task)
    wait_keys(there, [*range(5, 40), 99])
    Books(there).delete([99])
    wait_equal(source, target)
    assert [count(there, name) for name in ("books", "papers")] == [35, 15]
    assert shown(cdc, task, "books")["state"] == "live"
    events = cdc.ask("history", task_id=task)["events"]
    retried = [each for each in events if each["event"] == "collections_retried"]
    assert [each["who"]["kind"] for each in retried] == ["client"] * 4
    assert retried[0]["text"] == "taken up again from where they stood: default.books"
    there.close()


def test_more_collections_than_the_target_takes(
    client: MilvusClient, source: EmbeddedMilvus, limited: EmbeddedMilvus, cdc: Cdc
) -> None:
    """Once there is room, retry brings one, and pause and resume the other."""
    there = MilvusClient(limited.uri, dedicated=True)
    for name in ("own", "other"):
        there.create_collection(name, schema=small_schema())
    books = Books(client).create()
    books.insert(range(10))
    task = replicate(cdc, limited)
    wait_keys(there, range(10))
    maps, charts = Books(client, "maps").create(), Books(client, "charts").create()
    for each in (maps, charts):
        each.insert(range(10))
        wait_state(cdc, task, each.name, "set_aside")
    books.delete(range(3))
    maps.delete(range(3))
    wait_keys(there, range(3, 10))
    drop(there, "own")
    cdc.ask("retry", task_id=task, collection_infos=[{"name": "maps"}])
    wait_keys(there, range(3, 10), "maps")
    wait_state(cdc, task, "charts", "set_aside")
    drop(there, "other")
    cdc.ask("pause", task_id=task)
    charts.insert(range(10, 15))
    cdc.ask("resume", task_id=task)
    wait_keys(there, range(15), "charts")
    wait_equal(source, limited)
    assert count(there, "books") == count(there, "maps") == 7
    assert count(there, "charts") == 15
    states = {each["state"] for each in cdc.get(task)["collections"]}
    assert states == {"live"}
    there.close()


def small_schema() -> Any:
    """Return the schema of a collection of the operator's own."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    return schema
