"""What clients ask of the source, and the catalog shows, asked of the target."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.errors import (
    KindRefusedError,
    OperationRefusedError,
    UnclearAnswerError,
)
from cdc_actors.pipeline.messages import FlushPostponed, RecordOperationApplied
from cdc_actors.target import requests
from cdc_actors.target.answers import RateLimitError
from cdc_actors.target.skipping import is_skipped, without

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykka import ActorRef

    from cdc_actors.changes import FullName, Request
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.work import ForwardRequest
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, Operation

_log = structlog.get_logger()


class Forwarding:
    """Asks for operations on one collection. Its applier's thread uses it.

    One that the target refuses is written down, and the rest goes on.
    """

    def __init__(
        self, context: RunContext, target: Connection, reader: ActorRef[Any]
    ) -> None:
        self._context = context
        self._target = target
        self._reader = reader
        self._flush_refused = False

    def forward(
        self, work: ForwardRequest, entry: CollectionEntry, name: FullName
    ) -> None:
        """Ask the target what a client asked, of the collection that it calls ``name``."""
        request = work.request
        if request.kind == requests.FLUSH:
            self._flush(request, entry, name)
            return
        parts = requests.parts_of(request, work.field)
        operation = entry.operation(request.kind, request.timestamp, parts)
        field = str(parts.get("field_name", ""))
        asked = self._target, request, name, field, entry.skipped
        act = partial(requests.forward, *asked)
        attempt(self._context, operation, unless_skipped(entry, field, act))

    def _flush(self, request: Request, entry: CollectionEntry, name: FullName) -> None:
        """Clients flush whenever they like: only the first refusal of a run is recorded.

        If the target does not flush at all, only the first of the task.
        """
        kinds = self._context.refused_kinds
        if request.kind in kinds:
            return
        operation = entry.operation(request.kind, request.timestamp, {})
        try:
            requests.forward(self._target, request, name)
        except (RateLimitError, UnclearAnswerError) as refusal:
            _log.info("flush_postponed", detail=str(refusal))
            self._reader.tell(FlushPostponed(request, entry.collection_id))
        except KindRefusedError as refusal:
            if kinds.note(request.kind, refusal):
                self._record(operation.as_refused(refusal))
        except OperationRefusedError as refusal:
            if not self._flush_refused:
                self._flush_refused = True
                self._record(operation.as_refused(refusal))
        else:
            if kinds.allow(request.kind):
                self._record(operation)

    def _record(self, operation: Operation) -> None:
        self._context.record(RecordOperationApplied(operation))


def attempt(
    context: RunContext, operation: Operation, act: Callable[[], str | None]
) -> bool:
    """Write down what came of an operation; tell whether it was done.

    Of a kind that the target does not do at all, only the first of the task. ``act`` says
    what it was done without, if without anything. The thread of whoever asks for it.
    """
    kinds = context.refused_kinds
    if operation.kind in kinds:
        return False
    try:
        tried = operation.as_reduced(act() or "")
    except KindRefusedError as refusal:
        if not kinds.note(operation.kind, refusal):
            return False
        tried = operation.as_refused(refusal)
    except OperationRefusedError as refusal:
        tried = operation.as_refused(refusal)
    context.record(RecordOperationApplied(tried))
    return tried.refused is None


def unless_skipped(
    entry: CollectionEntry, field: str, act: Callable[[], str]
) -> Callable[[], str]:
    """Return what does an operation: nothing, if it is about a field that is skipped."""
    if not is_skipped(field, entry.skipped):
        return act
    return lambda: without([field])
