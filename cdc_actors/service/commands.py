"""What a task does at the word of a client, or of a run: commands to its aggregate.

Each takes the task and the checkpoints of all its channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.pipeline.messages import ImportsWritten, SnapshotTaken
from cdc_actors.tasks import resyncs, snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.changes import Checkpoint
    from cdc_actors.pipeline.messages import FilesReported
    from cdc_actors.service.messages import ResyncCollections, RetryCollections
    from cdc_actors.tasks import Task, Who

    Command = Callable[[Task, list[Checkpoint]], None]

_ASKED = "asked by a client"


def resume(who: Who) -> Command:
    """Go on, with what was set aside, too, as far as it can be taken up again."""

    def command(task: Task, at: list[Checkpoint]) -> None:
        task.resume(who=who, why=_ASKED)
        if task.has_retriable:
            task.retry((), at, who=who, why="the task is resumed")

    return command


def retry(message: RetryCollections) -> Command:
    """Take collections up again from where each stood."""
    who, why = message.who, message.why
    return lambda task, at: task.retry(message.collections, at, who=who, why=why)


def resync(message: ResyncCollections) -> Command:
    """Bring collections anew; with all that it had lost a task goes on."""

    def command(task: Task, _at: list[Checkpoint]) -> None:
        is_lost = resyncs.stands_lost(task)
        snapshots.resync(
            task,
            message.collections,
            method=message.method,
            who=message.who,
            why=_ASKED,
        )
        if is_lost:
            task.resume(who=message.who, why="what was lost is brought anew")

    return command


def follow_files(report: FilesReported, task: Task) -> Command | None:
    """Have the log read on from where files end, or rows brought that came past it.

    None if nothing lacks such rows any more.
    """
    match report:
        case SnapshotTaken(_, collection_id, rows, seconds):
            return lambda task, at: snapshots.complete(
                task, collection_id, rows, seconds, at
            )
        case ImportsWritten(_, wanted) if resyncs.lacking_imports(task, wanted):
            return lambda task, _at: snapshots.bring_imports(task, wanted)
    return None
