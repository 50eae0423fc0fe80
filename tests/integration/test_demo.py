"""The demo from outside: what it shows, its exit statuses, and that it cleans up."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cdc_actors.cli.demo.screen import Screen
from cdc_actors.cli.main import main
from cdc_actors.embedded.kafka import EmbeddedKafka
from cdc_actors.embedded.pulsar import EmbeddedPulsar
from tests.support.skips import or_skip

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = ("--rows", "600")
WITHOUT_MILVUS = """
import importlib.util
from cdc_actors.cli.main import main
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "milvus" else find(name)
main(["demo", "--exit"])
"""
DIFFERENT = """
from cdc_actors.cli.demo.scenario import DemoScenario
from cdc_actors.cli.main import main
DemoScenario.run = lambda self: False
main(["demo", "--exit"])
"""


class Demo:
    """A running demo, in a process group of its own as a shell would start it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""

    def read_until(self, label: str) -> None:
        """Read its output up to the step that ``label`` begins, once it is done."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if line.startswith(label) and not line.endswith("...\n"):
                return
        raise AssertionError(f"never {label!r} in {self.output}")

    def end(self, number: signal.Signals) -> int:
        """Send a signal as a terminal does, to the whole group; return the status."""
        os.killpg(self.process.pid, number)
        return self.finish()

    def finish(self) -> int:
        """Read the rest of its output; return the exit status.

        One that does not end says where it hangs.
        """
        try:
            rest, _ = self.process.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            rest, _ = self.process.communicate()
        self.output += rest
        return self.process.returncode


@contextmanager
def demo(*arguments: str | Path, **environment: str) -> Iterator[Demo]:
    """Run the demo; both outputs are one."""
    with subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "cdc_actors", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield Demo(process)
        finally:
            process.kill()


def processes_in(folder: Path) -> dict[int, Path]:
    """Return the processes that work below ``folder``: all that a demo starts do."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place = (entry / "cwd").readlink()
        except OSError:  # It has ended meanwhile.
            continue
        if place.is_relative_to(folder):
            found[int(entry.name)] = place
    return found


def assert_all_ended(folder: Path) -> None:
    """Wait for the processes that the kernel is just ending."""
    deadline = time.monotonic() + 30
    while left := processes_in(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize(
    "options",
    [
        ("--target", "lite"),
        ("--target", "milvus", "--mq", "rocksmq"),
        ("--mq", "kafka"),
        ("--mq", "pulsar"),
    ],
    ids=" ".join,
)
@pytest.mark.thorough
def test_both_sides_are_equal_after_a_kill(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """The whole demo ends with status 0, in plain lines, and leaves no process."""
    _skip_without_java(options)
    with demo("--exit", *options, "--folder", tmp_path) as run:
        status = run.finish()

    assert status == 0, run.output
    assert_in_plain_lines(run)
    assert "Equal: 3 collections, 3,814 rows." in run.output
    assert "snapshot of default.archive completed: 762 rows" in run.output
    assert ("its log is cut" in run.output) == ("--mq" not in options)
    assert "  created, to replicate default.* to http" in run.output
    assert processes_in(tmp_path) == {}
    assert (tmp_path / "service" / "cdc.yaml").exists()


def assert_in_plain_lines(run: Demo) -> None:
    """Check what a demo has shown: each step in its turn, and nothing for terminals."""
    labels = [line.split(" ")[0] for line in run.output.splitlines()]
    assert labels.index("kill") < labels.index("restart") < labels.index("compare")
    assert not {"\r", "\x1b"} & {*run.output}


def test_the_printed_requests_work_until_ctrl_c(tmp_path: Path) -> None:
    """Both sides are equal; then its curl lines do what they say, until Ctrl-C."""
    with demo(*FEW, TMPDIR=str(tmp_path)) as run:
        run.read_until("# delete")
        run.read_until("curl")
        assert processes_in(tmp_path)
        page, metrics = (_fetch(run.output, name) for name in ("page", "metrics"))
        answers = [
            _send(line) for line in run.output.splitlines() if line.startswith("curl")
        ]
        status = run.end(signal.SIGINT)

    assert_in_plain_lines(run)
    assert "Equal: 3 collections" in run.output
    assert "its log is cut" in run.output
    assert "snapshot of default.archive completed" in run.output
    assert "<!doctype html>" in page.lower()
    assert "cdc_ready 1.0" in metrics
    listed, got, *rest = answers
    assert listed["data"]["tasks"][0]["task_id"] == got["data"]["task"]["task_id"]
    assert got["data"]["task"]["state"] == "Running"
    assert rest == [{"code": 200, "data": {}}] * 3
    assert status == 0, run.output
    assert processes_in(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mq", "label", "number", "expected"),
    [
        pytest.param(
            "natsmq", "source", signal.SIGTERM, 143, marks=pytest.mark.thorough
        ),
        ("natsmq", "kill", signal.SIGKILL, -signal.SIGKILL),
        pytest.param("natsmq", "write", signal.SIGINT, 130, marks=pytest.mark.thorough),
        pytest.param("kafka", "source", signal.SIGINT, 130, marks=pytest.mark.thorough),
    ],
)
def test_no_process_outlives_it(
    tmp_path: Path, mq: str, label: str, number: signal.Signals, expected: int
) -> None:
    """Ended on the way, at whatever step and by whatever signal, it leaves nothing."""
    _skip_without_java((mq,))
    with demo(*FEW, "--mq", mq, TMPDIR=str(tmp_path)) as run:
        run.read_until(label)
        assert processes_in(tmp_path)
        status = run.end(number)

    assert status == expected, run.output
    assert "Traceback" not in run.output
    assert_all_ended(tmp_path)
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_a_service_that_dies_is_a_failure(tmp_path: Path) -> None:
    """Status 1, and what the service logged last, where it ends by itself."""
    with demo("--exit", "--folder", tmp_path) as run:
        run.read_until("restart")
        (pid,) = (
            pid
            for pid, place in processes_in(tmp_path).items()
            if place == tmp_path / "service"
        )
        os.kill(pid, signal.SIGKILL)
        status = run.finish()

    assert status == 1
    assert "Error: cdc-actors serve has ended. Its log ends:\n{" in run.output
    assert processes_in(tmp_path) == {}


def test_a_missing_milvus_is_one_sentence() -> None:
    """Where there is no Milvus to run, one line says so, and nothing else."""
    done = _python(WITHOUT_MILVUS)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: The package milvus 2.3.5")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("mq", "java", "address"),
    [("kafka", 11, "HOST:PORT"), ("pulsar", 17, "pulsar://HOST:PORT")],
)
def test_a_machine_without_java_is_one_sentence(
    mq: str, java: int, address: str
) -> None:
    """Where no broker can be started, one line says what is missing and what else to do."""
    done = subprocess.run(
        [sys.executable, "-m", "cdc_actors", "demo", "--mq", mq],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": ""},
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"Error: demo --mq {mq} needs Java from {java} on and Maven to start a "
        f"{mq.title()}: there is no java on the PATH; or --broker {address} of one that "
        "runs.\n"
    )


@pytest.mark.parametrize("mq", ["rocksmq", "kafka", "pulsar"])
def test_a_missing_client_library_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, mq: str
) -> None:
    """Before anything is started, it says which extra brings the library."""
    for library in ("rocksdict", "confluent_kafka", "pulsar"):
        monkeypatch.setitem(sys.modules, library, None)  # type: ignore[arg-type]

    result = CliRunner().invoke(main, ["demo", "--mq", mq])

    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"pip install 'cdc-actors[{mq}]'" in result.stderr


def test_a_broker_goes_with_its_queues() -> None:
    """Where the queue is inside Milvus, a broker is wrong usage."""
    result = CliRunner().invoke(main, ["demo", "--broker", "localhost:9092"])
    assert result.exit_code == 2
    assert "--broker goes with kafka and pulsar" in result.output


def test_a_difference_has_a_status_of_its_own() -> None:
    """A demo whose comparison is not equal ends with 3."""
    assert _python(DIFFERENT).returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [["--target", "kafka"], ["--rows", "0"], ["--rows", "many"], ["--exti"]],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    """Options that are not there or out of range start nothing."""
    result = CliRunner().invoke(main, ["demo", *arguments])

    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """Files that are there already are not mixed with the demo's."""
    (tmp_path / "mine").touch()

    result = CliRunner().invoke(main, ["demo", "--folder", str(tmp_path)])

    assert result.exit_code == 2
    assert "is not empty; name a new folder" in result.stderr


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make standard output a terminal; yield where its other end is read."""
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(theirs, "w") as output:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", output)
        yield ours
    os.close(ours)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_shows_what_goes_on(
    monkeypatch: pytest.MonkeyPatch, no_color: str, *, coloured: bool
) -> None:
    """A step is seen while it goes on; its last line is in colour unless NO_COLOR."""
    monkeypatch.setenv("NO_COLOR", no_color)
    with terminal(monkeypatch) as screen:
        with Screen().step("write") as step:
            step.show("5 rows")
            _read_until(screen, b"write     5 rows ... 0 s")
            step.show("6 rows")
        last = _read_until(screen, b"6 rows      ")

    assert (b"\x1b[32m" in last) == coloured


def _skip_without_java(options: tuple[str, ...]) -> None:
    for server in (EmbeddedKafka, EmbeddedPulsar):
        if server.name.lower() in options:
            with or_skip():
                server.artifact.check()


def _read_until(descriptor: int, end: bytes) -> bytes:
    seen = b""
    while end not in seen:
        seen += os.read(descriptor, 1024)
    return seen


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _fetch(output: str, name: str) -> str:
    """Return what is at the address that the demo names."""
    (address,) = re.findall(rf"^  {name} +(\S+)", output, re.MULTILINE)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=30) as response:
        return response.read().decode()


def _send(line: str) -> dict[str, object]:
    """Do what curl would do with the words that a shell makes of the line."""
    curl, silent, address, header, value, data, body = shlex.split(line)
    assert (curl, silent, header, data) == ("curl", "-s", "-H", "-d")
    headers = dict([value.split(": ")])
    request = urllib.request.Request(address, body.encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        return json.load(response)
