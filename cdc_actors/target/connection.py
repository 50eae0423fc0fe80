"""One connection to a target Milvus, and what its answers mean.

pymilvus's handler opens and keeps the channel (TLS, login, registration). Requests go
through its stub as the messages that they are, for a request in the log is already one.
Each task has a handler of its own, made without MilvusClient: pymilvus 3.0 shares handlers
by address, so that the first one's TLS settings would serve all, and connects them under
one lock, so that a silent target would hold up every other.
"""

from __future__ import annotations

import base64
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
    NO_KEEPALIVE,
    RECONNECT_SOON,
    address,
    is_http,
    login_in,
)
from cdc_actors.instruments import TARGET_REQUEST_SECONDS, TARGET_ROWS_SECONDS
from cdc_actors.owned_time import FOREVER
from cdc_actors.target.answers import (
    ROWS,
    RateLimitError,
    check,
    proxy_error,
    rpc_error,
)
from cdc_actors.target.proxies import REFRESH, is_stale, refresh
from cdc_actors.target.request_size import RequestSize
from cdc_actors.target.splitting import MAX_DELETE_BYTES, MAX_INSERT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_actors.owned_time import OwnedTime

CALL_TIMEOUT = 30.0
"""Seconds that one request may take; a large insert included."""

_POLL_INTERVAL = 0.05
"""Seconds after which a waiting call looks whether it has been cancelled."""

_RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before an operation that came too soon for the target is asked again."""

_INSERT = "/milvus.proto.milvus.MilvusService/Insert"

_GRANTS = frozenset({"OperatePrivilege", "OperatePrivilegeV2"})
_GRANTOR = ("authorization", base64.b64encode(b"root:").decode())
"""Who grants where nobody logs in: Milvus wants a name then, too, and asks no password."""

_TARGET = "the target"
"""What errors call a target."""

_LOOK_TIMEOUT = 2.0
"""Seconds in which a Milvus says its version, if it is one and is there."""

_NOT_REPEATED = ROWS | {"Flush"}
"""What the caller asks again, if the target's limits refuse it, when it thinks fit."""


_log = structlog.get_logger()


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
        name: str = _TARGET,
        cancelled: Callable[[], bool] = lambda: False,
        owned: OwnedTime = FOREVER,
    ) -> None:
        """Connect within ``timeout`` seconds. ``name`` is what errors call the server.

        Without a ``token`` the login counts that the address has, if there is one.

        Calls that wait are cancelled, with TransientError, once ``cancelled()`` is true or
        nothing is left of the ``owned`` time. Rows are given no more than that to be taken:
        the target knows of it, so that it holds though we are stopped in the middle of one.

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
        self._is_cancelled = cancelled
        self._owned = owned
        self._answered: set[str] = set()
        login = token or login_in(uri)
        self._grantor = () if login else (_GRANTOR,)
        self._handler = self._opened(login, tls or {})
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
        rows and flushes have a pace of their own. So is, once, what names something that
        the target's proxy does not know.

        Raises:
            TransientError: The target is away; a RateLimitError for rows and flushes.
            UnclearAnswerError: It answers, and does not do it for now.
            AccessRefusedError: It refuses the login, or the user lacks a privilege.
            OperationRefusedError: It refuses this request.
        """
        try:
            return self._call(method, request, database, timeout)
        except (UnclearAnswerError, OperationRefusedError) as refusal:
            if method == REFRESH or not is_stale(refusal):
                raise
        refresh(self, database, request.collection_name)
        return self._call(method, request, database, timeout)

    def _call(self, method: str, request: Any, database: str, timeout: float) -> Any:
        stub = getattr(self._handler._stub, method)  # noqa: SLF001
        pauses = chain(_RETRY_DELAYS, repeat(_RETRY_DELAYS[-1]))
        grantor = self._grantor if method in _GRANTS else ()
        metadata = (("dbname", database), *grantor)
        while True:
            self._refuse_if_cancelled()
            limit = self._limit(timeout) if method in ROWS else timeout
            answer = stub.future(request, timeout=limit, metadata=metadata)
            self._time(answer, method)
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
            request,
            timeout=self._limit(CALL_TIMEOUT),
            metadata=(("dbname", database),),
        )
        self._time(answer, "Insert")
        return answer

    def _limit(self, timeout: float) -> float:
        """Return how long rows may take, which are not to come after the next owner's."""
        return max(0.0, min(timeout, self._owned.time_left()))

    def _time(self, answer: grpc.Future, method: str) -> None:
        """Note how long a target takes; the source is asked by such connections, too."""
        if self._name != _TARGET:
            return
        timers = [TARGET_REQUEST_SECONDS.labels(method)]
        if method in ROWS:
            timers.append(TARGET_ROWS_SECONDS.labels(address(self.uri)))
        begun = time.monotonic()

        def answered(_: grpc.Future) -> None:
            took = time.monotonic() - begun
            for timer in timers:
                timer.observe(took)
            if method in ROWS:
                self._owned.note_request(took)

        answer.add_done_callback(answered)

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

    def _opened(self, login: str, tls: Mapping[str, str]) -> GrpcHandler:
        try:
            return GrpcHandler(
                address=address(self.uri),
                token=login,
                secure=urlsplit(self.uri).scheme == "https",
                grpc_options=NO_KEEPALIVE | RECONNECT_SOON,
                **tls,
            )
        except (OSError, ValueError, MilvusException) as error:
            raise OperatorError(
                f"cannot use {self._name} {self.uri}: {error}"
            ) from error

    def _cancelled(self) -> bool:
        return self._is_cancelled() or self._owned.time_left() <= 0

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
            return proxy_error(error, method)
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
            if is_unknown or is_http(cause):
                return proxy_error(cause, what)
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
    param: Any,
    token: str,
    cancelled: Callable[[], bool] = lambda: False,
    owned: OwnedTime = FOREVER,
) -> Connection:
    """Connect to a task's target, ``param`` being its connection parameters.

    See ``Connection`` for the rest.
    """
    return Connection(
        param.uri,
        token,
        tls_arguments(param),
        timeout=param.connect_timeout,
        cancelled=cancelled,
        owned=owned,
    )


def tls_arguments(param: Any) -> dict[str, str]:
    """Return pymilvus's arguments for the paths of a connection parameter, if given.

    It passes over a ``ca_pem_path`` without a client's certificate: that authority is meant
    to be the server's.
    """
    names = (
        "server_name",
        "server_pem_path",
        "ca_pem_path",
        "client_pem_path",
        "client_key_path",
    )
    given = {name: value for name in names if (value := getattr(param, name))}
    if (
        "ca_pem_path" in given
        and not {"server_pem_path", "client_pem_path"} & given.keys()
    ):
        given["server_pem_path"] = given.pop("ca_pem_path")
    return given
