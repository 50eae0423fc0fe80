"""Errors, and what may be done about each.

    CdcError
    |-- TransientError       retry with back-off, for ever, visibly
    |-- OperatorError        pause, with a reason that says what to do
    |-- PositionLostError    pause; the log no longer holds what comes next
    +-- RequestError         what a client of the service did, answered at once
        |-- InvalidRequestError    400
        |-- UnknownTaskError       404
        |-- TaskConflictError      409
        |-- TargetRefusedError     422
        |-- SourceRefusedError     422
        |-- TaskLimitError         429
        +-- UnavailableError       503

Errors of libraries are translated where they arise, so that nothing above reads a gRPC
status or a driver's exception. The class says what to do; the text says what happened.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class FailureClass(StrEnum):
    """What a failure asks for."""

    TRANSIENT = "transient"
    OPERATOR = "operator"
    POSITION_LOST = "position_lost"


class CdcError(Exception):
    """Anything that this service reports rather than crashes on."""

    failure_class: ClassVar[FailureClass] = FailureClass.TRANSIENT


class TransientError(CdcError):
    """A peer is away, slow or overloaded: the same call may go through later."""


class OperatorError(CdcError):
    """Nothing gets better by waiting: somebody must change something."""

    failure_class = FailureClass.OPERATOR


class PositionLostError(CdcError):
    """The log no longer holds the position to read from."""

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


class TaskConflictError(RequestError):
    """The task is already in the state asked for, or another one is in the way."""

    status = 409


class TargetRefusedError(RequestError):
    """The target cannot be reached, or refuses; its words are in the message."""

    status = 422


class SourceRefusedError(RequestError):
    """The source is a Milvus that nothing can be replicated from."""

    status = 422


class TaskLimitError(RequestError):
    """There are as many tasks as ``maxTaskNum`` allows."""

    status = 429


class UnavailableError(RequestError):
    """The supervisor or the event log cannot answer in time."""

    status = 503
