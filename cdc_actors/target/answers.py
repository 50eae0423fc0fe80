"""What the answers of a Milvus mean: done, not now, too much, or no."""

from __future__ import annotations

import re
from typing import Any

import grpc

from cdc_actors.errors import (
    AccessRefusedError,
    CdcError,
    KindRefusedError,
    OperationRefusedError,
    TransientError,
    UnclearAnswerError,
)
from cdc_actors.grpc_common import ACCESS_REFUSED, DENIED, REFUSED, is_http, status_code

# Milvus's own codes (pkg/util/merr/errors.go).
_TRANSIENT_CODES = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 11, 12})
_RATE_LIMIT = 8
# A partition that is not found (200) is none of them: a proxy may not know it
# (``proxies``), and one that somebody dropped is created again.
_REFUSAL_CODES = frozenset(
    {10, 100, 102, 105, 250, 800, 801, 1100, 1101, 1102, 1303, 1700, 1701, 1800, 1804}
)
_NOT_PERMITTED = 1401
_ACCESS_CODES = frozenset({1400, _NOT_PERMITTED})
"""Not authenticated, privilege not permitted."""
_LOGIN_REFUSED = "auth check failure"
"""What a proxy says of a wrong password where an answer has a code of another meaning."""

_LITE_CONFLICT = 1
_BROKEN = re.compile(
    r"NodeNotFound|node not found|NodeNotMatch|node offline|not ready|not healthy"
    r"|unavailable|not available|connection refused|deadline exceeded"
    r"|context canceled|rpc error|is closed",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(
    # gRPC of Go, C++ and Node; of Java; of Rust; a proxy's HTTP 413 as gRPC shows it.
    r"message larger than max|message exceeds (the )?maximum|message length too large"
    r"|status: 413|(payload|entity|content) too large"
    # Milvus about its message queue: Kafka, Pulsar, NATS.
    r"|message size (too large|exceeds)|MessageTooBig|maximum payload exceeded",
    re.IGNORECASE,
)
_PERMISSION = grpc.StatusCode.PERMISSION_DENIED
_SIZE_STATUSES = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNKNOWN,
    }
)
_PARAMETER_TOO_LARGE = 1102
_LIMIT = re.compile(
    r"exceed(s|ed|ing) (the )?(max|limit)|max general capacity", re.IGNORECASE
)
"""How a target says that it takes no more partitions; it does not pass by itself."""

_NOT_NEEDED = frozenset(
    {
        "AlterDatabase",
        "CreateCredential",
        "CreateDatabase",
        "CreatePrivilegeGroup",
        "CreateRole",
        "DeleteCredential",
        "DropDatabase",
        "DropPrivilegeGroup",
        "DropRole",
        "Flush",
        "GetMetrics",
        "ListCredUsers",
        "ListDatabases",
        "ListPrivilegeGroups",
        "OperatePrivilege",
        "OperatePrivilegeGroup",
        "OperatePrivilegeV2",
        "OperateUserRole",
        "SelectRole",
    }
)
"""What rows do not need: a target may do none of a kind (Zilliz Cloud has databases, users
and roles in dedicated clusters alone)."""

_ALIASES = frozenset({"AlterAlias", "CreateAlias", "DropAlias"})
"""Rows do not need them either, but who reads may: whom a privilege is missing for is told
that. Zilliz Cloud has them in dedicated clusters alone."""

_RATE_WORDS = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)
ROWS = frozenset({"Insert", "Delete"})
"""The requests that carry rows, or their keys."""
_DIVIDED = ROWS | {"Query"}
"""What can be sent in parts."""
_NEEDED = ROWS | {
    "CreatePartition",
    "DescribeCollection",
    "DropCollection",
    "DropPartition",
    "ShowPartitions",
}
"""What a collection cannot go on without, and no target has a reason to refuse."""


class RateLimitError(TransientError):
    """The target is asked for more than its limits allow; nothing was done."""


class TooLargeError(OperationRefusedError):
    """One request is larger than the target takes, or the way to it.

    ``may_be_done`` tells that parts of it may be done: Milvus writes rows to its queue
    message by message, and the queue may refuse any of them.
    """

    def __init__(
        self, message: str, code: int = 0, *, may_be_done: bool = False
    ) -> None:
        super().__init__(message, code)
        self.may_be_done = may_be_done


def check(status: Any, method: str, *, lite: bool = False) -> None:
    """Raise what a ``common.Status`` means, if it is not success.

    What is unclear is tried again where giving up loses rows or a whole collection, and
    where the words are those of a Milvus that is starting or has lost a node, which has
    one code for this and for much else (2.3.5: 65535); an operation that the target does
    not want is refused at once. Milvus Lite (3.2) has code 1 for what exists already or
    in the way, Milvus for not being ready.
    """
    code = status_code(status)
    if code == 0:
        return
    text = f"the target answers {method} with code {code}: {status.reason}"
    broken = not lite and _BROKEN.search(status.reason) is not None
    is_clear = code in _REFUSAL_CODES or _LIMIT.search(status.reason) is not None
    unclear = (method in _NEEDED or broken) and not is_clear
    if code == _RATE_LIMIT:
        raise RateLimitError(text)
    if method in ROWS and code == _PARAMETER_TOO_LARGE:
        raise TooLargeError(text, code)
    if method in _DIVIDED and _TOO_LARGE.search(status.reason):
        raise TooLargeError(text, code, may_be_done=True)
    is_denied = code == _NOT_PERMITTED or DENIED.search(status.reason) is not None
    if is_denied and method in _NOT_NEEDED:
        raise _kind_refused(method, status.reason, code)
    if code in _ACCESS_CODES or _LOGIN_REFUSED in status.reason:
        raise AccessRefusedError(text)
    passing = code in _TRANSIENT_CODES and not (lite and code == _LITE_CONFLICT)
    if status.retriable or passing or unclear:
        raise UnclearAnswerError(text, code, is_starting=passing or broken)
    raise OperationRefusedError(text, code)


def rpc_error(error: grpc.RpcError, method: str) -> CdcError:
    """Return what a failed call means."""
    code, details = error.code(), error.details()
    if is_http(error):
        return proxy_error(error, method)
    if refusal := _refusal(code, str(details), method):
        return refusal
    text = f"{method} failed at the target ({code.name}): {details}"
    is_size = code in _SIZE_STATUSES and _TOO_LARGE.search(str(details)) is not None
    if method in _DIVIDED and is_size:
        return TooLargeError(text)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _RATE_WORDS.search(str(details)):
        return RateLimitError(text)
    return TransientError(text)


def _refusal(code: grpc.StatusCode, details: str, method: str) -> CdcError | None:
    """Return what was refused, if the target has said no."""
    is_denied = DENIED.search(details) is not None
    is_unknown = is_denied or code is grpc.StatusCode.UNIMPLEMENTED
    if method in _NOT_NEEDED and (is_unknown or code is _PERMISSION):
        return _kind_refused(method, details)
    if method in _ALIASES and is_unknown:
        return _kind_refused(method, details)
    if is_denied:
        return OperationRefusedError(f"the target refuses {method}: {details}")
    if code in ACCESS_REFUSED:
        text = f"the target {ACCESS_REFUSED[code]} ({method}): {details}"
        return AccessRefusedError(text)
    if code in REFUSED:
        return OperationRefusedError(
            f"the target {REFUSED[code]} ({method}): {details}"
        )
    return None


def _kind_refused(method: str, details: str, code: int = 0) -> KindRefusedError:
    refusal = f"the target does not do {method} for the task's user: {details}"
    return KindRefusedError(refusal, code)


def proxy_error(error: grpc.RpcError, method: str) -> TransientError:
    """Return the error of a call that something on the way has answered."""
    return TransientError(
        f"{method} was answered by something before the target, not by it "
        f"({error.code().name}): {error.details()}"
    )
