"""Errors: whom each concerns, and what may be done about it.

    CdcError
    |-- TransientError            the task     retry with back-off, for ever, visibly
    |   +-- UnclearAnswerError    a collection try it again beside the others
    |-- OperatorError             the task     pause, with a reason that says what to do
    |   |-- AccessRefusedError    the task     retry for some minutes, then pause
    |   |-- SourceChangedError    the task     pause, before anything is read or written
    |   +-- CollectionError       a collection set it aside; the others go on
    |       |-- RowsLostError     a collection the same: rows of it cannot be had
    |       |-- RowRefusedError   a collection the same, once it has come out repeatedly
    |       |-- PassedOverError   a collection the same: it is to be read again
    |       +-- OperationRefusedError
    |           |                 a request    note it; if the collection cannot do
    |           |                              without what was asked, set it aside
    |           +-- KindRefusedError
    |                             a kind       note it once, and ask for no more of it
    |-- PositionLostError         the task     pause; the log no longer holds what is next
    +-- RequestError              a client of the service, answered at once
        |-- InvalidRequestError    400
        |-- UnknownTaskError       404
        |-- TaskConflictError      409
        |-- TargetRefusedError     422
        |-- SourceRefusedError     422
        |-- TaskLimitError         429
        +-- UnavailableError       503

What every collection would meet alike is the task's: a login, a privilege, the store, the
source's log. Whoever acts for one collection catches ``CollectionError`` and
``UnclearAnswerError`` and no more; whoever asks for one operation catches
``OperationRefusedError`` and no more. Outside of a
run an ``OperatorError`` is that of the command or the process.

Errors of libraries are translated where they arise, so that nothing above reads a gRPC
status or a driver's exception. The class says what to do; the text says what happened.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from cdc_actors.masking import mask_urls


class FailureClass(StrEnum):
    """What a failure asks for."""

    TRANSIENT = "transient"
    OPERATOR = "operator"
    POSITION_LOST = "position_lost"


class CdcError(Exception):
    """Anything that this service reports rather than crashes on.

    Its text is shown to many and kept: passwords of addresses in it are masked.
    """

    failure_class: ClassVar[FailureClass] = FailureClass.TRANSIENT

    patience: ClassVar[float] = 0.0
    """Seconds for which one that needs the operator is treated as transient first."""

    def __init__(self, message: str = "") -> None:
        super().__init__(mask_urls(message))


class TransientError(CdcError):
    """A peer is away, slow or overloaded: the same call may go through later."""


class UnclearAnswerError(TransientError):
    """The target answered one request, but did not do it; that may pass, or may not.

    Where the request was about one collection, only that one is known to be in trouble.
    ``code`` is Milvus's, 0 where it gave none. ``is_starting`` tells that the words are
    those of a Milvus that is about to do it: one that has just come back.
    """

    def __init__(
        self, message: str, code: int = 0, *, is_starting: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.is_starting = is_starting


class OperatorError(CdcError):
    """Nothing gets better by waiting: somebody must change something."""

    failure_class = FailureClass.OPERATOR


class AccessRefusedError(OperatorError):
    """The target refuses the login, or the task's user lacks a privilege there.

    A Milvus whose proxy runs before its root coordinator does refuses every login (2.3.5:
    it cannot look up the password), so that a refusal is believed only after a while.
    """

    patience = 180.0


class SourceChangedError(OperatorError):
    """What the configuration calls the source is not the Milvus that a task replicates."""


class CollectionError(OperatorError):
    """One collection cannot be replicated as things are; nothing is wrong with others."""


class RowsLostError(CollectionError):
    """Rows of one collection are not in the log, or were not read when they were."""

    failure_class = FailureClass.POSITION_LOST


class RowRefusedError(CollectionError):
    """The target takes the other rows of one collection, and one of them not.

    The text names the row by its key, and has the target's words; never what is in it.
    """


class PassedOverError(CollectionError):
    """Rows of one collection were read before an update selected it."""


class OperationRefusedError(CollectionError):
    """The target understood one request and said no.

    ``code`` is Milvus's (``pkg/util/merr``), 0 where it gave none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class KindRefusedError(OperationRefusedError):
    """The target does no operation of one kind for the task's user, and no row needs any.

    A managed Milvus may flush nothing, and have no databases, users and roles.
    """


class PositionLostError(CdcError):
    """The log no longer holds the position that a channel is to be read from."""

    failure_class = FailureClass.POSITION_LOST


class RequestError(CdcError):
    """A request cannot be done. ``status`` is the HTTP status and the answer's code."""

    status: ClassVar[int] = 500


class InvalidRequestError(RequestError):
    """A field is missing, unknown or of the wrong kind; the message names it."""

    status = 400


class UnknownTaskError(RequestError):
    """There is no task of that id."""

    status = 404


class UnknownNodeError(RequestError):
    """There is no service of that id."""

    status = 404


class TaskConflictError(RequestError):
    """The task is already in the state asked for, or another one is in the way."""

    status = 409


class TargetRefusedError(RequestError):
    """The target cannot be reached, or refuses; its words are in the message."""

    status = 422


class SourceRefusedError(RequestError):
    """Nothing can be replicated from the source, or as it is configured."""

    status = 422


class TaskLimitError(RequestError):
    """There are as many tasks as ``maxTaskNum`` allows, or comparisons as can be."""

    status = 429


class UnavailableError(RequestError):
    """The supervisor or the event log cannot answer in time."""

    status = 503


class TaskElsewhereError(UnavailableError):
    """Another service has the task."""


class TaskMovesError(TaskElsewhereError):
    """No service has the task just now."""
