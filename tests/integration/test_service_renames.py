"""A collection is known by its id: it may be called otherwise from now on."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pymilvus import MilvusClient

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.store.event_log import TaskLog
from cdc_actors.tasks import RENAME_COLLECTION, Operation, Who
from tests.support.books import Books, wait_keys
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from tests.support.scenario import Scenario


def test_renamed(scenario: Scenario) -> None:
    """Rows before, at and after a rename are under the new name; none is lost."""
    books = scenario.begin()
    with scenario.meanwhile():
        books.insert(range(10, 20))
        scenario.client.rename_collection("books", "tomes")
        tomes = Books(scenario.client, "tomes")
        tomes.insert(range(20, 30))
        tomes.delete(range(5))
    wait_keys(scenario.other, range(5, 30), "tomes")
    assert not scenario.other.has_collection("books")
    scenario.restart()
    tomes.upsert(range(5, 7))
    scenario.client.release_collection("tomes")
    scenario.client.load_collection("tomes")
    tomes.insert(range(30, 40))
    wait_keys(scenario.other, range(5, 40), "tomes")
    scenario.wait_equal()
    assert scenario.reasons() == []


def test_name_is_used_again(scenario: Scenario) -> None:
    """Another collection takes the old name, with another schema, twice over."""
    books = scenario.begin()
    with scenario.meanwhile():
        for number in range(2):
            scenario.client.rename_collection("books", f"old{number}")
            books.create(**{f"isbn{number}": 20})
            books.insert(range(number, 5), **{f"isbn{number}": "an isbn"})
        Books(scenario.client, "old0").insert([50])
    wait_keys(scenario.other, range(1, 5))
    wait_keys(scenario.other, [*range(10), 50], "old0")
    scenario.wait_equal()
    assert scenario.reasons() == []


def test_names_are_exchanged(scenario: Scenario) -> None:
    """Two collections that exchange their names do so at the target."""
    scenario.begin()
    more = Books(scenario.client, "more").create()
    more.insert(range(3))
    wait_keys(scenario.other, range(3), "more")
    with scenario.meanwhile():
        scenario.client.rename_collection("books", "for a while".replace(" ", "_"))
        scenario.client.rename_collection("more", "books")
        scenario.client.rename_collection("for_a_while", "more")
        more.insert([77])
    wait_keys(scenario.other, range(3), "books")
    wait_keys(scenario.other, [*range(10), 77], "more")
    scenario.wait_equal()


def test_renamed_into_another_database(scenario: Scenario) -> None:
    """The collection moves; Milvus Lite cannot, and says so, also of the name's next."""
    books = scenario.begin()
    kept = Books(scenario.client, "kept").create()
    with scenario.meanwhile():
        scenario.client.create_database("archive")
        books.insert(range(10, 20))
        scenario.client.rename_collection("books", "books", target_db="archive")
        archive = MilvusClient(scenario.source.uri, db_name="archive", dedicated=True)
        Books(archive).insert(range(20, 30))
        books.create(index=False).index()
        kept.insert(range(5))
    wait_keys(scenario.other, range(5), "kept")
    if isinstance(scenario.target, EmbeddedLite):
        wait_until(lambda: len(scenario.reasons()) == 2, "both are set aside")
        assert "cannot rename into another database" in scenario.reasons()[0]
        assert "a collection that the target does not rename" in scenario.reasons()[1]
    else:
        scenario.wait_equal()
        assert scenario.reasons() == []
    archive.close()


@pytest.mark.parametrize("scenario", ["up"], indirect=True)
def test_killed_in_the_middle_of_a_rename(scenario: Scenario) -> None:
    """A rename that the target had done and the task had not noted is gone on from."""
    books = scenario.begin()
    known = scenario.cdc.get(scenario.task)["collections"][0]
    books.insert(range(10, 20))
    scenario.cdc.kill()
    scenario.client.rename_collection("books", "tomes")
    scenario.other.rename_collection("books", "tomes")
    note_begun(scenario, known["collection_id"])
    Books(scenario.client, "tomes").insert(range(20, 30))
    books.create().insert(range(3))
    scenario.cdc.start()
    wait_keys(scenario.other, range(30), "tomes")
    wait_keys(scenario.other, range(3))
    scenario.wait_equal()
    assert scenario.reasons() == []


@pytest.mark.parametrize("scenario", ["up"], indirect=True)
def test_a_rename_that_was_begun_and_undone(scenario: Scenario) -> None:
    """Its name is taken at the target meanwhile: the collection goes on as before."""
    books = scenario.begin()
    known = scenario.cdc.get(scenario.task)["collections"][0]
    scenario.cdc.kill()
    note_begun(scenario, known["collection_id"])
    Books(scenario.other, "tomes").create().insert([99])
    books.insert(range(10, 20))
    scenario.cdc.start()
    wait_keys(scenario.other, range(20))
    wait_keys(scenario.other, [99], "tomes")
    assert scenario.reasons() == []


def note_begun(scenario: Scenario, collection_id: int) -> None:
    """Have the event log say that a rename of books to tomes has begun."""
    begun = Operation(
        kind=RENAME_COLLECTION,
        timestamp=to_hybrid_ts(time.time()),
        database="default",
        name="books",
        collection_id=collection_id,
        detail={"to_database": "default", "to_name": "tomes", "loaded": True},
    )
    with closing(TaskLog.sqlite(str(scenario.cdc.folder / "cdc.db"))) as log:
        task = log.load(scenario.task)
        task.start_operation(begun, who=Who(kind="supervisor"), why="the source did it")
        log.save(task)


@pytest.mark.parametrize("scenario", ["up"], indirect=True)
def test_renamed_before_the_task(scenario: Scenario) -> None:
    """What clients asked under an old name is done under the present one."""
    books = Books(scenario.client).create()
    books.insert(range(10))
    scenario.client.rename_collection("books", "tomes")
    tomes = Books(scenario.client, "tomes")
    tomes.insert(range(10, 20))
    scenario.create_task()
    wait_keys(scenario.other, range(20), "tomes")
    scenario.wait_equal()


@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_renamed_out_of_the_selection_and_into_it(scenario: Scenario) -> None:
    """What was selected once stays so; what comes to be is read from its beginning."""
    books = Books(scenario.client).create()
    books.insert(range(10))
    plain = Books(scenario.client, "plain").create()
    plain.insert(range(3))
    scenario.create_task(collection_infos=[{"name": "books"}])
    wait_keys(scenario.other, range(10))
    with scenario.meanwhile():
        scenario.client.rename_collection("books", "away")
        scenario.client.rename_collection("plain", "books")
        Books(scenario.client, "away").insert(range(10, 20))
        books.insert(range(3, 6))
    wait_keys(scenario.other, range(20), "away")
    wait_keys(scenario.other, range(6))
    assert scenario.reasons() == []


@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_renamed_into_the_selection_too_late(scenario: Scenario) -> None:
    """Rows that were passed over under another name are said to be missing."""
    books = Books(scenario.client).create(shards=16)
    books.insert(range(10))
    scenario.create_task(collection_infos=[{"name": "books"}, {"name": "late"}])
    plain = Books(scenario.client, "plain").create()
    plain.insert(range(3))
    books.insert(range(10, 20))
    wait_keys(scenario.other, range(20))
    scenario.cdc.wait_caught_up(scenario.task)
    with scenario.meanwhile():
        scenario.client.rename_collection("plain", "late")
        books.insert(range(20, 30))
    wait_keys(scenario.other, range(30))
    wait_until(lambda: len(scenario.reasons()) == 1, "it is set aside")
    assert "default.late under names that are not selected" in scenario.reasons()[0]
