"""A store that was restored from a backup: what was sent since, it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.pipeline.send_horizon import HORIZON_STEP
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.source.catalog.client import CollectionMeta
    from tests.fakes.fake_source import FakeSource


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Return a task with the collections books and shops, and some rows in both."""
    with Pipeline() as pipeline:
        pipeline.start()
        for name in ("books", "shops"):
            meta = pipeline.source.create(name)
            pipeline.source.catalog.tell()
            pipeline.source.insert(meta, [1, 2], A)
        settle(pipeline)
        yield pipeline


def settle(pipeline: Pipeline) -> None:
    """Wait until all is at the target that the source has."""
    pipeline.source.tick()
    pipeline.settle()


def books(source: FakeSource) -> CollectionMeta:
    """Return what the source's catalog has under the name books."""
    found = source.catalog.find("default", "books")
    assert found is not None
    return found


def insert(source: FakeSource) -> None:
    """Bring rows, to one that was there and to one that is new."""
    source.insert(books(source), [3, 4], A)
    new = source.create("new")
    source.catalog.tell()
    source.insert(new, [1], A)


def drop(source: FakeSource) -> None:
    """Drop a collection."""
    source.drop(books(source))
    source.catalog.tell()


def drop_and_create(source: FakeSource) -> None:
    """Drop a collection, and create another one under its name."""
    drop(source)
    new = source.create("books")
    source.catalog.tell()
    source.insert(new, [1, 7], A)


def rename(source: FakeSource) -> None:
    """Rename a collection, and write to it."""
    source.rename(books(source), "novels")
    source.catalog.tell()
    novels = source.catalog.find("default", "novels")
    assert novels is not None
    source.insert(novels, [5], A)


def rename_and_create(source: FakeSource) -> None:
    """Rename a collection, and create another one under its old name."""
    rename(source)
    new = source.create("books")
    source.catalog.tell()
    source.insert(new, [1, 7], A)


CHANGES = {
    insert: {"books": [1, 2, 3, 4], "new": [1]},
    drop: {"books": None},
    drop_and_create: {"books": [1, 7]},
    rename: {"novels": [1, 2, 5], "books": None},
    rename_and_create: {"novels": [1, 2, 5], "books": [1, 7]},
}


def test_a_name_that_was_used_twice_since_the_backup(pipeline: Pipeline) -> None:
    """What the restored store knows nothing of makes room for what has its name now."""
    source = pipeline.source
    backup = pipeline.task.backup()
    source.now += 2 * HORIZON_STEP
    first = source.create("new")
    source.catalog.tell()
    source.insert(first, [1, 2], A)
    settle(pipeline)
    pipeline.stop()
    source.drop(first)
    source.insert(source.create("new"), [2, 3], A)
    pipeline.restore(backup)
    pipeline.wait_for_steps()
    settle(pipeline)
    assert pipeline.target.rows("new") == {2: 1, 3: 1}


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_what_was_sent_since_the_backup_is_there_once(
    pipeline: Pipeline, change: Callable[[FakeSource], None], *, running: bool
) -> None:
    """The target has what the source has, be the backup of a run or between two."""
    if not running:
        pipeline.stop()
    backup = pipeline.task.backup()
    if not running:
        pipeline.start()
    pipeline.source.now += 2 * HORIZON_STEP
    change(pipeline.source)
    settle(pipeline)
    pipeline.stop()
    pipeline.restore(backup)
    pipeline.wait_for_steps()
    settle(pipeline)
    for name, keys in CHANGES[change].items():
        wanted = None if keys is None else dict.fromkeys(keys, 1)
        assert pipeline.target.rows(name) == wanted, name
    assert pipeline.target.rows("shops") == {1: 1, 2: 1}
    states = {each.state for each in pipeline.task.entries.values()}
    assert states <= {CollectionState.LIVE, CollectionState.DROPPED}
