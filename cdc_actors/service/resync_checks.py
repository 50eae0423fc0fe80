"""Whether collections can be brought anew, looked at before anything is done."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from cdc_actors.errors import CdcError, RowsLostError, TaskConflictError
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.resyncs import from_beginning
from cdc_actors.service.resume_checks import looked, refuse_resume, told
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.wal.beginnings import not_held
from cdc_actors.source.wal_choice import open_wal
from cdc_actors.tasks import resyncs
from cdc_actors.tasks.names import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.config import SourceConfig
    from cdc_actors.tasks import CollectionEntry, Task


def refuse_resync(
    task: Task,
    collections: Sequence[FullName],
    checkpoints: Iterable[Checkpoint],
    source: SourceConfig,
) -> None:
    """Refuse to bring collections anew that cannot be.

    A source that does not answer is asked again by the run, unless the task stands because
    its position was lost: then it must be known which collections lack something.

    Raises:
        TaskConflictError: The task has no such collection, or it is under way; the source
            is another Milvus; nothing can bring it; or others of the task have lost
            something, too, and are not named.
        UnavailableError: Whether the task can go on cannot be told.
    """
    chosen = resyncs.chosen(task, collections)
    refuse_resume(task, (), source)
    if task.spec.snapshot == "never" or not source.storage.is_given:
        _refuse_without_files(chosen, source)
    if resyncs.stands_lost(task):
        _refuse_unnamed(task, chosen, list(checkpoints), source)


def _refuse_without_files(
    chosen: Iterable[CollectionEntry], source: SourceConfig
) -> None:
    """Refuse what the log does not hold from its beginning on."""

    def look() -> None:
        with closing(open_catalog(source)) as catalog, open_wal(source) as log:
            for entry in chosen:
                meta = catalog.collection(entry.collection_id)
                if meta is not None and not meta.dropping:
                    from_beginning(meta, log)

    try:
        looked(look)
    except RowsLostError as error:
        raise TaskConflictError(str(error)) from error
    except (CdcError, TimeoutError):
        return


def _refuse_unnamed(
    task: Task,
    chosen: Iterable[CollectionEntry],
    checkpoints: Sequence[Checkpoint],
    source: SourceConfig,
) -> None:
    """Refuse if the task could not go on, as others have lost something, too."""

    def look() -> set[str]:
        with open_wal(source) as log:
            return {each.position.channel for each in not_held(log, checkpoints)}

    lost = told(look, "what the log has lost")
    if source.replicate_chan in lost:
        lost |= {each.position.channel for each in checkpoints}
    named = {each.collection_id for each in chosen}
    others = [
        (each.database, each.name)
        for each in task.collections.values()
        if each.follows_log
        and each.collection_id not in named
        and lost.intersection(channels_of(each.shards))
    ]
    if others:
        raise TaskConflictError(
            f"the log has lost rows of [{listed(others)}], too: `resync` them along, or "
            "all with *"
        )
