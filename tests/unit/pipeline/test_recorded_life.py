"""The recorded life of a real Milvus, followed by the real actors on doubles."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.tasks import CollectionState
from tests.fakes.crash_points import CrashPoints
from tests.fakes.recorded_source import RecordedPipeline, moments
from tests.support.recorded_life import CatalogWrite, end
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorded_life import Step

VERSION = "2.5.27"
MOMENT = 200
"""Milliseconds of the life that are played at once."""

POINTS = 140
"""So many points, at least, there are at which a run may be killed."""


@pytest.fixture(params=["2.5.27", "2.6.20"])
def pipeline(request: pytest.FixtureRequest) -> Iterator[RecordedPipeline]:
    """Yield a task of everything that the source has, to a target of each version.

    Users and roles are included.
    """
    spec = replace(
        SPEC, collection_infos=(), db_collections={"*": ("*",)}, enable_user_role=True
    )
    with RecordedPipeline(VERSION, spec, request.param) as pipeline:
        yield pipeline


def until_it_runs(step: Step) -> bool:
    """Tell whether the source has started: it is in its catalog."""
    return isinstance(step, CatalogWrite) and step.key.endswith("session/rootcoord")


def check_end(pipeline: RecordedPipeline) -> None:
    """Check what there is in the end, and that nothing was set aside."""
    assert pipeline.target.collections.keys() == end(VERSION).rows.keys()
    assert pipeline.target.aliases == end(VERSION).aliases
    assert pipeline.target.databases == {"default", "db1"}
    limit = {"database.max.collections": "20"}
    assert pipeline.target.database_properties == {"db1": limit}
    assert pipeline.task.task.unresolved == {}
    refused = {each.kind for each in pipeline.task.task.refusals}
    assert refused <= {"UpdateCredential"}
    entries = pipeline.task.task.collections.values()
    states = {each.state for each in entries}
    assert states <= {CollectionState.LIVE, CollectionState.DROPPED}
    nullable = pipeline.target.properties("every_nullable")
    assert "dynamicfield.enabled" not in nullable, "a newer target would make it so"
    for name, rows in end(VERSION).rows.items():
        pipeline.check_rows(name, rows)


def test_a_task_that_begins_when_all_is_over(pipeline: RecordedPipeline) -> None:
    """It has only the log and what the catalog is in the end."""
    pipeline.source.play()
    pipeline.start().settle()
    check_end(pipeline)


@pytest.mark.shows(
    "2.5.27",
    "RocksMQ",
    "simulated 2.5.27",
    "simulated 2.6.20",
    by="recorded from a real server",
)
@pytest.mark.parametrize(
    "ends",
    [(), pytest.param(("kill",), marks=pytest.mark.thorough), ("stop", "kill")],
    ids="-".join,
)
def test_a_task_that_follows(pipeline: RecordedPipeline, ends: tuple[str, ...]) -> None:
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
def test_a_task_that_is_killed_at_every_point(pipeline: RecordedPipeline) -> None:
    """Wherever it asks the target or writes something down, it goes on from there."""
    points = CrashPoints(pipeline)
    pipeline.source.play(until_it_runs)
    pipeline.begin()
    while pipeline.source.play(moments(MOMENT)):
        points.survive(pipeline.wait_for_steps)
    points.survive(pipeline.settle)
    points.survive(lambda: check_end(pipeline))
    assert len(points.passed) >= POINTS
