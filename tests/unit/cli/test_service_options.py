"""How commands come to their service: URL, scheme, ids cut short, and readers that end."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cdc_actors.cli import watch_cmd
from cdc_actors.cli.main import main
from cdc_actors.tasks import ConnectParam, TaskSpec
from cdc_http import Server, create_app
from cdc_http.tls import server_context
from tests.support.http_service import FakeService, entry, task_view
from tests.support.tls import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

CLI = Path(sys.executable).with_name("cdc-actors")
NOWHERE = "http://127.0.0.1:1"
IDS = tuple(begin + "0" * 30 for begin in ("aa", "ab", "b0"))


@pytest.fixture
def service() -> FakeService:
    """Return tasks in memory, and a history of three events."""
    return FakeService(events=[entry(1, "created"), entry(2, "paused"), entry(3)])


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    """Serve them, and yield where."""
    server = Server(create_app(service), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.address[1]}"
    server.stop()


def run(*arguments: str, **environ: str) -> tuple[int, str]:
    """Return the status of a command, and what it printed."""
    done = CliRunner(env=environ).invoke(main, arguments)
    return done.exit_code, done.output


def test_the_url_may_stand_anywhere(url: str) -> None:
    """Before any of the words or behind them, and what is nearest to the end counts."""
    words = ["task", "list"]
    for place in range(3):
        given = [*words[:place], "--url", url, *words[place:]]
        assert run(*given, CDC_ACTORS_URL=NOWHERE)[0] == 0
    assert run("--url", NOWHERE, "task", "--url", NOWHERE, "list", "--url", url)[0] == 0
    assert run("--url", url, "task", "list", "--url", NOWHERE)[0] == 4
    assert run("--url", url, "history", IDS[0])[0] == 0


def test_the_url_may_come_from_the_environment(url: str) -> None:
    """Where no option says otherwise."""
    assert run("task", "list", CDC_ACTORS_URL=url)[0] == 0
    assert run("history", IDS[0], CDC_ACTORS_URL=url)[0] == 0
    status, told = run("task", "list", CDC_ACTORS_URL=NOWHERE)
    assert (status, NOWHERE in told) == (4, True)


COMMANDS = (
    ("task", "get"),
    ("task", "pause"),
    ("task", "retry"),
    ("task", "resync", "--collection", "a"),
    ("task", "acknowledge"),
    ("task", "update", "--connect-timeout", "7"),
    ("task", "watch"),
    ("task", "delete"),
    ("history",),
)


@pytest.fixture
def tasks(service: FakeService, url: str) -> FakeService:
    """Return the service with three tasks."""
    assert url
    spec = TaskSpec(target=ConnectParam(uri="http://h:1"), collection_infos=("*",))
    service.tasks = {each: task_view(each, spec) for each in IDS}
    return service


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_task_is_known_by_the_beginning_of_its_id(
    tasks: FakeService, url: str, command: tuple[str, ...], monkeypatch
) -> None:
    """By every command, whose output nobody reads here: so watch ends."""
    monkeypatch.setattr(watch_cmd, "is_read", lambda: False)
    tasks.asked.clear()
    status, told = run(*command, "ab", "--url", url)
    assert status == 0, told
    assert IDS[1] in {each[1] for each in tasks.asked if len(each) > 1}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_tasks_that_begin_so_are_named(
    tasks: FakeService, url: str, command: tuple[str, ...]
) -> None:
    """Where there are several nothing is done."""
    tasks.asked.clear()
    status, told = run(*command, "a", "--url", url)
    words = f"several tasks begin with a: {IDS[0]}, {IDS[1]}"
    assert (status, words in told) == (1, True)
    assert tasks.asked == [("list",)]


@pytest.mark.parametrize("given", ["ac", IDS[2], "nightly"])
def test_an_id_that_is_no_beginning_is_left_alone(
    tasks: FakeService, url: str, given: str
) -> None:
    """The service says what it thinks of it; a whole one asks for no list."""
    del tasks.tasks[IDS[2]]
    tasks.asked.clear()
    status, told = run("task", "get", given, "--url", url)
    assert (status, "not found" in told) == (1, True)
    assert (("list",) in tasks.asked) == (given != IDS[2])


def test_times_have_their_zone(tasks: FakeService, url: str) -> None:
    """A person who reads a history need not guess."""
    told = run("history", IDS[0], "--url", url)[1]
    assert told.count("2026-11-24T12:30:00.000Z  ") == 3


def test_https_where_http_is_spoken(url: str) -> None:
    """It is said, and at once, though such a greeting is no end of a request."""
    status, told = run("task", "list", "--url", url.replace("http", "https"))
    assert (status, "the URL must begin with http://" in told) == (1, True)


def test_http_where_https_is_spoken(service: FakeService, tmp_path: Path) -> None:
    """The reverse is said, too."""
    files = certificates(tmp_path)
    context = server_context(str(files.certificate), str(files.key))
    server = Server(create_app(service), "127.0.0.1", 0, tls=context)
    server.start()
    url = f"http://127.0.0.1:{server.address[1]}"
    for words in (["task", "list"], ["history", IDS[0], "--follow"]):
        status, told = run(*words, "--url", url)
        assert (status, "the URL must begin with https://" in told) == (1, True), told
    server.stop()


def test_a_server_that_hangs_up_is_not_taken_for_another(tmp_path: Path) -> None:
    """One that ends each connection without a word speaks neither."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def hang_up() -> None:
            for _ in range(2):
                listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        status, told = run("task", "list", "--url", url)
        thread.join()
    assert (status, "does not answer" in told) == (4, True)


@pytest.mark.parametrize(
    "command", [("history", IDS[0], "--follow"), ("task", "watch", IDS[0])]
)
def test_what_follows_ends_when_nobody_reads(
    tasks: FakeService, url: str, command: tuple[str, ...]
) -> None:
    """As with ``| head -1``, though nothing more happens that would be printed."""
    process = subprocess.Popen(
        [CLI, "--url", url, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    with process:
        assert process.stderr.read() == ""
