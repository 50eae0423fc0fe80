"""Whether the source is the task's, and its log still has what a retry is to bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import CdcError, TaskConflictError
from cdc_actors.service.resume_checks import looked, refuse_resume
from cdc_actors.source.wal.beginnings import not_held
from cdc_actors.source.wal_choice import open_wal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.config import SourceConfig
    from cdc_actors.tasks import CollectionEntry, Task


def refuse_retry(
    task: Task, collections: Sequence[FullName], source: SourceConfig
) -> None:
    """Refuse if the log no longer holds where one of ``collections`` stood.

    Where none is named, it is refused if the log holds none of them. A source that does
    not answer is asked again by the run.

    Raises:
        TaskConflictError: One is not set aside, the source is another Milvus, or its log
            does not hold them; the text says what to do.
    """
    chosen = task.retriable(collections)
    refuse_resume(task, (), source)
    try:
        lost = looked(lambda: _lost(source, chosen))
    except (CdcError, TimeoutError):
        return
    if lost and (collections or len(lost) == len(chosen)):
        name = f"{lost[0].database}.{lost[0].name}"
        raise TaskConflictError(
            f"the log no longer holds where {name} stood: `resync` brings it anew, from "
            "the source's files"
        )


def _lost(
    source: SourceConfig, chosen: Sequence[CollectionEntry]
) -> list[CollectionEntry]:
    starts = {start for each in chosen for start in each.stood.values()}
    with open_wal(source) as log:
        gone = set(not_held(log, starts))
    return [each for each in chosen if gone.intersection(each.stood.values())]
