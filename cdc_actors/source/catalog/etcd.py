"""A client of etcd: the few calls of its v3 API that following a catalog takes."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from cdc_actors.errors import CdcError, OperatorError, TransientError
from cdc_actors.source.catalog import etcd_pb2
from cdc_actors.source.catalog.shared_watch import Event, SharedWatches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdc_actors.config import Etcd
    from cdc_actors.source.catalog.shared_watch import SharedWatch

_TIMEOUT = 5.0
_PAGE = 1_000
MAX_RANGES = 128
"""Ranges in one transaction: etcd's default (``max-txn-ops``)."""

_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# etcd's own words (api/v3rpc/rpctypes/error.go); they have no code of their own.
_STALE_LOGIN = ("invalid auth token", "revision of auth store is old")
_NO_LOGIN_NEEDED = "authentication is not enabled"
_COMPACTED = "has been compacted"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    # A dead endpoint must not keep its back-off for the next channel to it.
    ("grpc.use_local_subchannel_pool", 1),
    # etcd takes pings more often than every five seconds for an attack.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]

_WATCHES = SharedWatches()

Metadata = tuple[tuple[str, str], ...]
Pairs = list[tuple[bytes, bytes]]
"""Keys and values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdConfig:
    """How to reach an etcd: ``endpoints`` are ``host:port``, with or without a scheme.

    Without ``username`` there is no login. The paths name PEM files; ``ca`` empty stands
    for the system's authorities.
    """

    endpoints: Sequence[str]
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    certificate: str = ""
    key: str = ""
    ca: str = ""


def config_of(etcd: Etcd) -> EtcdConfig:
    """Return what ``sourceConfig.etcd`` says."""
    return EtcdConfig(
        endpoints=tuple(etcd.address),
        username=etcd.username if etcd.enable_auth else "",
        password=etcd.password,
        tls=etcd.enable_tls,
        certificate=etcd.tls_cert_path,
        key=etcd.tls_key_path,
        ca=etcd.tls_ca_cert_path,
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """Keys and values as they were at one revision, in the order of the keys."""

    revision: int
    pairs: Pairs


class EtcdClient:
    """Reads one etcd, whichever of its endpoints answers. Used by one thread at a time.

    Reads are linearizable: they see all that was acknowledged before. Every call raises
    ``TransientError`` when no endpoint answers within five seconds each, and
    ``OperatorError`` when etcd refuses the login or the reading.
    """

    def __init__(self, config: EtcdConfig) -> None:
        self._config = config
        self._current = 0
        self._token = ""
        self._channel = self._open()

    def read(self, prefix: bytes, revision: int = 0, written_from: int = 0) -> Listing:
        """Return everything below ``prefix`` at ``revision``, or at the newest one.

        With ``written_from`` only what was written at that revision or later.
        """
        pairs: Pairs = []
        request = etcd_pb2.RangeRequest(
            key=prefix,
            range_end=_end_of(prefix),
            limit=_PAGE,
            revision=revision,
            min_mod_revision=written_from,
        )
        while True:
            answer = self._call("KV/Range", request, etcd_pb2.RangeResponse)
            pairs += _pairs(answer)
            request.revision = request.revision or answer.header.revision
            if not answer.more:
                return Listing(request.revision, pairs)
            request.key = answer.kvs[-1].key + b"\0"

    def read_together(
        self, prefixes: Sequence[bytes], revision: int = 0
    ) -> list[Pairs]:
        """Return what is below each prefix, all at ``revision``, or at the newest one.

        Few requests, however many prefixes: for small answers, which come whole.
        """
        found: list[Pairs] = []
        for first in range(0, len(prefixes), MAX_RANGES):
            ranges = [
                etcd_pb2.RangeRequest(
                    key=prefix, range_end=_end_of(prefix), revision=revision
                )
                for prefix in prefixes[first : first + MAX_RANGES]
            ]
            request = etcd_pb2.TxnRequest(
                success=[etcd_pb2.RequestOp(request_range=each) for each in ranges]
            )
            answer = self._call("KV/Txn", request, etcd_pb2.TxnResponse)
            revision = revision or answer.header.revision
            found += [_pairs(each.response_range) for each in answer.responses]
        return found

    def watch(self, prefixes: Sequence[bytes], revision: int) -> SharedWatch:
        """Follow what is written below ``prefixes``, from ``revision`` on.

        Whoever follows the same of the same etcd does so by one stream.
        """
        # A member that is cut off from the others must end the stream, not fall silent.
        metadata = (("hasleader", "true"), *_as_metadata(self._token))
        return _WATCHES.open(
            (self._config, list(prefixes)),
            revision,
            lambda: EtcdWatch(self._open(), metadata, prefixes, revision),
        )

    def close(self) -> None:
        """Close the connection. Watches go on. Idempotent."""
        self._channel.close()

    def _call(self, method: str, request: Any, answer: type[Any]) -> Any:
        failures = []
        for _ in self._config.endpoints:
            try:
                return self._call_logged_in(method, request, answer)
            except grpc.RpcError as error:
                if error.code() not in _UNREACHABLE:
                    raise _translated(error) from error
                failures.append(f"{self._address()}: {_details(error)}")
                self._next_endpoint()
        raise TransientError(f"etcd does not answer: {'; '.join(failures)}")

    def _call_logged_in(self, method: str, request: Any, answer: type[Any]) -> Any:
        """Call with the token at hand; get a new one, once, if etcd does not take it."""
        call = _stub(self._channel, method, answer)
        if self._config.username and not self._token:
            self._log_in()
        try:
            return call(request, timeout=_TIMEOUT, metadata=_as_metadata(self._token))
        except grpc.RpcError as error:
            if not _is_stale_login(error):
                raise
        self._log_in()
        return call(request, timeout=_TIMEOUT, metadata=_as_metadata(self._token))

    def _log_in(self) -> None:
        call = _stub(self._channel, "Auth/Authenticate", etcd_pb2.AuthenticateResponse)
        request = etcd_pb2.AuthenticateRequest(
            name=self._config.username, password=self._config.password
        )
        try:
            self._token = call(request, timeout=_TIMEOUT).token
        except grpc.RpcError as error:
            if _NO_LOGIN_NEEDED not in _details(error):
                raise

    def _next_endpoint(self) -> None:
        """Turn to the next endpoint."""
        self._current = (self._current + 1) % len(self._config.endpoints)
        self._channel.close()
        self._channel = self._open()

    def _address(self) -> str:
        """Return ``host:port`` without a scheme, and without a login, for texts too."""
        endpoint = self._config.endpoints[self._current]
        return endpoint.rpartition("://")[2].rpartition("@")[2]

    def _open(self) -> grpc.Channel:
        endpoint, address = self._config.endpoints[self._current], self._address()
        if self._config.tls or endpoint.startswith("https://"):
            return grpc.secure_channel(address, _credentials(self._config), _OPTIONS)
        return grpc.insecure_channel(address, _OPTIONS)


class EtcdWatch:
    """A stream of written keys, read by a thread of its own until it is closed."""

    def __init__(
        self,
        channel: grpc.Channel,
        metadata: Metadata,
        prefixes: Sequence[bytes],
        revision: int,
    ) -> None:
        self._channel = channel
        self._requests: queue.SimpleQueue[etcd_pb2.WatchRequest | None] = (
            queue.SimpleQueue()
        )
        for prefix in prefixes:
            create = etcd_pb2.WatchCreateRequest(
                key=prefix, range_end=_end_of(prefix), start_revision=revision
            )
            self._requests.put(etcd_pb2.WatchRequest(create_request=create))
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self._error: CdcError | None = None
        self._heard: Callable[[], None] | None = None
        self._stream = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=etcd_pb2.WatchRequest.SerializeToString,
            response_deserializer=etcd_pb2.WatchResponse.FromString,
        )(iter(self._requests.get, None), metadata=metadata)
        self._reader = threading.Thread(
            target=self._read, name="etcd-watch", daemon=True
        )
        self._reader.start()

    @property
    def is_broken(self) -> bool:
        """Whether it tells of no more."""
        return self._error is not None

    def take(self) -> list[Event]:
        """Return what was put or removed since the last call, at once.

        Raises:
            CdcError: The stream ended; what was written since is lost to this watch.
                ``OperatorError`` if etcd refuses to be read, else ``TransientError``.
        """
        with self._lock:
            if self._error:
                raise self._error
            events, self._events = self._events, []
        return events

    def listen(self, heard: Callable[[], None]) -> None:
        """Have something called by the thread that reads when there is something to take.

        What came before is not told of.
        """
        self._heard = heard

    def close(self) -> None:
        """End the stream and its thread. Idempotent."""
        self._stream.cancel()
        self._requests.put(None)
        self._reader.join()
        self._channel.close()

    def _read(self) -> None:
        try:
            for answer in self._stream:
                if answer.canceled:
                    self._end(_cancelled(answer))
                    return
                with self._lock:
                    self._events += [
                        Event(each.kv.mod_revision, each.kv.key)
                        for each in answer.events
                    ]
                self._tell()
            self._end(TransientError("etcd ended the watch"))
        except grpc.RpcError as error:
            self._end(_translated(error))
        except Exception as error:  # noqa: BLE001 - must not look like a quiet catalog
            self._end(TransientError(f"etcd: the watch failed with {error!r}"))

    def _end(self, error: CdcError) -> None:
        with self._lock:
            self._error = error
        self._tell()

    def _tell(self) -> None:
        if self._heard is not None:
            self._heard()


def _end_of(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with ``prefix``."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _pairs(answer: etcd_pb2.RangeResponse) -> Pairs:
    return [(pair.key, pair.value) for pair in answer.kvs]


def _stub(channel: grpc.Channel, method: str, answer: type[Any]) -> Callable[..., Any]:
    stub: Callable[..., Any] = channel.unary_unary(
        f"/etcdserverpb.{method}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return stub


def _as_metadata(token: str) -> Metadata:
    return (("token", token),) if token else ()


def _is_stale_login(error: grpc.RpcError) -> bool:
    return any(phrase in _details(error) for phrase in _STALE_LOGIN)


def _details(error: grpc.RpcError) -> str:
    return str(error.details() or "no reason given")


def _translated(error: grpc.RpcError) -> CdcError:
    details = _details(error)
    if _is_stale_login(error) or error.code() in _UNREACHABLE or _COMPACTED in details:
        return TransientError(f"etcd: {details}")
    return OperatorError(f"etcd refuses: {details} ({error.code().name})")


def _cancelled(answer: etcd_pb2.WatchResponse) -> CdcError:
    if answer.compact_revision:
        return TransientError(
            f"etcd no longer holds the changes before revision {answer.compact_revision}"
        )
    return OperatorError(f"etcd refuses the watch: {answer.cancel_reason}")


def _credentials(config: EtcdConfig) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_pem(config.ca),
        private_key=_pem(config.key),
        certificate_chain=_pem(config.certificate),
    )


def _pem(path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OperatorError(f"cannot read {path}, needed for etcd: {error}") from error
