"""Which collection had a name when."""

from __future__ import annotations

from types import SimpleNamespace

from cdc_actors.pipeline.metadata.name_history import NameHistory
from cdc_actors.source.catalog.client import NameSince
from cdc_actors.tasks import CollectionEntry


def seen(collection_id: int, *names: tuple[int, str]) -> SimpleNamespace:
    """Return a collection of the catalog that had names since certain times."""
    history = tuple(NameSince(since, "default", name) for since, name in names)
    return SimpleNamespace(id=collection_id, names=history)


def test_name_of_several_in_turn() -> None:
    """A name that was given up and taken again leads to whoever had it at the time."""
    name_history = NameHistory()
    name_history.record(seen(1, (10, "a"), (20, "b")))
    name_history.record(seen(2, (30, "a"), (40, "c")))
    asked = [(9, "a"), (10, "a"), (19, "a"), (20, "a"), (20, "b"), (30, "a"), (41, "c")]
    found = [name_history.lookup_at("default", name, at) for at, name in asked]
    assert found == [None, 1, 1, None, 1, 2, 2]
    assert name_history.lookup_at("other", "a", 15) is None


def test_earlier_names_are_kept() -> None:
    """What the catalog forgets, and what an earlier run knew, is not lost."""
    name_history = NameHistory()
    name_history.register(
        CollectionEntry(collection_id=1, database="default", name="a", created=10)
    )
    name_history.record(seen(1, (20, "b")))
    name_history.record(seen(1, (30, "c")))
    found = [
        name_history.lookup_at("default", n, at) for at, n in ((15, "a"), (25, "b"))
    ]
    assert found == [1, 1]
