"""Aliases at the source become aliases at the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.books import Books, keys, wait_keys
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from tests.support.scenario import Scenario


def test_alias_is_created_altered_dropped(scenario: Scenario) -> None:
    """An alias comes, turns to another collection, and goes."""
    books = scenario.begin()
    with scenario.meanwhile():
        scenario.client.create_alias("books", "read")
        books.insert(range(10, 20))
    wait_keys(scenario.other, range(20), "read")
    with scenario.meanwhile():
        more = Books(scenario.client, "more").create()
        more.insert(range(5))
        scenario.client.alter_alias("more", "read")
        more.insert(range(5, 8))
    wait_keys(scenario.other, range(8), "read")
    scenario.wait_equal()
    with scenario.meanwhile():
        scenario.client.drop_alias("read")
        books.insert(range(20, 30))
    wait_keys(scenario.other, range(30))
    scenario.wait_equal()
    assert scenario.refusals() == []


def test_alias_takes_the_name_of_a_collection_and_gives_it_back(
    scenario: Scenario,
) -> None:
    """A collection gives way to an alias of its name, and later takes it again."""
    books = scenario.begin()
    new = Books(scenario.client, "new").create()
    with scenario.meanwhile():
        new.insert(range(3))
        scenario.client.rename_collection("books", "old")
        scenario.client.create_alias("new", "books")
        books.insert(range(3, 6))
    wait_keys(scenario.other, range(6), "books")
    scenario.wait_equal()
    with scenario.meanwhile():
        scenario.client.drop_alias("books")
        again = Books(scenario.client).create()
        again.insert(range(2))
    wait_keys(scenario.other, range(2), "books")
    scenario.wait_equal()
    assert scenario.refusals() == []
    assert scenario.reasons() == []


def test_alias_of_a_collection_that_is_dropped(scenario: Scenario) -> None:
    """A collection is dropped with its alias, which then stands for another."""
    scenario.begin()
    scenario.client.create_alias("books", "read")
    wait_keys(scenario.other, range(10), "read")
    with scenario.meanwhile():
        more = Books(scenario.client, "more").create()
        more.insert(range(4))
        scenario.client.drop_collection("books")
        scenario.client.alter_alias("more", "read")
    wait_until(lambda: not scenario.other.has_collection("books"), "it is dropped")
    wait_keys(scenario.other, range(4), "read")
    scenario.wait_equal()


def test_alias_is_moved_to_a_collection_that_is_dropped(scenario: Scenario) -> None:
    """The alias stands for nothing then, and a collection may have its name."""
    scenario.begin()
    Books(scenario.client, "more").create().insert(range(4))
    scenario.client.create_alias("books", "read")
    wait_keys(scenario.other, range(10), "read")
    wait_keys(scenario.other, range(4), "more")
    with scenario.meanwhile():
        scenario.client.alter_alias("more", "read")
        scenario.client.drop_collection("more")
    wait_until(lambda: not scenario.other.has_collection("read"), "it is dropped")
    wait_until(lambda: not scenario.other.has_collection("more"), "this as well")
    scenario.client.drop_alias("read")
    Books(scenario.client, "read").create().insert(range(3))
    wait_keys(scenario.other, range(3), "read")
    scenario.wait_equal()
    assert scenario.reasons() == []


def test_aliases_from_before_the_task(scenario: Scenario) -> None:
    """What aliases stood for before the task comes with their collections."""
    books = Books(scenario.client).create()
    scenario.client.create_alias("books", "read")
    scenario.client.create_alias("books", "written")
    books.insert(range(7))
    scenario.client.drop_alias("written")
    scenario.create_task()
    wait_keys(scenario.other, range(7), "read")
    with scenario.meanwhile():
        books.delete([3])
        scenario.client.create_alias("books", "written")
    scenario.wait_equal()
    assert keys(scenario.other, "written") == [0, 1, 2, 4, 5, 6]


def test_name_that_is_an_alias_at_the_target(scenario: Scenario) -> None:
    """The collection is set aside; what the alias stands for keeps every row."""
    library = Books(scenario.other, "library").create()
    library.insert(range(100, 105))
    scenario.other.create_alias("library", "books")
    scenario.create_task()
    books = Books(scenario.client).create()
    books.insert([*range(5), 100])
    books.delete([101])
    wait_until(lambda: scenario.reasons() != [], "it is set aside")
    assert "alias default.books" in scenario.reasons()[0]
    with scenario.meanwhile():
        scenario.client.drop_collection("books")
        Books(scenario.client, "last").create().insert(range(3))
    wait_keys(scenario.other, range(3), "last")
    assert keys(scenario.other, "library") == list(range(100, 105))
    described = scenario.other.describe_alias("books")
    assert described["collection_name"] == "library"
    scenario.other.drop_alias("books")
