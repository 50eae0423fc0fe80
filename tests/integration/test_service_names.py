"""Which collections go where: selections, names at the target, several tasks on one."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from pymilvus import MilvusClient
from pymilvus.client.types import LoadState

from cdc_actors.store.event_log import TaskLog
from cdc_actors.tasks import OperationApplied
from tests.support.books import TIMEOUT, Books, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.scenario import Scenario

EVERYTHING = {"*": [{"name": "*"}]}
BOTH = pytest.mark.parametrize(
    "target", ["milvus", pytest.param("lite", marks=pytest.mark.thorough)]
)


@pytest.fixture
def server(
    target: str, request: pytest.FixtureRequest
) -> EmbeddedMilvus | EmbeddedLite:
    """Return the target that a test is to run against."""
    return request.getfixturevalue(f"target_{target}")


def of_database(
    server: EmbeddedMilvus | EmbeddedLite, database: str
) -> closing[MilvusClient]:
    """Return a client of one database, to be closed."""
    return closing(MilvusClient(server.uri, db_name=database, dedicated=True))


def rows(client: MilvusClient, name: str) -> list[dict[str, Any]]:
    """Return all rows of a loaded collection, vectors included, by key."""
    found = client.query(
        name,
        "id >= 0",
        output_fields=["*"],
        consistency_level="Strong",
        timeout=TIMEOUT,
    )
    return sorted(found, key=lambda row: row["id"])


def shown(cdc: Cdc, task: str) -> dict[str, tuple[str, str]]:
    """Return state and target of each collection, by its name at the source."""
    return {
        f"{each['database']}.{each['name']}": (
            each["state"],
            f"{each['target_database']}.{each['target_name']}",
        )
        for each in cdc.get(task)["collections"]
    }


@BOTH
def test_names_at_the_target(
    server: EmbeddedMilvus | EmbeddedLite, source: EmbeddedMilvus, emptied, cdc: Cdc
) -> None:
    """A database and a collection have other names there, all their life, over a kill."""
    with (
        closing(emptied(source)) as client,
        closing(emptied(server)) as other,
    ):
        client.create_database("shop")
        with of_database(source, "shop") as shop:
            books, sold = Books(client).create(), Books(shop).create()
            books.insert(range(20))
            sold.insert(range(10))
            plain = Books(client, "plain").create()
            plain.insert(range(3))
            task = cdc.create(
                server.uri,
                db_collections=EVERYTHING,
                name_mapping=[
                    {"source_db": "shop", "target_db": "store"},
                    {
                        "source_db": "default",
                        "target_db": "default",
                        "collection_mapping": {"books": "library"},
                    },
                ],
            )
            wait_keys(other, range(20), "library")
            cdc.kill()
            client.create_partition("books", "fiction")
            books.insert(range(20, 30), partition="fiction")
            books.delete(range(5))
            books.upsert(range(5, 8))
            sold.delete(range(5))
            client.flush("books")
            cdc.start()
            wait_keys(other, range(5, 30), "library")
            # Lite shows rows before their index has come, and is loaded again after it.
            wait_until(
                lambda: rows(other, "library") == rows(client, "books"),
                "the rows are equal",
            )
            assert "fiction" in other.list_partitions("library")
            wait_keys(other, range(3), "plain")
            assert sorted(other.list_collections()) == ["library", "plain"]
            with of_database(server, "store") as store:
                wait_keys(store, range(5, 10))
                assert rows(store, "books") == rows(shop, "books")
                assert store.list_indexes("books") == ["vector"]
                shop.release_collection("books")
                wait_until(
                    lambda: store.get_load_state("books")["state"] == LoadState.NotLoad,
                    "it is released",
                )
                assert shown(cdc, task) == {
                    "default.books": ("live", "default.library"),
                    "default.plain": ("live", "default.plain"),
                    "shop.books": ("live", "store.books"),
                }
                shop.drop_collection("books")
                wait_until(lambda: not store.has_collection("books"), "it is dropped")
            client.drop_database("shop")
        wait_until(lambda: "store" not in other.list_databases(), "the database goes")
        assert "shop" not in other.list_databases()
        client.drop_collection("books")
        books.create(isbn=20)
        books.insert(range(7), isbn="an isbn")
        wait_keys(other, range(7), "library")
        assert rows(other, "library") == rows(client, "books")


def test_one_collection_of_a_database_and_one_of_every(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """A name in one database, and a name in any, are what is replicated, and no more."""
    client.create_database("shop")
    with of_database(source, "shop") as shop:
        for each, name in ((client, "a"), (client, "b"), (shop, "a"), (shop, "b")):
            Books(each, name).create().insert(range(3))
        Books(shop, "c").create()
        task = cdc.create(
            target_lite.uri,
            db_collections={"shop": [{"name": "a"}], "*": [{"name": "b"}]},
        )
    wait_keys(lite, range(3), "b")
    with of_database(target_lite, "shop") as there:
        wait_keys(there, range(3), "a")
        wait_keys(there, range(3), "b")
        assert sorted(there.list_collections()) == ["a", "b"]
    assert lite.list_collections() == ["b"]
    assert shown(cdc, task).keys() == {"default.b", "shop.a", "shop.b"}
    assert cdc.get(task)["databases"] == [
        {"name": "shop", "target_name": "shop", "whole": False},
        {"name": "default", "target_name": "default", "whole": False},
    ]


def test_two_tasks_of_one_target(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """A wildcard leaves out what another task names; what is deleted may be named again."""
    one = {"collection_infos": [{"name": "books"}]}
    first = cdc.create(target_lite.uri, **one)
    rest = cdc.create(target_lite.uri)
    cdc.kill()
    cdc.start()
    assert cdc.get(rest)["excludes"] == [{"database": "default", "name": "books"}]
    assert refused(cdc, target_lite, **one).endswith(
        "the collection name is duplicate with existing task, [default.books], "
        f"task_id: {first}"
    )
    assert "[default.other]" in refused(
        cdc, target_lite, collection_infos=[{"name": "other"}]
    )
    books, other = Books(client).create(), Books(client, "other").create()
    books.insert(range(3))
    other.insert(range(4))
    wait_keys(lite, range(3))
    wait_keys(lite, range(4), "other")
    assert shown(cdc, first).keys() == {"default.books"}
    assert shown(cdc, rest).keys() == {"default.other"}
    cdc.ask("delete", task_id=first)
    books.insert(range(3, 6))
    other.insert(range(4, 8))
    wait_keys(lite, range(8), "other")
    assert shown(cdc, rest).keys() == {"default.other"}
    again = cdc.create(target_lite.uri, task_id=uuid4().hex, **one)
    assert cdc.create(target_lite.uri, task_id=again, **one) == again
    wait_keys(lite, range(6))


def refused(cdc: Cdc, target: EmbeddedLite, **data: Any) -> str:
    """Return why such a create is a conflict."""
    param = {"uri": target.uri}
    status, answer = cdc.request("create", milvus_connect_param=param, **data)
    assert status == 409, answer
    return answer["message"]


def test_two_collections_that_would_have_one_name(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """The later one is set aside; once the first is gone the name is free."""
    task = cdc.create(
        target_lite.uri,
        db_collections={"default": [{"name": "*"}]},
        name_mapping=[
            {
                "source_db": "default",
                "target_db": "default",
                "collection_mapping": {"a": "b"},
            }
        ],
    )
    Books(client, "a").create().insert(range(3))
    wait_keys(lite, range(3), "b")
    later = Books(client, "b").create()
    later.insert(range(10))
    wait_until(
        lambda: shown(cdc, task).get("default.b") == ("set_aside", "default.b"),
        "the later one is set aside",
    )
    (reason,) = [c["reason"] for c in cdc.get(task)["collections"] if c["name"] == "b"]
    assert "default.b would be default.b at the target, which default.a is" in reason
    Books(client, "a").insert(range(3, 5))
    wait_keys(lite, range(5), "b")
    cdc.kill()
    client.drop_collection("a")
    client.drop_collection("b")
    later.create()
    later.insert(range(7))
    cdc.start()
    wait_keys(lite, range(7), "b")
    assert [each["name"] for each in cdc.get(task)["collections"]] == ["b"]


def test_what_is_set_aside_is_shown_until_it_is_dropped(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """Once the source has dropped it, it goes; also if the service was down meanwhile."""
    names = {"source_db": "default", "target_db": "default"}
    mapping = names | {"collection_mapping": {"a": "b"}}
    selected = {"default": [{"name": "*"}]}
    task = cdc.create(target_lite.uri, db_collections=selected, name_mapping=[mapping])
    Books(client, "a").create().insert(range(3))
    wait_keys(lite, range(3), "b")

    def state() -> str:
        return shown(cdc, task).get("default.b", ("gone", ""))[0]

    for down in (False, True):
        Books(client, "b").create(index=False)
        wait_until(lambda: state() == "set_aside", "the later one is set aside")
        if down:
            cdc.kill()
        client.drop_collection("b")
        if down:
            cdc.start()
        wait_until(lambda: state() == "gone", "it is shown no longer")
    assert shown(cdc, task) == {"default.a": ("live", "default.b")}


@BOTH
def test_two_databases_made_one(
    server: EmbeddedMilvus | EmbeddedLite, source: EmbeddedMilvus, emptied, cdc: Cdc
) -> None:
    """A database that goes takes nothing with it of another that has the same target."""
    with closing(emptied(source)) as client, closing(emptied(server)) as other:
        for database in ("one", "two"):
            client.create_database(database)
        with (
            of_database(source, "one") as one,
            of_database(source, "two") as two,
        ):
            Books(one, "a").create().insert(range(3))
            Books(two, "b").create().insert(range(4))
            names = [{"source_db": "*", "target_db": "all"}]
            task = cdc.create(server.uri, db_collections=EVERYTHING, name_mapping=names)
            with of_database(server, "all") as there:
                wait_keys(there, range(3), "a")
                wait_keys(there, range(4), "b")
                one.drop_collection("a")
                client.drop_database("one")
                wait_until(
                    lambda: dropped(cdc, task).get("one", False), "it is refused"
                )
                Books(two, "b").insert(range(4, 8))
                wait_keys(there, range(8), "b")
                two.drop_collection("b")
                client.drop_database("two")
        wait_until(lambda: "all" not in other.list_databases(), "the database goes")
        wait_until(lambda: dropped(cdc, task).get("two") is False, "it is recorded")


def test_databases_without_collections(scenario: Scenario) -> None:
    """They come and go as well; of those that went before the task nothing is written."""
    client, other, cdc = scenario.client, scenario.other, scenario.cdc
    client.create_database("older")
    client.drop_database("older")
    for name in ("early", "same"):
        client.create_database(name)
    task = scenario.create_task()
    wait_until(lambda: "same" in other.list_databases(), "the first are created")
    with scenario.meanwhile():
        for name in ("early", "same"):
            client.drop_database(name)
        for name in ("late", "same"):
            client.create_database(name)
    wait_until(
        lambda: sorted(other.list_databases()) == ["default", "late", "same"],
        "those are there that the source has",
    )
    done = {"CreateDatabase early", "DropDatabase early", "CreateDatabase late"}
    wait_until(lambda: done <= set(said(cdc, task)), "it is written down")
    scenario.restart()
    client.drop_database("late")
    wait_until(lambda: "DropDatabase late" in said(cdc, task), "it is dropped")
    assert sorted(other.list_databases()) == ["default", "same"]
    found = [each for each in said(cdc, task) if not each.endswith(" same")]
    assert sorted(found) == sorted([*done, "DropDatabase late"])


def said(cdc: Cdc, task: str) -> list[str]:
    """Return what was done to databases, without what was refused."""
    done = [each for each in of_databases(cdc, task) if "refused" not in each.detail]
    return [f"{each.kind} {each.database}" for each in done]


def of_databases(cdc: Cdc, task: str) -> list[OperationApplied]:
    """Return what the task wrote down of databases."""
    log = TaskLog.sqlite(str(cdc.folder / "cdc.db"))
    with closing(log):
        applied = [e for e in log.history(task) if isinstance(e, OperationApplied)]
    return [each for each in applied if each.kind.endswith("Database")]


def dropped(cdc: Cdc, task: str) -> dict[str, bool]:
    """Return the databases that the task was to drop, and whether that was refused."""
    done = of_databases(cdc, task)
    drops = [each for each in done if each.kind == "DropDatabase"]
    return {each.database: "refused" in each.detail for each in drops}


def test_two_tasks_that_would_have_one_name(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """The later collection is set aside, though its task is another, paused or not."""
    client.create_database("shop")
    first = cdc.create(target_lite.uri)
    Books(client).create().insert(range(3))
    wait_keys(lite, range(3))
    cdc.ask("pause", task_id=first)
    cdc.kill()
    cdc.start()
    names = [{"source_db": "shop", "target_db": "default"}]
    selected = {"shop": [{"name": "*"}]}
    other = cdc.create(target_lite.uri, db_collections=selected, name_mapping=names)
    with of_database(source, "shop") as shop:
        Books(shop).create().insert(range(10))
        Books(shop, "sold").create().insert(range(4))
        wait_keys(lite, range(4), "sold")
        (reason,) = [c["reason"] for c in cdc.get(other)["collections"] if c["reason"]]
        assert f"which a collection of task {first} is" in reason
        cdc.ask("resume", task_id=first)
        client.drop_collection("books")
        wait_until(lambda: not lite.has_collection("books"), "it is dropped")
        shop.drop_collection("books")
        Books(shop).create().insert(range(5))
        wait_keys(lite, range(5))


def test_renamed_to_a_name_of_another_task(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """The rename waits, and says for whom, until the name is free; rows do not wait."""
    client.create_database("shop")
    first = cdc.create(target_lite.uri)
    Books(client).create().insert(range(3))
    names = [{"source_db": "shop", "target_db": "default"}]
    selected = {"shop": [{"name": "*"}]}
    other = cdc.create(target_lite.uri, db_collections=selected, name_mapping=names)
    with of_database(source, "shop") as shop:
        Books(shop, "sold").create().insert(range(4))
        wait_keys(lite, range(3))
        wait_keys(lite, range(4), "sold")
        shop.rename_collection("sold", "books")

        def reason() -> str | None:
            (found,) = cdc.get(other)["collections"]
            assert found["state"] == "live"
            return found["reason"]

        wait_until(lambda: reason() is not None, "it says that it waits")
        assert (
            f"default.books at the target, which a collection of task {first} is"
            in (reason() or "")
        )
        Books(shop).insert(range(4, 6))
        wait_keys(lite, range(6), "sold")
        client.drop_collection("books")
        wait_keys(lite, range(6))
        wait_until(lambda: reason() is None, "it waits no longer")
