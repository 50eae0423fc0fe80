"""What systemd, or whoever else started the service with NOTIFY_SOCKET, is told of it.

The protocol is that of sd_notify(3): datagrams of ``NAME=value`` lines to a Unix socket.
Under no service manager nothing is sent.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from cdc_actors.errors import CdcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from structlog.stdlib import BoundLogger

    from cdc_actors.service.views import Readiness

STATUS_SECONDS = 10.0
"""How often the status is told, at most; a watchdog is told more often if it asks."""

SEND_SECONDS = 1.0
"""How long a manager may take to listen before it goes without what it was to hear."""


class Watched(Protocol):
    """The service, as far as its manager looks at it. Any thread may call it."""

    def alive(self) -> bool:
        """Say whether the supervisor answers, within some seconds."""

    def readiness(self) -> Readiness:
        """Say whether the service can do its work, and what is missing."""


class ServiceManager:
    """Sends what a service has to say, and never fails because nobody listens."""

    def __init__(
        self, log: BoundLogger, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._log = log
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = f"\0{self._address[1:]}"
        self._watchdog = _watchdog_seconds(environ)
        self._lock = threading.Lock()
        self._is_stopping = False

    @contextmanager
    def informed(self, service: Watched) -> Iterator[Callable[[], None]]:
        """Say that the service answers, and go on to say how it is until the end.

        Yields a function that says that it is stopping; nothing more is said then. For
        how long that may take the manager has a limit beside the watchdog.
        """
        self._send("READY=1", "STATUS=started")
        ended = threading.Event()
        thread = threading.Thread(
            target=self._go_on,
            args=[service, ended],
            name="service-manager",
            daemon=True,
        )
        if self._address:
            thread.start()

        def stopping() -> None:
            self._send("STOPPING=1", "STATUS=stopping", is_last=True)
            ended.set()

        try:
            yield stopping
        finally:
            ended.set()

    def _go_on(self, service: Watched, ended: threading.Event) -> None:
        seconds = min(STATUS_SECONDS, self._watchdog / 3 or STATUS_SECONDS)
        while not ended.wait(seconds):
            self._tell(service)

    def _tell(self, service: Watched) -> None:
        """Whoever does not answer is not to be believed alive."""
        if not service.alive():
            self._send("STATUS=the supervisor does not answer")
            return
        if self._watchdog:
            self._send("WATCHDOG=1")
        try:
            self._send(f"STATUS={_status(service.readiness())}")
        except CdcError as error:
            self._send(f"STATUS={error}")

    def _send(self, *lines: str, is_last: bool = False) -> None:
        with self._lock:
            if self._is_stopping or not self._address:
                return
            self._is_stopping = is_last
            text = "\n".join(" ".join(line.split()) for line in lines)
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.settimeout(SEND_SECONDS)
                    sender.connect(self._address)
                    sender.send(text.encode())
            except OSError as error:
                self._log.warning("service_manager_not_informed", error=str(error))


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return after how long without a word the manager ends this process, 0 for never."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(environ.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0


def _status(readiness: Readiness) -> str:
    """Return one line about a service."""
    if readiness.missing:
        return "; ".join(f"{what}: {why}" for what, why in readiness.missing.items())
    counts = sorted((readiness.tasks or {}).items())
    return "ready; " + (
        ", ".join(f"{n} {status}" for status, n in counts) or "no tasks"
    )
