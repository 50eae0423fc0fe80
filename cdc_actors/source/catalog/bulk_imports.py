"""Bulk imports as the catalog has them: rows that came into a collection past the log.

Milvus 2.2 and 2.3 keep a task for each file, later ones a job of several tasks, which
count the rows of their files, and 3.0 a job for each snapshot that was restored into a new
collection. All are forgotten after a while. Pure: bytes in, records out. From
``data_coord.proto``, ``etcd_meta.proto`` and ``internal.proto`` of Milvus.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cdc_actors.source.catalog import catalog_pb2
from cdc_actors.source.catalog.parsing import parse

if TYPE_CHECKING:
    from cdc_actors.source.catalog.model import Pairs

_TASKS_BEFORE_JOBS = "importtask/"
_JOBS = "datacoord-meta/import-job/"
_TASKS = "datacoord-meta/import-task/"
_RESTORED = "datacoord-meta/copy-segment-job/"
PREFIXES = (_TASKS_BEFORE_JOBS, _JOBS, _TASKS, _RESTORED)
"""Keys below the metadata's root path."""

# One whose rows can be read, or will be: completed, flushed.
_IMPORTED = (6, 8)
_JOB_COMPLETED = 5
_COPY_COMPLETED = 3
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ImportMeta:
    """One bulk import, or restored snapshot, that brought rows.

    ``created`` is in seconds since 1970; ``rows`` is 0 where Milvus has forgotten how many.
    """

    id: int
    collection_id: int
    created: int
    rows: int


def imports(pairs: Pairs) -> list[ImportMeta]:
    """Return the bulk imports that brought rows, from the pairs below ``PREFIXES``."""
    rows: Counter[int] = Counter()
    for pair in pairs:
        if pair[0].startswith(_TASKS):
            task = parse(catalog_pb2.ImportJobTask, pair)
            rows[task.job_id] += sum(each.rows for each in task.files)
    return [
        *_before_jobs(pairs),
        *_completed_jobs(pairs, rows),
        *_restored_snapshots(pairs),
    ]


def _before_jobs(pairs: Pairs) -> list[ImportMeta]:
    found = [
        parse(catalog_pb2.ImportTask, pair)
        for pair in pairs
        if pair[0].startswith(_TASKS_BEFORE_JOBS)
    ]
    return [
        ImportMeta(task.id, task.collection_id, task.created, task.state.rows)
        for task in found
        if task.state.code in _IMPORTED and task.state.rows
    ]


def _completed_jobs(pairs: Pairs, rows: Counter[int]) -> list[ImportMeta]:
    found = [
        parse(catalog_pb2.ImportJob, pair)
        for pair in pairs
        if pair[0].startswith(_JOBS)
    ]
    return [
        ImportMeta(job.id, job.collection_id, _seconds(job.started), rows[job.id])
        for job in found
        if job.state == _JOB_COMPLETED and rows.get(job.id, 1)
    ]


def _restored_snapshots(pairs: Pairs) -> list[ImportMeta]:
    found = [
        parse(catalog_pb2.CopySegmentJob, pair)
        for pair in pairs
        if pair[0].startswith(_RESTORED)
    ]
    return [
        ImportMeta(job.id, job.collection_id, job.started // _NANOSECONDS, job.rows)
        for job in found
        if job.state == _COPY_COMPLETED and job.rows
    ]


def _seconds(time: str) -> int:
    """Return ``2026-01-31T12:00:00Z`` in seconds since 1970, 0 where there is no time."""
    return int(datetime.fromisoformat(time).timestamp()) if time else 0
