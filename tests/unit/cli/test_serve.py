"""Serving: the order of starting and stopping, signals, a taken port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
import structlog
from structlog.testing import capture_logs

from cdc_actors.cli.serve import run, stop_signals
from cdc_actors.errors import OperatorError, UnavailableError


class Double:
    """A service or a server that writes down what is done with it."""

    address = ("127.0.0.1", 8444)
    scheme = "http"

    def __init__(self, name: str, done: list[str], error: Exception | None = None):
        self.name = name
        self.done = done
        self.error = error

    def start(self) -> None:
        """Start, or fail."""
        self.done.append(f"start {self.name}")
        if self.error is not None:
            raise self.error

    def stop(self, timeout: float) -> None:
        """Stop."""
        assert timeout > 0
        self.done.append(f"stop {self.name}")

    def alive(self) -> bool:
        """Nobody asks it: there is no service manager."""
        raise NotImplementedError

    readiness = alive


def serve(done: list[str], *, service=None, server=None) -> list[str]:
    """Run with doubles until a signal that comes at once; return the log's events."""
    service = service or Double("service", done)
    server = server or Double("server", done)

    def wait() -> int:
        done.append("wait")
        return signal.SIGTERM

    with capture_logs() as events:
        run(service, server, wait, structlog.get_logger())
    return [f"{event['event']} {event.get('url', '')}".strip() for event in events]


def test_the_server_listens_first_and_stops_first():
    """A taken address is found before tasks start; requests end before the service."""
    done: list[str] = []

    serve(done)

    assert done == [
        "start server",
        "start service",
        "wait",
        "stop server",
        "stop service",
    ]


@pytest.mark.parametrize(
    ("scheme", "address", "url"),
    [
        ("http", ("127.0.0.1", 8444), "http://127.0.0.1:8444"),
        ("https", ("::1", 8444), "https://[::1]:8444"),
    ],
)
def test_it_says_where_it_listens(scheme, address, url):
    """The log has the URL, IPv6 in brackets."""
    server = Double("server", [])
    server.scheme, server.address = scheme, address

    events = serve([], server=server)

    assert events == [f"listening {url}", "stopping", "stopped"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(98, "Address already in use"), "Address already in use"),
        (OSError("unclear"), "unclear"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_an_operators_error(error, words):
    """The error names the address and the reason, and no task is started."""
    done: list[str] = []

    with pytest.raises(OperatorError, match=rf"127\.0\.0\.1:8444: {words}"):
        serve(done, server=Double("server", done, error))

    assert done == ["start server", "stop service"]


def test_a_service_that_cannot_start_stops_the_server():
    """Nothing is left running, and the error goes up as it is."""
    done: list[str] = []

    with pytest.raises(UnavailableError):
        serve(done, service=Double("service", done, UnavailableError("no store")))

    assert done == ["start server", "start service", "stop server", "stop service"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait(number):
    """The first SIGTERM or SIGINT is handed over, and handlers are put back after."""
    before = signal.getsignal(number)

    with stop_signals() as wait:
        os.kill(os.getpid(), number)
        assert wait() == number

    assert signal.getsignal(number) is before


def test_a_signal_that_does_not_interrupt_the_wait_still_ends_it():
    """Where another thread takes the signal the main thread sleeps on, and yet hears it."""

    def take() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    with stop_signals() as wait:
        timer = threading.Timer(0.3, take)
        timer.start()
        assert wait() == signal.SIGTERM
        timer.join()


PROGRAM = """
import sys, time
import structlog
from cdc_actors.cli.serve import run, stop_signals

class Double:
    address = ("127.0.0.1", 8444)
    scheme = "http"
    def start(self): pass
    def stop(self, timeout): pass

class Slow(Double):
    def stop(self, timeout):
        print("draining", flush=True)
        # A signal that comes just before a sleep does not interrupt it.
        while True:
            time.sleep(0.1)

with stop_signals() as wait:
    server = Slow() if sys.argv[1] == "slow" else Double()
    log = structlog.wrap_logger(structlog.PrintLogger())
    run(Double(), server, wait, log)
"""


@pytest.fixture
def program():
    """Return a function that starts the program and waits until it listens."""
    started = []

    def start(kind: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, kind], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert "http://127.0.0.1:8444" in process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_in_good_order_with_status_0(program, number):
    """A real process that gets a signal while it waits says that it stopped."""
    process = program("quick")

    process.send_signal(number)

    assert process.wait(60) == 0
    assert "stopped" in process.stdout.read()


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGINT, 130),
    ],
)
def test_the_second_signal_leaves_at_once(program, first, second, status):
    """A stop that takes long is cut off, with the status of the second signal."""
    process = program("slow")
    process.send_signal(first)
    assert any("draining" in line for line in process.stdout)

    process.send_signal(second)

    assert process.wait(60) == status


def test_authorities_that_cannot_be_read_are_named_at_the_start(tmp_path):
    """Before anything is written, and not when a request is to be passed on."""
    environ = {
        "CDC_ACTORS_SOURCE_CONFIG__URI": "http://127.0.0.1:1",
        "CDC_ACTORS_TLS__CA_PATH": "none.pem",
    }
    done = subprocess.run(
        [sys.executable, "-m", "cdc_actors", "serve"],
        env=os.environ | environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "tls.caPath none.pem cannot be read: No such file" in done.stderr
    assert list(tmp_path.iterdir()) == []
