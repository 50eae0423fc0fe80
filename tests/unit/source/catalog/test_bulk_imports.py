"""Bulk imports, from the bytes that Milvus keeps of them."""

from __future__ import annotations

import base64

import pytest

from cdc_actors.errors import OperatorError
from cdc_actors.source.catalog import catalog_pb2
from cdc_actors.source.catalog.bulk_imports import ImportMeta, imports
from tests.fakes.fake_etcd import FakeEtcd

PENDING, FAILED, COMPLETED, INDEX_BUILDING = 1, 4, 5, 6
COPYING = 2
STARTED, STARTED_SECONDS = "2026-11-28T17:19:17Z", 1795886357

# Written by Milvus 2.5.27: a job, its channels, schema and files left out, and the task
# of its one file of five rows.
JOB = base64.b64decode(
    "CLO42MawlaPEBhjpgMDGsJWjxAYiBHdpZGVQsAFYBoIBFDIwMjYtMTEtMjhUMTc6MTk6MTda"
)
TASK = base64.b64decode(
    "CLO42MawlaPEBhCiudjGsJWjxAYY6YDAxrCVo8QGKP///////////wEwBEIUMjAyNi0xMS0yOFQxNzox"
    "OToyNVpKPAoyCLS42MawlaPEBhImL3Zhci9saWIvbWlsdnVzL2xvY2FsL2ltcG9ydC9yb3dzLmpzb24Q"
    "kQEYBSCwAQ=="
)
# Written by Milvus 3.0.0: a snapshot of 7 rows that was restored, without its segments.
RESTORED = base64.b64decode("CIez2bOhnqPEBhiDs9mzoZ6jxAYoA1C/1PLhjMaR9hh4Bw==")
JOB_ID, COLLECTION_ID = 470780827275762739, 470780827275362409
JOBS, TASKS = "datacoord-meta/import-job/", "datacoord-meta/import-task/"
COPIES = "datacoord-meta/copy-segment-job/"


def _job(state: int, job_id: int = 1) -> tuple[str, bytes]:
    job = catalog_pb2.ImportJob(
        id=job_id, collection_id=7, state=state, started=STARTED
    )
    return f"{JOBS}{job_id}", job.SerializeToString()


def _task(task_id: int, *rows: int) -> tuple[str, bytes]:
    files = [catalog_pb2.ImportFile(rows=each) for each in rows]
    task = catalog_pb2.ImportJobTask(job_id=1, files=files)
    return f"{TASKS}{task_id}", task.SerializeToString()


def test_a_real_job_is_understood() -> None:
    """The numbers of fields are those of Milvus 2.5.27, whose rows it counts by file."""
    job = catalog_pb2.ImportJob.FromString(JOB)
    assert (job.id, job.collection_id, job.state) == (
        JOB_ID,
        COLLECTION_ID,
        INDEX_BUILDING,
    )
    job.state = COMPLETED
    pairs = [(f"{JOBS}{JOB_ID}", job.SerializeToString()), (f"{TASKS}8", TASK)]
    assert imports(pairs) == [ImportMeta(JOB_ID, COLLECTION_ID, STARTED_SECONDS, 5)]


@pytest.mark.parametrize("state", [PENDING, FAILED, INDEX_BUILDING])
def test_rows_of_a_job_are_there_once_it_is_completed(state: int) -> None:
    """Nothing can be read of a job that is under way, or that failed."""
    assert imports([_job(state), _task(8, 5)]) == []


@pytest.mark.parametrize(
    ("tasks", "rows"),
    [([(2, 3), (4,)], [9]), ([(0,)], []), ([], [0])],
    ids=["files of several tasks", "empty files", "tasks forgotten"],
)
def test_rows_of_a_job_are_those_of_its_files(
    tasks: list[tuple[int, ...]], rows: list[int]
) -> None:
    """A job that brought nothing is none; of one whose tasks are gone it is unknown."""
    pairs = [_task(number, *each) for number, each in enumerate(tasks)]
    assert [each.rows for each in imports([*pairs, _job(COMPLETED)])] == rows


def test_a_snapshot_that_was_restored() -> None:
    """Its rows are in the new collection once its segments are copied."""
    job = catalog_pb2.CopySegmentJob.FromString(RESTORED)
    pairs = [(f"{COPIES}{job.id}", RESTORED)]
    restored = ImportMeta(470781132447046023, 470781132447046019, 1795887526, 7)
    assert imports(pairs) == [restored]
    job.state = COPYING
    assert imports([(pairs[0][0], job.SerializeToString())]) == []


@pytest.mark.parametrize("prefix", [JOBS, TASKS, COPIES, "importtask/"])
def test_something_else_is_said_with_its_key(prefix: str) -> None:
    """What is no import names the key that holds it."""
    with pytest.raises(OperatorError, match=f"{prefix}1 holds no [IC]"):
        imports([(f"{prefix}1", b"\xff")])


def test_a_watch_tells_of_jobs() -> None:
    """A job that completes while the catalog is watched is noticed."""
    etcd = FakeEtcd()
    catalog = etcd.catalog()
    watch = catalog.watch(catalog.snapshot().revision + 1)
    etcd.put(*_task(8, 5))
    etcd.put(*_job(COMPLETED))
    assert watch.changed().imports
    etcd.requests = 0
    assert [each.rows for each in catalog.imports()] == [5]
    assert etcd.requests == 1
    assert [each.rows for each in catalog.snapshot().imports] == [5]
