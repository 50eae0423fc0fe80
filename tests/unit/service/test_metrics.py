"""Tasks and service as metrics: what is known, and nothing that is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.pipeline.messages import RunProgressed, SnapshotProgress
from cdc_actors.pipeline.work import AppliedRows
from cdc_actors.service import collection_metrics, metrics
from cdc_actors.service.metrics import families
from cdc_actors.service.overview import summary_at
from cdc_actors.service.retention import Retention
from cdc_actors.service.snapshot import (
    Observation,
    ProgressMonitor,
    Statistics,
    TaskSnapshot,
)
from cdc_actors.service.source_clock import Moment
from cdc_actors.service.views import Readiness
from cdc_actors.tasks import SUPERVISOR, CollectionEntry, CollectionState
from cdc_actors.tasks.model import Import
from tests.support.tasks import checkpoint, new_task

if TYPE_CHECKING:
    from cdc_actors.service.metric_family import Family
    from cdc_actors.tasks import Task

TASK = new_task()
ID = TASK.task_id
NOW = Moment(wall=1000.0, monotonic=0.0, source=1000.0)
READY = Readiness(ready=True, missing={})


def statistics(task: Task = TASK, **changed: object) -> Statistics:
    """Return what a supervisor knows of one task."""
    snapshot = TaskSnapshot(task=task, **changed)
    return Statistics(
        observations=[Observation(snapshot, ProgressMonitor(0, 0))],
        mailboxes={"supervisor": 1, ID: 2},
        restarts={ID: 3},
        memory_held=4,
        memory_limit=5,
    )


def scraped(
    known: Statistics | None = None,
    *,
    store: bool | None = True,
    retention: dict[str, Retention] | None = None,
) -> list[Family]:
    """Return the families of a service with one task, at ``NOW``."""
    known = known or statistics()
    return list(
        families(
            [summary_at(each, NOW) for each in known.observations],
            known,
            READY,
            store_takes_writes=store,
            retention=retention or {},
            now=NOW.source,
        )
    )


def task_with(*entries: dict[str, object]) -> Task:
    """Return the task with collections c0, c1 and so on that are as given."""
    task = TASK.draft()
    task.collections = {
        number: CollectionEntry(
            collection_id=number, database="default", name=f"c{number}", **given
        )
        for number, given in enumerate(entries)
    }
    return task


def values(found: list[Family], name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a family by their labels, in the family's order."""
    (family,) = [each for each in found if each.name == name]
    return dict(family.rows)


def test_what_is_unknown_is_left_out() -> None:
    """No lag is not a lag of 0, and nothing confirmed is not 1970."""
    found = scraped()
    assert values(found, "cdc_lag_seconds") == {}
    assert values(found, "cdc_last_confirmed_timestamp_seconds") == {}
    assert values(found, "cdc_source_head_timestamp_seconds") == {}
    found = scraped(statistics(confirmed=1000 << 18))
    assert values(found, "cdc_lag_seconds") == {(ID,): 999.0}
    assert values(found, "cdc_last_confirmed_timestamp_seconds") == {(ID,): 1.0}


def test_one_state_and_one_health_is_1() -> None:
    """All others are there and 0, so that a rule need not guess what is missing."""
    found = scraped()
    assert values(found, "cdc_task_state") == {(ID, "Running"): 1, (ID, "Paused"): 0}
    healths = values(found, "cdc_task_health")
    assert healths.pop((ID, "starting")) == 1
    assert len(healths) > 5
    assert not any(healths.values())


def test_collections_are_counted_and_those_in_trouble_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Live ones are a number only, and even of the others so many are named at most."""
    monkeypatch.setattr(metrics, "MAX_COLLECTIONS", 2)
    aside = {"state": CollectionState.SET_ASIDE}
    task = task_with({}, {"imports": {7: Import(1, 1)}}, aside, aside, aside)
    found = scraped(statistics(task))
    assert values(found, "cdc_collections") == {(ID, "live"): 2, (ID, "set_aside"): 3}
    assert values(found, "cdc_collection_resync_needed") == {(ID, "default", "c1"): 1}
    assert values(found, "cdc_collection_state") == {
        (ID, "default", "c2", "set_aside"): 1,
        (ID, "default", "c3", "set_aside"): 1,
    }


def test_rows_from_the_sources_files_are_counted() -> None:
    """Of those collections that come from there, of how many."""
    task = task_with({}, {"state": CollectionState.SNAPSHOT})
    coming = {1: SnapshotProgress(0, 7, 10, 70, 6.5)}
    progress = RunProgressed(1, {}, None, AppliedRows(), False, {}, snapshots=coming)
    found = scraped(statistics(task, progress=progress))
    assert values(found, "cdc_snapshot_rows_sent") == {(ID, "default", "c1"): 0}
    assert values(found, "cdc_snapshot_rows_expected") == {(ID, "default", "c1"): 7}
    assert values(found, "cdc_snapshot_bytes_done") == {(ID, "default", "c1"): 10}
    assert values(found, "cdc_snapshot_bytes_expected") == {(ID, "default", "c1"): 70}
    left = values(found, "cdc_snapshot_remaining_seconds")
    assert left == {(ID, "default", "c1"): 6.5}


def test_what_the_supervisor_counts_is_there() -> None:
    """Failures of runs, deaths of actors, mailboxes and memory."""
    found = scraped(statistics(failures={"transient": 6}))
    assert values(found, "cdc_run_failures") == {(ID, "transient"): 6}
    assert values(found, "cdc_task_restarts") == {(ID,): 3}
    assert values(found, "cdc_mailbox_messages") == {("supervisor",): 1, (ID,): 2}
    assert values(found, "cdc_memory_held_bytes") == {(): 4}
    assert values(found, "cdc_memory_limit_bytes") == {(): 5}


def test_rows_and_bytes_are_counted_by_kind() -> None:
    """What was inserted and what was deleted; a run says how far it has read, too."""
    progress = RunProgressed(1, {}, None, AppliedRows(), False, {}, head=5000 << 18)
    applied = AppliedRows(1, 2, inserted_bytes=30, deleted_bytes=40)
    found = scraped(statistics(progress=progress, applied=applied))
    assert values(found, "cdc_rows_applied") == {(ID, "insert"): 1, (ID, "delete"): 2}
    assert values(found, "cdc_applied_bytes") == {
        (ID, "insert"): 30,
        (ID, "delete"): 40,
    }
    assert values(found, "cdc_source_head_timestamp_seconds") == {(ID,): 5.0}


def applied_by(**rows: int) -> dict[int, AppliedRows]:
    """Return rows inserted into collections c0, c1 and so on, of 10 bytes each."""
    return {
        int(name[1:]): AppliedRows(count, inserted_bytes=10 * count)
        for name, count in rows.items()
    }


def test_collections_are_followed_one_by_one() -> None:
    """How far each is by its channels, or where it stood, and the rows of all runs."""
    behind, ahead = checkpoint("a", 2 << 18), checkpoint("b", 3 << 18)
    stood = {"a": checkpoint("a", 1 << 18)}
    task = task_with(
        {"shards": ("a_0v0", "b_0v1")},
        {"shards": ("b_1v0",)},
        {"shards": ("a_2v0",), "state": CollectionState.SET_ASIDE, "stood": stood},
        {"shards": ("b_3v0",), "state": CollectionState.SNAPSHOT},
        {"shards": ("b_4v0",), "state": CollectionState.DROPPED},
        {"shards": ("c_5v0",)},
    )
    progress = RunProgressed(
        1,
        {"a": behind, "b": ahead},
        None,
        AppliedRows(),
        False,
        {},
        applied_by=applied_by(c0=1, c3=4),
    )
    before = applied_by(c0=2, c1=8, c4=9)
    found = scraped(statistics(task, progress=progress, applied_by_before=before))
    names = [(ID, "default", f"c{number}") for number in range(6)]
    assert values(found, "cdc_collection_last_confirmed_timestamp_seconds") == {
        names[0]: 0.002,
        names[1]: 0.003,
        names[2]: 0.001,
    }
    assert values(found, "cdc_collection_lag_seconds")[names[0]] == 999.998
    rows = values(found, "cdc_collection_rows_applied")
    counted = [rows.get((*name, "insert")) for name in names]
    assert counted == [3, 8, 0, 4, None, 0]
    sizes = values(found, "cdc_collection_applied_bytes")
    assert sizes[*names[0], "insert"] == 30
    paused = task.draft()
    paused.pause("by hand", [], who=SUPERVISOR, why="because")
    found = scraped(statistics(paused, progress=progress))
    assert values(found, "cdc_collection_lag_seconds") == {}


def test_so_many_collections_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, a scrape has an end; which ones does not change."""
    monkeypatch.setattr(collection_metrics, "MAX_FOLLOWED", 2)
    found = scraped(statistics(task_with({}, {}, {})))
    assert values(found, "cdc_collection_rows_applied").keys() == {
        (ID, "default", name, kind)
        for name in ("c0", "c1")
        for kind in ("insert", "delete")
    }


def test_what_the_log_still_keeps_is_counted_down() -> None:
    """Of tasks that are there; unknown is left out, and too late is below 0."""
    known = {ID: Retention(until=900.0, kept=3600.0), "gone": Retention(1.0, 2.0)}
    found = scraped(retention=known)
    assert values(found, "cdc_source_retention_remaining_seconds") == {(ID,): -100.0}
    assert values(found, "cdc_source_retention_seconds") == {(ID,): 3600.0}
    assert values(scraped(), "cdc_source_retention_seconds") == {}


@pytest.mark.parametrize("well", [True, False])
def test_the_store_is_ours_and_well_or_not(well) -> None:
    """A store that takes no writes is no store that another process owns."""
    found = scraped(store=well)
    assert values(found, "cdc_store_owned") == {(): 1}
    assert values(found, "cdc_store_up") == {(): int(well)}


def test_a_task_has_the_id_that_its_client_gave_it() -> None:
    """In every series, as in the answers to requests."""
    own = new_task(spec=replace(TASK.spec, task_name="nightly"))
    found = scraped(
        Statistics(
            observations=[Observation(TaskSnapshot(task=own), ProgressMonitor(0, 0))],
            mailboxes={own.task_id: 0},
            restarts={own.task_id: 0},
            memory_held=0,
            memory_limit=1,
        ),
        retention={own.task_id: Retention(1.0, 2.0)},
    )
    named = {
        values[0]
        for family in found
        if family.labels[:1] in {("task_id",), ("actor",)}
        for values, _ in family.rows
    }
    assert named == {"nightly"}


def test_without_the_store_there_is_only_what_is_missing() -> None:
    """Who waits for another owner has no tasks, and says so."""
    waiting = Readiness(ready=False, missing={"tasks": "the store belongs to another"})
    found = list(
        families((), None, waiting, store_takes_writes=None, retention={}, now=0)
    )
    assert values(found, "cdc_ready") == {(): 0}
    assert values(found, "cdc_not_ready") == {("tasks",): 1}
    assert values(found, "cdc_store_owned") == {(): 0}
    assert values(found, "cdc_store_up") == {}
    assert not [each for each in found if each.name.startswith("cdc_task")]
