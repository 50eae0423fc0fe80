"""Recorded lives of a real 2.6.20 and 3.0.0, which the real actors read.

From streaming nodes with the etcd, or from the public API alone.
"""

from __future__ import annotations

import dataclasses
from itertools import chain, cycle
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.pipeline import creations, import_watch
from cdc_actors.pipeline.messages import RunProgressed, SnapshotTaken
from cdc_actors.source import api_watch
from cdc_actors.source.wal.streaming import dump, stream
from cdc_actors.source.wal.streaming.positions import place_of
from cdc_actors.tasks import CollectionState, snapshots
from tests.fakes.crash_points import CrashPoints
from tests.fakes.public_source import PublicPipeline
from tests.fakes.recorded_source import moments
from tests.fakes.streamed_source import StreamedPipeline, WatchedNodeReader
from tests.support.recorded_life import (
    REQUESTS,
    CatalogWrite,
    NodeMessage,
    end,
    left_by_writers,
)
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.tasks import TaskSpec
    from tests.support.recorded_life import Step

VERSION = "2.6.20"
WOODPECKER = "2.6.20-woodpecker"
WRITERS = "2.6.20-writers"
NEWEST = "3.0.0"
API, API_NEWEST, API_WOODPECKER, API_WRITERS = (
    f"{each}, API" for each in (VERSION, NEWEST, WOODPECKER, WRITERS)
)
"""Lives that are read from the public API alone."""

ALL = replace(SPEC, collection_infos=(), db_collections={"*": ("*",)})
MOMENT = 20_000
"""Milliseconds of the life that are played at once."""

POINTS = 80
"""So many points, at least, there are at which a run may be killed."""

STEPS = 60
"""How many steps of ten writers are played at once."""

ASIDE = {
    "auto_dyn": ("truncated at the source", "rows have $meta", "dropped $meta"),
    "every_nullable": (
        "added or dropped",
        "rows have",
        "field adds, an array of structs",
    ),
    "ns": ("has namespaces",),
    "ns_part": ("has namespaces",),
}
"""What is not replicated, and why: whichever reason is met first."""

ALWAYS_ASIDE = {
    VERSION: {"auto_dyn"},
    WOODPECKER: {"auto_dyn"},
    NEWEST: {"auto_dyn", "ns", "ns_part", "every_nullable"},
}
"""The last one of 2.6 has its added fields from the beginning, if it is created that late;
that of 3.0 has an array of structs by then."""

LACKING = {VERSION: {"wide"}, WOODPECKER: {"wide"}, NEWEST: {"wide", "arrays_restored"}}
"""What has rows of an import, or of a snapshot that was restored."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no node taken for silent that ticks only when it did in the recording."""
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 600.0)
    monkeypatch.setattr(import_watch, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(api_watch, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(dump, "AHEAD_SECONDS", 0.05)
    monkeypatch.setattr(creations, "WRITTEN_SECONDS", 0.0)


def of_life(named: str, spec: TaskSpec) -> StreamedPipeline | PublicPipeline:
    """Return a task of everything in a life, which is read as its name says."""
    version, _, way = named.partition(", ")
    queue = "woodpecker" if version == WOODPECKER else "rocksmq"
    target = NEWEST if version == NEWEST else VERSION
    kind = PublicPipeline if way else StreamedPipeline
    return kind(version, spec, target, queue)


@pytest.fixture
def pipeline(
    request: pytest.FixtureRequest,
) -> Iterator[StreamedPipeline | PublicPipeline]:
    """Yield a task of everything that the source has, users and roles included."""
    spec = replace(ALL, enable_user_role=True)
    with of_life(getattr(request, "param", VERSION), spec) as pipeline:
        yield pipeline


@pytest.fixture
def writers(
    request: pytest.FixtureRequest,
) -> Iterator[StreamedPipeline | PublicPipeline]:
    """Yield a task of what ten clients wrote at once."""
    named, consistency = getattr(request, "param", (WRITERS, "tick"))
    with of_life(named, replace(ALL, consistency=consistency)) as pipeline:
        yield pipeline


def until_it_runs(step: Step) -> bool:
    """Tell whether the source has started: its first database is in its catalog."""
    return isinstance(step, CatalogWrite) and step.key.endswith("db-info/1")


def some_steps() -> Callable[[Step], bool]:
    """Return what tells that some steps are over."""
    numbers = cycle(range(STEPS))
    return lambda _: next(numbers) == STEPS - 1


def reasons(pipeline: StreamedPipeline | PublicPipeline) -> dict[str, str]:
    """Return why collections are set aside, by name."""
    return {
        each.name: each.reason or ""
        for each in pipeline.task.task.collections.values()
        if each.state is CollectionState.SET_ASIDE
    }


def is_over(pipeline: StreamedPipeline | PublicPipeline) -> bool:
    """Tell whether that is done, too, which no tick covers."""
    entries, version = pipeline.task.task.collections.values(), pipeline.source.version
    return (
        reasons(pipeline).keys() >= ALWAYS_ASIDE[version]
        and {each.name for each in entries if each.imports} == LACKING[version]
        and pipeline.target.aliases == end(version).aliases
        and pipeline.target.databases == {"default", "db1"}
    )


def why_rows_lack(pipeline: StreamedPipeline | PublicPipeline) -> dict[str, str]:
    """Return why rows that came past the log are not brought, by collection."""
    told = [each for each in pipeline.task.told if isinstance(each, RunProgressed)]
    entries = pipeline.task.task.collections
    return {entries[number].name: why for number, why in told[-1].imports.items()}


def check_end(pipeline: StreamedPipeline | PublicPipeline) -> None:
    """Check every row of what is not set aside, and the reason for the rest."""
    pipeline.wait_until(lambda: is_over(pipeline))
    assert REQUESTS not in pipeline.run.checkpoints()
    assert {each.kind for each in pipeline.task.task.refusals} <= {"UpdateCredential"}
    assert pipeline.task.task.unresolved == {}
    generated = {
        name
        for (_, name), each in pipeline.target.collections.items()
        if any(field.autoID for field in each.schema.fields)
    }
    assert generated == {"keyed", "auto_dyn", "auto_given"}
    for (database, name), rows in end(pipeline.source.version).rows.items():
        if reason := reasons(pipeline).get(name):
            assert any(words in reason for words in ASIDE[name]), (name, reason)
        else:
            pipeline.check_rows((database, name), rows)


def check_writers(
    pipeline: StreamedPipeline | PublicPipeline, *, is_killed: bool
) -> None:
    """Check the rows, of which there may be one of a key once something is done again."""
    assert pipeline.task.task.unresolved == {}
    for name, wanted in left_by_writers().items():
        found = pipeline.target.found(("default", name)) or {}
        values = {key: [row["w"] for _, row in rows] for key, rows in found.items()}
        there = {key: each for key, each in values.items() if each}
        assert there.keys() == wanted.keys()
        for key, each in there.items():
            kept = wanted[key][-len(each) :] if is_killed else wanted[key]
            assert each == kept, key


@pytest.mark.parametrize(
    "pipeline", [VERSION, WOODPECKER, NEWEST, API, API_NEWEST], indirect=True
)
def test_a_task_that_begins_when_all_is_over(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """The target has the added fields from the beginning, and all rows of both kinds."""
    pipeline.source.play()
    pipeline.start().settle()
    check_end(pipeline)
    version = pipeline.source.version
    assert reasons(pipeline).keys() == ALWAYS_ASIDE[version]
    lacking = dict.fromkeys(LACKING[version], import_watch.NO_FILES)
    pipeline.wait_until(lambda: why_rows_lack(pipeline) == lacking)


@pytest.mark.shows(
    "2.6.20",
    "RocksMQ",
    "simulated 2.6.20",
    by="recorded from a real server",
    way="streaming nodes",
)
@pytest.mark.shows(
    "2.6.20",
    "Woodpecker",
    "simulated 2.6.20",
    by="recorded from a real server",
    way="streaming nodes",
)
@pytest.mark.shows(
    "3.0.0",
    "RocksMQ",
    "simulated 3.0.0",
    by="recorded from a real server",
    way="streaming nodes",
)
@pytest.mark.shows(
    "2.6.20",
    "RocksMQ",
    "simulated 2.6.20",
    by="recorded from a real server",
    way="API alone",
)
@pytest.mark.shows(
    "2.6.20",
    "Woodpecker",
    "simulated 2.6.20",
    by="recorded from a real server",
    way="API alone",
)
@pytest.mark.shows(
    "3.0.0",
    "RocksMQ",
    "simulated 3.0.0",
    by="recorded from a real server",
    way="API alone",
)
@pytest.mark.parametrize(
    ("pipeline", "ends"),
    [
        (VERSION, ("stop", "kill")),
        (WOODPECKER, ("kill",)),
        (NEWEST, ("stop", "kill")),
        (API, ("stop", "kill")),
        (API_NEWEST, ()),
        *(
            pytest.param(*each, marks=pytest.mark.thorough)
            for each in (
                (VERSION, ()),
                (VERSION, ("kill",)),
                (NEWEST, ()),
                (API, ()),
                (API_WOODPECKER, ("kill",)),
                (API_NEWEST, ("kill",)),
            )
        ),
    ],
    indirect=["pipeline"],
)
def test_a_task_that_follows(
    pipeline: StreamedPipeline | PublicPipeline, ends: tuple[str, ...]
) -> None:
    """It sees everything happen, be its run ended again and again or not."""
    source, endings = pipeline.source, cycle(ends or [""])
    source.play(until_it_runs)
    pipeline.start()
    while source.play(moments(MOMENT)):
        pipeline.wait_for_steps()
        if ending := next(endings):
            getattr(pipeline, ending)()
            pipeline.start()
    pipeline.settle()
    check_end(pipeline)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "pipeline", [VERSION, WOODPECKER, NEWEST, API, API_NEWEST], indirect=True
)
def test_a_task_that_is_killed_at_every_point(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """Wherever it asks the target or writes something down, it goes on from there."""
    points = CrashPoints(pipeline)
    pipeline.source.play(until_it_runs)
    pipeline.begin()
    while pipeline.source.play(moments(MOMENT // 2)):
        points.survive(pipeline.wait_for_steps)
    points.survive(pipeline.settle)
    points.survive(lambda: check_end(pipeline))
    assert len(points.passed) >= POINTS


@pytest.mark.parametrize("pipeline", [VERSION, API], indirect=True)
def test_what_clients_had_flushed(pipeline: StreamedPipeline | PublicPipeline) -> None:
    """One collection, which each of its shards tells, and later all that there is."""
    asked = pipeline.target.asked
    pipeline.source.play(is_flush_of_all)
    pipeline.start()
    pipeline.wait_until(lambda: "flush every_type" in asked)
    assert "flush wide" not in asked
    pipeline.source.play()
    pipeline.wait_until(lambda: "flush wide" in asked)


def is_flush_of_all(step: Step) -> bool:
    """Tell whether a client had all flushed."""
    return isinstance(step, NodeMessage) and step.properties["_t"] == "37"


def is_inside_of_the_log(pipeline: PublicPipeline) -> bool:
    """Tell whether every channel stands at a message, and not before the first one."""
    stands = pipeline.run.checkpoints().values()
    return bool(stands) and all(place_of(each.position).id for each in stands)


@pytest.mark.parametrize("writers", [(API_WRITERS, "tick")], ids=str, indirect=True)
def test_a_task_that_changes_from_one_way_to_the_other(writers: PublicPipeline) -> None:
    """Positions of one are positions of the other, in and out of transactions."""
    source, by_api = writers.source, writers.servers
    by_nodes = dataclasses.replace(
        by_api,
        log=lambda _spec, _run: WatchedNodeReader(source),
        catalog=lambda _spec: source.etcd.catalog(),
    )
    ways, changes = cycle([by_nodes, by_api]), 0
    source.play(until_it_runs)
    writers.start()
    while source.play(some_steps()):
        writers.wait_for_steps()
        said = chain.from_iterable(source.delivered.values())
        if any(each.properties["_t"] == "5" for each in said):
            writers.wait_until(lambda: is_inside_of_the_log(writers))
            writers.stop()
            writers.servers = next(ways)
            changes += 1
            writers.start()
    writers.settle()
    check_writers(writers, is_killed=True)
    assert changes > 2


@pytest.mark.parametrize(
    "writers",
    [(WRITERS, "tick"), (WRITERS, "early"), (API_WRITERS, "tick")],
    ids=" ".join,
    indirect=True,
)
def test_rows_of_ten_writers_at_once(
    writers: StreamedPipeline | PublicPipeline,
) -> None:
    """Transactions come whole, deletes first; a key inserted twice has both rows."""
    writers.source.play(until_it_runs)
    writers.start()
    while writers.source.play(some_steps()):
        writers.wait_for_steps()
    writers.settle()
    check_writers(writers, is_killed=False)


@pytest.mark.parametrize(
    ("writers", "ends"),
    [
        ((WRITERS, "tick"), ("kill",)),
        ((WRITERS, "tick"), ("stop", "kill")),
        ((API_WRITERS, "tick"), ("stop", "kill")),
    ],
    ids=str,
    indirect=["writers"],
)
def test_ten_writers_of_which_a_part_is_done_again(
    writers: StreamedPipeline | PublicPipeline, ends: tuple[str, ...]
) -> None:
    """A run that begins inside of a transaction has all of it."""
    source, endings = writers.source, cycle(ends)
    source.play(until_it_runs)
    writers.start()
    while source.play(some_steps()):
        writers.wait_for_steps()
        getattr(writers, next(endings))()
        writers.start()
    writers.settle()
    check_writers(writers, is_killed=True)


def test_what_was_truncated_is_brought_anew(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """From the log, without what was there before."""
    pipeline.source.play()
    pipeline.start().settle()
    pipeline.resync("auto_dyn", drop_target=True)
    told = pipeline.task.told
    pipeline.wait_until(lambda: any(isinstance(each, SnapshotTaken) for each in told))
    [taken] = [each for each in told if isinstance(each, SnapshotTaken)]
    pipeline.stop()
    task, at = pipeline.task.task, list(pipeline.task.checkpoints.values())
    snapshots.complete(task, taken.collection_id, taken.rows, taken.seconds, at)
    pipeline.start().settle()
    assert task.collections[taken.collection_id].state is CollectionState.LIVE
    name = "default", "auto_dyn"
    pipeline.check_rows(name, end(VERSION).rows[name])
