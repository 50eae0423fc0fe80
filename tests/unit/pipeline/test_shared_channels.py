"""Collections of one channel, each from where its own files or its own beginning are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.errors import TransientError
from cdc_actors.pipeline import sources
from cdc_actors.pipeline.messages import RecordStarts
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_source import A, B
from tests.fakes.pipeline import Pipeline
from tests.fakes.shared_files import SharedChannel
from tests.support.tasks import CLIENT, SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta

AHEAD = 100


@pytest.fixture
def shared(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedChannel]:
    """Yield a task; its parameter says what it takes from files."""
    wanted = getattr(request, "param", "auto")
    with Pipeline(replace(SPEC, snapshot=wanted)) as pipeline:
        found = SharedChannel(pipeline)
        monkeypatch.setattr(sources, "_files", lambda *_: found.files)
        yield found


def once(*keys: int) -> dict[int, int]:
    """Return keys as the target has them, each once."""
    return dict.fromkeys(keys, 1)


def test_files_of_one_reach_further_than_where_its_log_goes_on(
    shared: SharedChannel,
) -> None:
    """Another's rows up to there come from the log, and none of its own twice.

    The files of the first end at a tick that is ahead of their place in the log, so that
    the place is the earlier one and the tick the later one.
    """
    first, second = shared.create("first"), shared.create("second")
    first.insert(1)
    shared.forget()
    first.flush_until(shared.source.log_end(A).id, shared.source.tick() + AHEAD)
    first.insert(2)
    second.flush_until(shared.source.log_end(A).id, shared.source.tick())
    for key in (11, 12, 13):
        second.insert(key)
        shared.source.tick()
    shared.source.now += AHEAD
    first.insert(3)
    second.insert(14)
    shared.source.tick()
    shared.complete_all()
    assert shared.pipeline.target.rows("first") == once(1, 2, 3)
    assert shared.pipeline.target.rows("second") == once(11, 12, 13, 14)


@pytest.mark.parametrize("shared", ["always"], indirect=True)
@pytest.mark.parametrize("turn", ["before", "after"])
def test_one_without_files_yet_begins_before_anothers_end(
    shared: SharedChannel, turn: str
) -> None:
    """It comes from the log, whole; whichever of them is looked at before."""
    made = [shared.create("first"), shared.create("second")]
    young, old = made if turn == "before" else reversed(made)
    young.insert(11)
    shared.source.tick()
    old.insert(21)
    old.flush_until(shared.source.log_end(A).id, shared.source.tick())
    young.insert(12)
    old.insert(22)
    shared.complete_all()
    assert shared.pipeline.target.rows(young.meta.name) == once(11, 12)
    assert shared.pipeline.target.rows(old.meta.name) == once(21, 22)


@pytest.mark.parametrize("shared", ["auto", "always"], indirect=True)
def test_run_ends_before_it_has_written_down_where_it_begins(
    shared: SharedChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one knows of the files of one, and yet begins where another does."""
    old = shared.create("old")
    old.insert(1)
    shared.source.tick()
    shared.forget()
    young = shared.create("young")
    young.insert(11)
    shared.source.tick()
    old.insert(2)
    old.flush_until(shared.source.log_end(A).id, shared.source.tick())
    young.insert(12)
    old.insert(3)
    task = shared.pipeline.task
    record = task._record

    def die(message: object) -> None:
        if isinstance(message, RecordStarts):
            raise TransientError("killed")
        record(message)

    with monkeypatch.context() as patched:
        patched.setattr(task, "_record", die)
        shared.pipeline.begin()
        shared.pipeline.wait_for_crash()
    assert shared.comes_from_files
    shared.complete_all()
    assert shared.pipeline.target.rows("old") == once(1, 2, 3)
    assert shared.pipeline.target.rows("young") == once(11, 12)


def test_one_that_was_taken_out_of_the_selection_and_is_selected_again(
    shared: SharedChannel,
) -> None:
    """Files alone would leave rows that are deleted since; a resync takes them away."""
    pipeline, source = shared.pipeline, shared.source
    made, other = shared.create("c"), shared.create("other")
    pipeline.start()
    made.insert(1)
    made.insert(2)
    source.tick()
    pipeline.settle()
    select(pipeline, "other")
    made.delete(1)
    source.tick()
    pipeline.settle()
    shared.forget()
    for each in (made, other):
        each.flush_until(source.log_end(A).id, source.tick())
    select(pipeline, "c", "other")
    entry = pipeline.task.entries["c"]
    assert entry.state is CollectionState.SET_ASIDE
    assert "`resync` brings it anew" in entry.reason
    pipeline.target.is_loaded = True
    pipeline.resync("c")
    pipeline.wait_until(lambda: shared.comes_from_files)
    shared.complete()
    shared.complete_all()
    assert pipeline.target.rows("c") == once(2)


def select(pipeline: Pipeline, *names: str) -> None:
    """Have an update select collections."""
    pipeline.stop()
    spec = replace(SPEC, collection_infos=names)
    at = pipeline.task.checkpoints.values()
    pipeline.task.task.update(spec, at, secret=None, who=CLIENT, why="test")
    pipeline.start()


@pytest.mark.parametrize("shared", ["always"], indirect=True)
def test_one_begins_before_the_files_of_another_end_that_is_told_of_first(
    shared: SharedChannel,
) -> None:
    """While the run goes on, a channel begins where the log has to bring the one from."""
    pipeline, source = shared.pipeline, shared.source
    pipeline.start()
    shared.create("other", B)
    source.catalog.tell()
    source.tick()
    pipeline.settle()
    from_files, from_log = shared.create("from_files"), shared.create("from_log", A, B)
    from_files.insert(1)
    from_log.insert(11)
    from_files.flush_until(source.log_end(A).id, source.tick(A))
    from_files.insert(2)
    from_log.insert(12)
    source.catalog.tell()
    pipeline.wait_until(lambda: shared.comes_from_files)
    source.tick()
    shared.complete()
    shared.complete_all()
    assert pipeline.target.rows("from_files") == once(1, 2)
    assert pipeline.target.rows("from_log") == once(11, 12)


def assert_missed_visibly(pipeline: Pipeline, hidden: CollectionMeta) -> None:
    """See that one is set aside once more rows of it have come."""
    pipeline.source.insert(hidden, [2], A)
    pipeline.source.tick()
    pipeline.settle()
    entry = pipeline.task.task.collections[hidden.id]
    assert entry.state is CollectionState.SET_ASIDE
    assert "not selected" in entry.reason


def test_one_that_was_hidden_where_a_channel_was_begun_for_another() -> None:
    """What is renamed into the selection, and is older than that, is set aside."""
    with Pipeline(replace(SPEC, collection_infos=("books", "other"))) as pipeline:
        source = pipeline.start().source
        hidden = source.create("hidden", A)
        source.insert(hidden, [1], A)
        source.tick()
        source.create("other", A)
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        source.rename(hidden, "books")
        source.catalog.tell()
        assert_missed_visibly(pipeline, hidden)


def test_one_that_was_hidden_and_the_log_tells_of_first() -> None:
    """What earlier runs read of it is missed as visibly where the watch lags behind."""
    with Pipeline(replace(SPEC, collection_infos=("books", "other"))) as pipeline:
        source = pipeline.start().source
        hidden, _ = source.create("hidden", A), source.create("other", A)
        source.catalog.tell()
        source.insert(hidden, [1], A)
        source.tick()
        pipeline.settle()
        pipeline.stop()
        pipeline.start()
        source.rename(hidden, "books")
        assert_missed_visibly(pipeline, hidden)
