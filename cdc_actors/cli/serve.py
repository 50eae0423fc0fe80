"""``cdc-actors serve``: the service, from its start to a signal."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

import click

from cdc_actors.cli.config_cmd import config_option
from cdc_actors.cli.ending import end
from cdc_actors.cli.service_manager import ServiceManager, Watched
from cdc_actors.config import load
from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from structlog.stdlib import BoundLogger

    from cdc_actors.config import Resolved

DRAIN_SECONDS = 10.0
STOP_SECONDS = 15.0
_EXAMPLES = """\b
Examples:
  cdc-actors serve --config cdc.yaml
  cdc-actors serve --config cdc.yaml --address 127.0.0.1:9444 --log-level debug
"""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Startable(Protocol):
    """What is started once, runs in threads of its own, and is stopped."""

    def start(self) -> None:
        """Start and return."""

    def stop(self, timeout: float) -> None:
        """Stop in good order within ``timeout`` seconds, also if it never started."""


class Runnable(Startable, Watched, Protocol):
    """The service."""


class Listener(Startable, Protocol):
    """A server."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port: those asked for, and once started the real ones."""

    @property
    def scheme(self) -> str:
        """How a URL of it begins: http or https."""


@click.command(epilog=_EXAMPLES)
@config_option
@click.option("--address", metavar="HOST:PORT", help="Address to listen on.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warn", "error"]),
    help="Lowest level that is logged.",
)
def serve(path: Path | None, address: str | None, log_level: str | None) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    The first signal stops requests and tasks in an orderly way; a second one ends the
    process at once. A service manager that set NOTIFY_SOCKET is told when requests are
    answered, how the tasks are, and, if it has a watchdog, that the supervisor answers.
    """
    flags = {"address": address, "logLevel": log_level}
    given = {key: value for key, value in flags.items() if value is not None}
    resolved = load(path, os.environ, given)
    with stop_signals() as wait:
        _serve(resolved, wait)
    end()


def _serve(resolved: Resolved, wait: Callable[[], int]) -> None:
    # What is loaded stays: nobody is to wait while the collector looks through it all.
    gc.disable()
    # Here, not above: together they take a second, which --help must not.
    import structlog  # noqa: PLC0415

    from cdc_actors.cli import logs  # noqa: PLC0415
    from cdc_actors.service.service import Service  # noqa: PLC0415
    from cdc_http.app import create_app  # noqa: PLC0415
    from cdc_http.server import Server  # noqa: PLC0415
    from cdc_http.tls import client_context, server_context  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    config = resolved.config
    logs.configure(config.log_level)
    log = structlog.get_logger()
    for warning in resolved.warnings:
        log.warning("configuration_warning", detail=warning)
    service = Service(config, logs.configure)
    app = create_app(
        service,
        tokens=config.auth.tokens,
        max_name_length=config.max_name_length,
        requests_channel=config.source_config.replicate_chan,
        trusted=client_context(config.tls.ca_path),
    )
    tls = config.tls.cert_path and server_context(
        config.tls.cert_path, config.tls.key_path
    )
    run(service, Server(app, *config.listen, tls=tls or None), wait, log)


def run(
    service: Runnable,
    server: Listener,
    wait: Callable[[], int],
    log: BoundLogger,
) -> None:
    """Run both until ``wait`` returns the number of a signal, then stop them.

    The server listens first, so that a taken address is found before anything is written,
    and probes are answered while the service waits for its store. It also stops first, so
    that no request meets a service that is going. Both are stopped if anything fails, too.

    Raises:
        OperatorError: The server cannot listen.
    """
    with ExitStack() as stack:
        stack.callback(service.stop, STOP_SECONDS)
        _listen(server)
        stack.callback(server.stop, DRAIN_SECONDS)
        service.start()
        log.info("listening", url=f"{server.scheme}://{_authority(*server.address)}")
        stopping = stack.enter_context(ServiceManager(log).informed(service))
        number = wait()
        stopping()
        log.info("stopping", signal=signal.Signals(number).name)
    log.info("stopped")


def _listen(server: Listener) -> None:
    try:
        server.start()
    except OSError as error:
        raise OperatorError(
            f"Cannot listen on {_authority(*server.address)}: "
            f"{error.strerror or error}. Set another address, or stop what is there."
        ) from error


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Take over SIGTERM and SIGINT in the main thread.

    Yields a function that waits for the first of them and returns its number. A second
    one ends the process at once with status 128 + its number.
    """
    # A handler may interrupt the very call that waits; SimpleQueue allows for that.
    arrived: SimpleQueue[int] = SimpleQueue()
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        arrived.put(number)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield lambda: _first(arrived)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first(arrived: SimpleQueue[int]) -> int:
    # A signal that comes in the moment before the wait begins does not interrupt it; its
    # handler runs when the wait ends.
    while True:
        with suppress(Empty):
            return arrived.get(timeout=1)
