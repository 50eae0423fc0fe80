"""What a run, or a comparison, asks to be written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc_actors.errors import PassedOverError
from cdc_actors.pipeline.messages import (
    AdvanceSendHorizons,
    RecordCheckpoints,
    RecordCollectionSetAside,
    RecordOperationApplied,
    RecordOperationStarted,
    RecordSegmentsDone,
    RecordSegmentsForgotten,
    RecordSnapshotStarted,
    RecordSource,
    RecordStarts,
)
from cdc_actors.service.messages import AcknowledgeOperations, RecordCompared
from cdc_actors.tasks import CLAIM_COLLECTION, SUPERVISOR, snapshots

if TYPE_CHECKING:
    from cdc_actors.changes import FullName
    from cdc_actors.service.current_run import CurrentRun
    from cdc_actors.service.task_record import TaskRecord
    from cdc_actors.tasks import Who

_BY_SOURCE: dict[str, Any] = {"who": SUPERVISOR, "why": "the source did it"}
_BY_RIVAL = _BY_SOURCE | {"why": "another task asked for it"}


def _by_client(who: Who) -> dict[str, Any]:
    """Return what an event says of what a client has asked for."""
    return {"who": who, "why": "asked by a client"}


class PassedOver:
    """What a run had read past before an update selected it, until the run has opened.

    All of it is read again in one go. Meanwhile it is set aside, so that whatever happens,
    a client may ask for it.
    """

    def __init__(self) -> None:
        self._names: tuple[FullName, ...] = ()

    def note(self, message: object, run: CurrentRun) -> tuple[FullName, ...]:
        """Take down what ``run`` has written down; return what is to be read again now."""
        match message:
            case RecordCollectionSetAside(number, entry, PassedOverError()) if (
                run.numbered(number)
            ):
                self._names += ((entry.database, entry.name),)
            case RecordStarts(number) if run.numbered(number):
                names, self._names = self._names, ()
                return names
        return ()


def write_down(message: Any, record: TaskRecord, run: CurrentRun) -> None:
    """Do what a message asks. The task actor's thread.

    What is set aside, where channels begin and how far they were sent counts only if the
    run is still ``run``: another one begins elsewhere, and may have the collection go on.

    Raises:
        CdcError: It is not written down; the run must not act on it.
    """
    match message:
        case RecordOperationStarted(done):
            record.execute(lambda task: task.start_operation(done, **_BY_SOURCE))
        case RecordOperationApplied(done):
            said = _BY_RIVAL if done.kind == CLAIM_COLLECTION else _BY_SOURCE
            record.execute(lambda task: task.apply_operation(done, **said))
        case RecordCompared(_, result, who):
            record.execute(lambda task: task.note_compared(result, **_by_client(who)))
        case AcknowledgeOperations(_, kinds, who):
            record.execute(lambda task: task.acknowledge(kinds, **_by_client(who)))
        case _ if run.numbered(message.run_number):
            _write_down_of_run(message, record)


def _write_down_of_run(message: Any, record: TaskRecord) -> None:
    match message:
        case RecordCollectionSetAside():
            _set_aside(message, record)
        case RecordSnapshotStarted(_, entry, rows, size, why):
            record.execute(lambda task: snapshots.start(task, entry, rows, size, why))
        case RecordSegmentsDone():
            record.save_segments_done(message.collection_id, message.segments)
        case RecordSegmentsForgotten():
            record.forget_segments(message.collection_id)
        case RecordSource():
            _record_source(message, record)
        case RecordStarts():
            _record_starts(message, record)
        case RecordCheckpoints():
            record.save(message.checkpoints.values())
        case AdvanceSendHorizons():
            record.save_send_horizons(message.horizons)
        case _:
            raise TypeError(f"a run asks for {message!r}")


def _set_aside(message: RecordCollectionSetAside, record: TaskRecord) -> None:
    record.execute(
        lambda task: task.set_aside(
            message.entry,
            str(message.error),
            message.error.failure_class,
            message.stood.values(),
            who=SUPERVISOR,
            why="it cannot be replicated",
        )
    )


def _record_source(message: RecordSource, record: TaskRecord) -> None:
    record.execute(
        lambda task: task.identify_source(
            message.identity, who=SUPERVISOR, why="the first run that reads it"
        )
    )


def _record_starts(message: RecordStarts, record: TaskRecord) -> None:
    starts = list(message.starts.values())
    record.save(starts)
    record.execute(lambda task: task.start(starts, who=SUPERVISOR, why=message.why))
