"""Which names are free at the target while operations that give them are under way."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cdc_actors.pipeline.reservations import NameReservations
from cdc_actors.pipeline.target_names import TargetNames
from cdc_actors.pipeline.work import CatalogOperation
from cdc_actors.tasks import RENAME_COLLECTION, CollectionEntry
from cdc_actors.tasks.details import RenameDetail
from tests.support.tasks import SPEC


class Names:
    """Collections and their names, with the renames of a test."""

    def __init__(self, *names: str) -> None:
        self.collections = [
            SimpleNamespace(entry=entry(number, name))
            for number, name in enumerate(names)
        ]
        self.reservations = NameReservations()
        held = self.reservations.of("task", "target")
        self.names = TargetNames(SPEC, held, self.collections)  # type: ignore[arg-type]

    def begin(self, number: int, name: str) -> bool:
        """Have a collection renamed if the name is free; tell whether it was."""
        collection: Any = self.collections[number]
        detail = RenameDetail(("default", name))
        work = CatalogOperation(RENAME_COLLECTION, 1, detail)
        is_free = self.names.try_reserve(collection, work)
        if is_free:
            self.names.note_under_way(collection, work)
        return is_free

    def end(self, number: int, name: str) -> None:
        """Have the target done with a rename."""
        collection = self.collections[number]
        earlier = collection.entry
        collection.entry = replace(earlier, name=name)
        self.names.renamed(earlier, collection.entry)


def entry(number: int, name: str) -> CollectionEntry:
    """Return a collection of the default database."""
    return CollectionEntry(collection_id=number, database="default", name=name)


@pytest.fixture
def names() -> Names:
    """Return two collections."""
    return Names("books", "papers")


def test_a_name_that_is_given_more_than_once(names: Names) -> None:
    """To one that goes to and fro: it is free for others once it is given up for good."""
    to_and_fro = ["novels", "books", "novels", "tales"]
    assert all(names.begin(0, name) for name in to_and_fro)
    for name in to_and_fro:
        assert not names.begin(1, "novels")
        names.end(0, name)
    assert names.begin(1, "novels")
