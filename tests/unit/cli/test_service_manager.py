"""What a service manager hears of the service, on a real socket."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
import structlog

from cdc_actors.cli import service_manager
from cdc_actors.cli.service_manager import ServiceManager
from cdc_actors.errors import UnavailableError
from cdc_actors.service.views import Readiness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = structlog.get_logger()
READY = Readiness(ready=True, missing={}, tasks={"ok": 2, "degraded": 1})


class Service:
    """A service whose answers a test sets."""

    def __init__(self) -> None:
        self.is_well = True
        self.shown: Readiness | Exception = READY

    def alive(self) -> bool:
        """Return what was set."""
        return self.is_well

    def readiness(self) -> Readiness:
        """Return, or raise, what was set."""
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown


class Manager:
    """A service manager: takes down what it is told. One thread uses it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(60)
        self._socket.bind(address)

    def hear(self) -> str:
        """Wait for the next message."""
        return self._socket.recv(4096).decode()

    def hears_nothing_but(self, expected: set[str], messages: int) -> bool:
        """Tell whether the next messages are all among some."""
        return {self.hear() for _ in range(messages)} <= expected

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_manager, "STATUS_SECONDS", 0.01)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Yield a manager at a path, and at an address of Linux that is none."""
    is_path = request.param == "path"
    name = str(tmp_path / "notify") if is_path else f"\0cdc-{os.getpid()}"
    manager = Manager(name)
    yield manager
    manager.close()


def informed(manager: Manager, **environ: str) -> ServiceManager:
    """Return what a process with such an environment tells the manager."""
    address = manager.address.replace("\0", "@")
    return ServiceManager(LOG, {"NOTIFY_SOCKET": address, **environ})


def test_it_hears_the_beginning_the_state_and_the_end(manager: Manager) -> None:
    """No watchdog was asked for, so none is fed."""
    with informed(manager).informed(Service()) as stopping:
        assert manager.hear() == "READY=1\nSTATUS=started"
        assert manager.hear() == "STATUS=ready; 1 degraded, 2 ok"
        stopping()
        heard = [manager.hear()]
        while "STOPPING=1" not in heard[-1]:
            heard.append(manager.hear())
    assert heard[-1] == "STOPPING=1\nSTATUS=stopping"


def test_the_watchdog_is_fed_only_while_the_supervisor_answers(
    manager: Manager,
) -> None:
    """Once it does not, the manager hears that alone, and will end the process."""
    service = Service()
    with informed(manager, WATCHDOG_USEC="30000000").informed(service):
        assert manager.hear().startswith("READY=1")
        assert {manager.hear() for _ in range(4)} == {
            "WATCHDOG=1",
            "STATUS=ready; 1 degraded, 2 ok",
        }
        service.is_well = False
        unwell = "STATUS=the supervisor does not answer"
        while manager.hear() != unwell:
            pass
        assert manager.hears_nothing_but({unwell}, 5)


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (Readiness(ready=False, missing={"etcd": "away", "tasks": "full"}), None),
        (UnavailableError("etcd: away; tasks: full"), None),
        (Readiness(ready=True, missing={}, tasks={}), "ready; no tasks"),
    ],
)
def test_the_status_says_what_is_missing(
    manager: Manager, shown: Readiness | Exception, status: str | None
) -> None:
    """One line, whatever it is."""
    service = Service()
    service.shown = shown
    with informed(manager).informed(service):
        manager.hear()
        assert manager.hear() == f"STATUS={status or 'etcd: away; tasks: full'}"


@pytest.mark.parametrize("environ", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_of_another_process_is_not_fed(
    manager: Manager, environ: dict[str, str]
) -> None:
    """Nor one whose time cannot be read."""
    with informed(manager, **{"WATCHDOG_USEC": "30000000", **environ}).informed(
        Service()
    ):
        manager.hear()
        assert manager.hears_nothing_but({"STATUS=ready; 1 degraded, 2 ok"}, 3)


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_need_listen(environ: dict[str, str]) -> None:
    """Without a manager, or once it is gone, the service goes on."""
    with ServiceManager(LOG, environ).informed(Service()) as stopping:
        stopping()
