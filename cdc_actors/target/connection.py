"""One connection to a target Milvus, and what its answers mean.

pymilvus's handler opens and keeps the channel (TLS, login, registration). Requests go
through its stub as the messages that they are, for a request in the log is already one.
Each task has a handler of its own, made without MilvusClient: pymilvus 3.0 shares handlers
by address, so that the first one's TLS settings would serve all, and connects them under
one lock, so that a silent target would hold up every other.
"""

from __future__ import annotations

import re
import threading
import time
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import structlog
from pymilvus.client.grpc_handler import GrpcHandler
from pymilvus.exceptions import MilvusException
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import (
    AccessRefusedError,
    CdcError,
    OperationRefusedError,
    OperatorError,
    TransientError,
    UnclearAnswerError,
)
from cdc_actors.grpc_common import (
    ACCESS_REFUSED,
    NO_KEEPALIVE,
    RECONNECT_SOON,
    REFUSED,
    status_code,
)
from cdc_actors.instruments import TARGET_REQUEST_SECONDS
from cdc_actors.target.request_size import RequestSize
from cdc_actors.target.splitting import MAX_DELETE_BYTES, MAX_INSERT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CALL_TIMEOUT = 30.0
"""Seconds that one request may take; a large insert included."""

_POLL_INTERVAL = 0.05
"""Seconds after which a waiting call looks whether it has been cancelled."""

_RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before an operation that came too soon for the target is asked again."""

_INSERT = "/milvus.proto.milvus.MilvusService/Insert"
# Milvus's own codes (pkg/util/merr/errors.go).
_TRANSIENT_CODES = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 11, 12})
_RATE_LIMIT = 8
# A partition that is not found (200) is none of them: right after it was created the
# proxy (2.3.5) may not know it yet, and one that somebody dropped is created again.
_REFUSAL_CODES = frozenset(
    {10, 100, 105, 800, 1100, 1101, 1102, 1303, 1700, 1701, 1800, 1804}
)
_ACCESS_CODES = frozenset({1400, 1401})
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
_HTTP_STATUS = re.compile(r"http2? header with status: (?!413)(\d+)")
"""What gRPC says of an answer that is none of gRPC's: it comes from a proxy on the way."""

_LOOK_TIMEOUT = 2.0
"""Seconds in which a Milvus says its version, if it is one and is there."""

_TOO_LARGE = re.compile(
    # gRPC of Go, C++ and Node; of Java; of Rust; a proxy's HTTP 413 as gRPC shows it.
    r"message larger than max|message exceeds (the )?maximum|message length too large"
    r"|status: 413|(payload|entity|content) too large"
    # Milvus about its message queue: Kafka, Pulsar, NATS.
    r"|message size (too large|exceeds)|MessageTooBig|maximum payload exceeded",
    re.IGNORECASE,
)
_SIZE_STATUSES = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNKNOWN,
    }
)
_PARAMETER_TOO_LARGE = 1102
_RATE_WORDS = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)
_ROWS = frozenset({"Insert", "Delete"})
_DIVIDED = _ROWS | {"Query"}
"""What can be sent in parts."""
_NEEDED = _ROWS | {
    "CreatePartition",
    "DescribeCollection",
    "DropCollection",
    "DropPartition",
    "ShowPartitions",
}
"""What a collection cannot go on without, and no target has a reason to refuse."""
_NOT_REPEATED = _ROWS | {"Flush"}
"""What the caller asks again, if the target's limits refuse it, when it thinks fit."""


_log = structlog.get_logger()


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


class Connection:
    """A connection to one Milvus. Any thread may use it.

    ``alias_lock`` is held while aliases are moved, or those of a collection dropped or
    renamed. ``insert_size`` and ``delete_size`` are how large a request may be.
    """

    def __init__(
        self,
        uri: str,
        token: str,
        tls: Mapping[str, str] | None = None,
        *,
        timeout: float = 10,
        name: str = "the target",
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Connect within ``timeout`` seconds. ``name`` is what errors call the server.

        Calls that wait are cancelled, with TransientError, once ``cancelled()`` is true.

        Raises:
            TransientError: There is no answer.
            AccessRefusedError: The target refuses the login.
            OperatorError: The settings are wrong.
        """
        if tls and urlsplit(uri).scheme != "https":
            raise OperatorError(
                f"there are TLS files for {name} {uri}, which is not https: the token "
                "would go out in clear"
            )
        self.uri = uri
        self.alias_lock = threading.Lock()
        self.insert_size = RequestSize(MAX_INSERT_BYTES)
        self.delete_size = RequestSize(MAX_DELETE_BYTES)
        self._name = name
        self._cancelled = cancelled
        self._answered: set[str] = set()
        try:
            self._handler = GrpcHandler(
                address=address(uri),
                token=token,
                secure=urlsplit(uri).scheme == "https",
                grpc_options=NO_KEEPALIVE | RECONNECT_SOON,
                **(tls or {}),
            )
        except (OSError, ValueError, MilvusException) as error:
            raise OperatorError(f"cannot use {name} {uri}: {error}") from error
        try:
            self._handler._wait_for_channel_ready(timeout=timeout)  # noqa: SLF001
            self.version = self._server_version(timeout)
        except (MilvusException, grpc.RpcError) as error:
            self._handler.close()
            raise self._connect_error(error) from error

    @property
    def is_lite(self) -> bool:
        """Whether the target is Milvus Lite, which takes one write at a time."""
        return self.version.startswith("milvus_lite")

    def call(
        self, method: str, request: Any, database: str, timeout: float = CALL_TIMEOUT
    ) -> Any:
        """Send a request to the target's ``method`` and return its answer.

        An operation that the target's limits refuse is asked again, later and later;
        rows and flushes have a pace of their own.

        Raises:
            TransientError: The target is away; a RateLimitError for rows and flushes.
            UnclearAnswerError: It answers, and does not do it for now.
            AccessRefusedError: It refuses the login, or the user lacks a privilege.
            OperationRefusedError: It refuses this request.
        """
        stub = getattr(self._handler._stub, method)  # noqa: SLF001
        pauses = chain(_RETRY_DELAYS, repeat(_RETRY_DELAYS[-1]))
        while True:
            self._refuse_if_cancelled()
            answer = stub.future(
                request, timeout=timeout, metadata=(("dbname", database),)
            )
            _time(answer, method)
            try:
                return self.finish(answer, method)
            except RateLimitError as refusal:
                if method in _NOT_REPEATED:
                    raise
                pause = next(pauses)
                _log.info("target_rate_limited", pause=pause, detail=str(refusal))
            self.wait(pause)

    def server_time(self, timeout: float) -> int:
        """Return the Milvus's time, a hybrid timestamp; raises as ``call`` does."""
        request = milvus_pb2.AllocTimestampRequest()
        answer = self.call("AllocTimestamp", request, DEFAULT_DATABASE, timeout)
        return int(answer.timestamp)

    def begin_insert(self, request: bytes, database: str) -> grpc.Future:
        """Send a serialized InsertRequest; ``finish`` waits for its answer."""
        self._refuse_if_cancelled()
        channel = self._handler._final_channel  # noqa: SLF001
        insert = channel.unary_unary(
            _INSERT, response_deserializer=milvus_pb2.MutationResult.FromString
        )
        answer = insert.future(
            request, timeout=CALL_TIMEOUT, metadata=(("dbname", database),)
        )
        _time(answer, "Insert")
        return answer

    def finish(self, answer: grpc.Future, method: str) -> Any:
        """Wait for an answer and return it; raises as ``call`` does."""
        while True:
            try:
                result = answer.result(timeout=_POLL_INTERVAL)
                break
            except grpc.FutureTimeoutError:
                if self._cancelled():
                    answer.cancel()
            except grpc.FutureCancelledError as error:
                raise TransientError(f"{method} was cancelled") from error
            except grpc.RpcError as error:
                raise self._call_error(error, method) from error
        self._answered.add(method)
        check(getattr(result, "status", result), method, lite=self.is_lite)
        return result

    def wait(self, seconds: float) -> None:
        """Let time pass, with TransientError if the connection is cancelled."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._refuse_if_cancelled()
            time.sleep(min(left, _POLL_INTERVAL))

    def close(self) -> None:
        """Close the connection; requests under way fail. Idempotent."""
        self._handler.close()

    def _refuse_if_cancelled(self) -> None:
        """Send nothing for a run that was left behind: the next one may have begun."""
        if self._cancelled():
            raise TransientError(f"the connection to {self._name} was cancelled")

    def _server_version(self, timeout: float) -> str:
        stub = self._handler._stub  # noqa: SLF001
        answer = stub.GetVersion(milvus_pb2.GetVersionRequest(), timeout=timeout)
        return str(answer.version)

    def _call_error(self, error: grpc.RpcError, method: str) -> CdcError:
        """Return what a failed call means; a proxy on the way may have answered it.

        A method that was answered before is not unknown, nor is any while nobody says
        the version.
        """
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            return rpc_error(error, method)
        if method in self._answered or not self._says_version():
            return _proxy_error(error, method)
        return rpc_error(error, method)

    def _says_version(self) -> bool:
        try:
            self._server_version(_LOOK_TIMEOUT)
        except grpc.RpcError:
            return False
        return True

    def _connect_error(self, error: MilvusException | grpc.RpcError) -> CdcError:
        cause = error.__cause__ if isinstance(error, MilvusException) else error
        if isinstance(cause, grpc.RpcError) and hasattr(cause, "code"):
            what = f"connect to {self.uri}"
            is_unknown = cause.code() is grpc.StatusCode.UNIMPLEMENTED
            if is_unknown or _is_http(cause):
                return _proxy_error(cause, what)
            translated = rpc_error(cause, what)
            if isinstance(translated, OperatorError):
                return translated
        text = getattr(error, "message", "") or str(error)
        if "auth" in text.lower():
            return AccessRefusedError(
                f"{self._name} {self.uri} refuses the login: {text}"
            )
        return TransientError(f"cannot connect to {self._name} {self.uri}: {text}")


def connect(
    param: Any, token: str, cancelled: Callable[[], bool] = lambda: False
) -> Connection:
    """Connect to a task's target, ``param`` being its connection parameters."""
    return Connection(
        param.uri,
        token,
        tls_arguments(param),
        timeout=param.connect_timeout,
        cancelled=cancelled,
    )


def address(uri: str) -> str:
    """Return host and port; Milvus listens on 19530, behind TLS usually on 443."""
    parts = urlsplit(uri)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 19530)}"


def tls_arguments(param: Any) -> dict[str, str]:
    """Return pymilvus's arguments for the paths of a connection parameter, if given."""
    names = (
        "server_name",
        "server_pem_path",
        "ca_pem_path",
        "client_pem_path",
        "client_key_path",
    )
    return {name: value for name in names if (value := getattr(param, name))}


def _time(answer: grpc.Future, method: str) -> None:
    begun, timer = time.monotonic(), TARGET_REQUEST_SECONDS.labels(method)
    answer.add_done_callback(lambda _: timer.observe(time.monotonic() - begun))


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
    unclear = (method in _NEEDED or broken) and code not in _REFUSAL_CODES
    if code == _RATE_LIMIT:
        raise RateLimitError(text)
    if method in _ROWS and code == _PARAMETER_TOO_LARGE:
        raise TooLargeError(text, code)
    if method in _DIVIDED and _TOO_LARGE.search(status.reason):
        raise TooLargeError(text, code, may_be_done=True)
    if code in _ACCESS_CODES or _LOGIN_REFUSED in status.reason:
        raise AccessRefusedError(text)
    passing = code in _TRANSIENT_CODES and not (lite and code == _LITE_CONFLICT)
    if status.retriable or passing or unclear:
        raise UnclearAnswerError(text, code)
    raise OperationRefusedError(text, code)


def rpc_error(error: grpc.RpcError, method: str) -> CdcError:
    """Return what a failed call means."""
    code, details = error.code(), error.details()
    if _is_http(error):
        return _proxy_error(error, method)
    if code in ACCESS_REFUSED:
        refusal = f"the target {ACCESS_REFUSED[code]} ({method}): {details}"
        return AccessRefusedError(refusal)
    if code in REFUSED:
        refusal = f"the target {REFUSED[code]} ({method}): {details}"
        return OperationRefusedError(refusal)
    text = f"{method} failed at the target ({code.name}): {details}"
    is_size = code in _SIZE_STATUSES and _TOO_LARGE.search(str(details)) is not None
    if method in _DIVIDED and is_size:
        return TooLargeError(text)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _RATE_WORDS.search(str(details)):
        return RateLimitError(text)
    return TransientError(text)


def _is_http(error: grpc.RpcError) -> bool:
    return _HTTP_STATUS.search(str(error.details())) is not None


def _proxy_error(error: grpc.RpcError, method: str) -> TransientError:
    return TransientError(
        f"{method} was answered by something before the target, not by it "
        f"({error.code().name}): {error.details()}"
    )
