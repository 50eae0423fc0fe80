"""What every embedded server has in common: its life, and when it is ready."""

from __future__ import annotations

import http.client
import signal
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

import grpc
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from cdc_actors.beside import uninterrupted
from cdc_actors.embedded.ports import HOST, PortBlock
from cdc_actors.embedded.process import ServerProcess
from cdc_actors.errors import OperatorError
from cdc_actors.grpc_common import status_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_POLL = 0.05
_ANSWER_TIMEOUT = 2.0


class EmbeddedServer(ABC):
    """A server on 127.0.0.1 with its data in ``folder`` and its ports until ``close``.

    May be stopped or killed and started again any number of times; data and addresses
    stay. As a context manager it starts on entry and closes on exit. Used by one thread
    at a time.
    """

    name: ClassVar[str]
    _port_names: ClassVar[tuple[str, ...]]
    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.ports = PortBlock(self._port_names)
        self._process = ServerProcess(self.folder / "server.log")

    @property
    def uri(self) -> str:
        """What its clients connect to."""
        return f"http://{self._address}"

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it is stopped."""
        return self._process.pid

    def start(self, timeout: float = 120.0) -> None:
        """Start the server unless it runs, and wait until it answers.

        Raises:
            OperatorError: It cannot run here, ended by itself, or does not answer
                within ``timeout`` seconds; the text has the end of its log. It is
                stopped then.
        """
        if self._process.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._prepare()
        self._process.start(command, folder=self.folder, env=self._environment())
        try:
            self._wait(time.monotonic() + timeout)
        except BaseException:
            self._process.kill()
            raise

    def stop(self) -> None:
        """End the server in good order, or by force after five seconds. Idempotent."""
        self._process.stop(self._stop_signal)

    def kill(self) -> None:
        """End the server at once, as a crash would. Idempotent."""
        self._process.kill()

    def close(self) -> None:
        """Stop for good and give the ports back. Idempotent."""
        self.stop()
        self.ports.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _address(self) -> str:
        return f"{HOST}:{self.ports['api']}"

    @abstractmethod
    def _prepare(self) -> Sequence[str]:
        """Write what the server reads at start; return the command that starts it."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    @uninterrupted
    def _is_ready(self) -> bool:
        """Tell whether a call goes through."""
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(self._address, options) as channel:
            stub = milvus_pb2_grpc.MilvusServiceStub(channel)
            request = milvus_pb2.ShowCollectionsRequest()
            try:
                answer = stub.ShowCollections(request, timeout=_ANSWER_TIMEOUT)
            except grpc.RpcError:
                return False
        return status_code(answer.status) == 0

    def _wait(self, deadline: float) -> None:
        while not self._is_ready():
            if not self._process.running:
                raise self._failure("ended while it started")
            if time.monotonic() > deadline:
                raise self._failure("did not answer in time")
            time.sleep(_POLL)

    def _failure(self, what: str) -> OperatorError:
        tail = self._process.log_tail()
        return OperatorError(f"{self.name} {what}. Its log ends:\n{tail}")


def body_at(port: int, path: str, timeout: float) -> bytes:
    """Return what a server here answers to GET, nothing where it does not."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()
