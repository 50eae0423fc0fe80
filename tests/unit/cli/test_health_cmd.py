"""``cdc-actors health`` on the real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from cdc_actors.service.views import Readiness
from cdc_http import Server, create_app
from tests.support.http_service import FakeService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

MISSING = Readiness(ready=False, missing={"etcd": "away", "tasks": "full"}, tasks=None)


@pytest.fixture
def service() -> FakeService:
    """Return a service in memory that is well."""
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    """Serve it, and yield where."""
    server = Server(create_app(service), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.address[1]}"
    server.stop()


def ask(url: str, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["health", "--url", url, *options])


@pytest.mark.parametrize(("options", "word"), [((), "alive"), (("--ready",), "ready")])
def test_it_is_well(url: str, options: tuple[str, ...], word: str) -> None:
    """A word and status 0."""
    done = ask(url, *options)
    assert (done.exit_code, done.output) == (0, f"{word}\n")


def test_what_is_missing_is_said(service: FakeService, url: str) -> None:
    """On standard error, with status 4; a program reads the answer."""
    service.ready = MISSING
    done = ask(url, "--ready")
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr == "Error: the service is not ready: etcd: away; tasks: full\n"
    read = json.loads(ask(url, "--ready", "-o", "json").stdout)
    assert read == {"ready": False, "missing": MISSING.missing}


def test_a_supervisor_that_does_not_answer_is_not_alive(
    service: FakeService, url: str
) -> None:
    """Whoever restarts containers goes by the status."""
    service.is_alive = False
    done = ask(url)
    assert (done.exit_code, done.stderr) == (4, "Error: the service is not alive\n")


def test_nobody_is_there() -> None:
    """That is not well, either."""
    assert ask("http://127.0.0.1:1").exit_code == 4
