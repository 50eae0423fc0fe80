"""A task gets another login, address and selection while its source is written to."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import MilvusClient

from cdc_actors.compare import compare
from tests.support.accounts import ROOT, as_root
from tests.support.books import Books, wait_keys
from tests.support.cdc import wait_until
from tests.support.guarded import GuardedMilvus
from tests.support.proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc

PASSWORD = "Another123"
LOGIN = f"root:{PASSWORD}"


@contextmanager
def written(numbers: Iterator[int], *books: Books) -> Iterator[None]:
    """Write rows into collections of the source for as long as the block lasts.

    Each of ``numbers`` stands for some keys.
    """
    stop = threading.Event()
    failures: list[Exception] = []

    def write() -> None:
        try:
            while not stop.wait(0.05):
                first = next(numbers) * 5
                for each in books:
                    each.insert(range(first, first + 5))
                    each.delete([first])
        except Exception as error:  # noqa: BLE001 - the test is to say it
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()
    assert not failures


class Stage:
    """A source, a target that asks for a login, and a task between them."""

    def __init__(
        self, source: EmbeddedMilvus, target: EmbeddedMilvus, cdc: Cdc
    ) -> None:
        self._source = source
        self._target = target
        self._cdc = cdc
        self.task = cdc.ask(
            "create",
            milvus_connect_param={"uri": target.uri, "token": ROOT},
            collection_infos=[{"name": "books"}, {"name": "maps"}],
        )["task_id"]

    def update(self, **changes: Any) -> dict[str, Any]:
        """Update the task; return what the answer says."""
        return self._cdc.ask("update", task_id=self.task, **changes)

    def wait_live(self, *names: str) -> None:
        """Wait until the task is well, and has just these collections."""
        wanted = [(name, "live") for name in sorted(names)]

        def is_so() -> bool:
            shown = self._cdc.get(self.task)
            found = sorted((c["name"], c["state"]) for c in shown["collections"])
            return found == wanted and shown["health"]["status"] == "ok"

        wait_until(is_so, f"the task has {names}", 60)

    def wait_equal(self, *names: str, token: str) -> None:
        """Wait until both sides count and hold the same of these collections."""
        last: list[str] = []

        def equal() -> bool:
            report = compare(
                self._source.uri,
                "",
                self._target.uri,
                token,
                databases_selected=lambda _, name: name in names,
                load=True,
            )
            last[:] = [str(report)]
            return report.equal

        try:
            wait_until(equal, "both sides are equal", 60)
        except AssertionError as error:
            error.add_note(last[0])
            raise


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMilvus]:
    """Yield a target that asks for a login."""
    with GuardedMilvus(tmp_path_factory.mktemp("guarded")) as server:
        yield server


def test_update(
    source: EmbeddedMilvus,
    client: MilvusClient,
    guarded: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    cdc: Cdc,
) -> None:
    """Of what is selected every row arrives, and what leaves stays as it is.

    Its password at the target is changed for good; it goes by another way, and not to
    another Milvus; one collection is added, and one removed and added again. Rows are
    written meanwhile, and the service is killed.
    """
    books, maps, charts = (
        Books(client, name).create() for name in ("books", "maps", "charts")
    )
    numbers = count()
    stage = Stage(source, guarded, cdc)
    with written(numbers, books, maps, charts):
        stage.wait_live("books", "maps")
        root = as_root(guarded)
        root.update_password("root", "Milvus", PASSWORD)
        root.close()
        said = "the target refuses the login"
        wait_until(lambda: said in str(cdc.get(stage.task)["health"]["error"]), said)
        param = {"token": "root:wrong"}
        request = {"task_id": stage.task, "milvus_connect_param": param}
        status, answer = cdc.request("update", **request)
        assert (status, "auth" in answer["message"]) == (422, True)
        told = stage.update(milvus_connect_param={"token": LOGIN})
        assert told["changed"] == ["milvus_connect_param.token"]
        stage.wait_live("books", "maps")
    stage.wait_equal("books", "maps", token=LOGIN)
    same = stage.update(milvus_connect_param={"username": "root", "password": PASSWORD})
    assert same["changed"] == []

    other = {"uri": target_lite.uri}
    status, answer = cdc.request(
        "update", task_id=stage.task, milvus_connect_param=other
    )
    assert (status, "is another Milvus" in answer["message"]) == (422, True)
    with TcpProxy(guarded.ports["api"]) as proxy:
        with written(numbers, books, maps, charts):
            stage.update(milvus_connect_param={"uri": f"http://127.0.0.1:{proxy.port}"})
            stage.wait_live("books", "maps")
            stage.update(collection_infos=[{"name": "books"}, {"name": "charts"}])
            stage.wait_live("books", "charts")
            again = MilvusClient(guarded.uri, token=LOGIN, dedicated=True)
            left = counted(again, "maps")
            cdc.kill()
            cdc.start()
            stage.wait_live("books", "charts")
            assert counted(again, "maps") == left
            assert counted(client, "maps") > left
            again.close()
            stage.update(collection_infos=[{"name": "*"}])
            stage.wait_live("books", "charts", "maps")
        stage.wait_equal("books", "charts", "maps", token=LOGIN)
    assert PASSWORD not in cdc.log.read_text()
    history = cdc.ask("history", task_id=stage.task)["events"]
    texts = [each["text"] for each in history if each["event"] == "updated"]
    assert texts[0] == "updated, another milvus_connect_param.token"
    assert texts[2].endswith("not replicated any more: default.maps")
    assert PASSWORD not in str(history)


def test_milvus_lite_by_another_address(
    client: MilvusClient, lite: MilvusClient, target_lite: EmbeddedLite, cdc: Cdc
) -> None:
    """Nothing tells that it is the same; the operator's word does, and is kept.

    While it is away the selection can be changed.
    """
    books = Books(client).create()
    books.insert(range(5))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(5))
    with TcpProxy(target_lite.ports["api"]) as proxy:
        param = {"uri": f"http://127.0.0.1:{proxy.port}"}
        asked = {"task_id": task, "milvus_connect_param": param}
        status, answer = cdc.request("update", **asked)
        assert (status, "nothing tells whether" in answer["message"]) == (422, True)
        cdc.ask("update", **asked, same_milvus=True)
        books.insert([5])
        wait_keys(lite, range(6))
        assert counted(lite, "books") == 6
        proxy.cut()
        infos = [{"name": "*"}, {"name": "books"}]
        told = cdc.ask("update", task_id=task, collection_infos=infos)
        assert told["changed"] == ["collection_infos, db_collections"]
    history = cdc.ask("history", task_id=task)["events"]
    updated, _ = [each for each in history if each["event"] == "updated"]
    assert updated["why"].endswith("says that the target is the same Milvus")


def test_a_namesake_of_what_left_the_task(
    client: MilvusClient, lite: MilvusClient, target_lite: EmbeddedLite, cdc: Cdc
) -> None:
    """It is not mixed with the rows that the target has of the former collection."""
    books = Books(client).create()
    Books(client, "maps").create()
    books.insert(range(5))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(5))
    cdc.ask("update", task_id=task, collection_infos=[{"name": "maps"}])
    client.drop_collection("books")
    books.create().insert(range(50, 55))
    cdc.ask("update", task_id=task, collection_infos=[{"name": "*"}])

    def reason() -> str:
        found = cdc.get(task)["collections"]
        return str([each["reason"] for each in found if each["name"] == "books"])

    said = "drop or rename it at the target, then `retry`"
    wait_until(lambda: said in reason(), said, 60)
    assert counted(lite, "books") == 5
    lite.drop_collection("books")
    cdc.ask("retry", task_id=task)
    wait_keys(lite, range(50, 55))
    assert counted(lite, "books") == 5


def counted(client: MilvusClient, name: str) -> int:
    """Return what the server counts."""
    found = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])
