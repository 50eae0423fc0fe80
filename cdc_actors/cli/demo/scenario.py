"""What happens in the demo, step by step."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from cdc_actors.beside import uninterrupted
from cdc_actors.cli import logs
from cdc_actors.cli.demo.broker import own_broker
from cdc_actors.cli.demo.older import cut, written_until
from cdc_actors.cli.demo.screen import Screen
from cdc_actors.cli.demo.service import ServiceProcess
from cdc_actors.cli.demo.writer import Reader, Writer
from cdc_actors.cli.history_cmd import lines_of
from cdc_actors.compare import compare
from cdc_actors.embedded.binaries import milvus_binaries
from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.errors import OperatorError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from cdc_actors.cli.demo.screen import Step
    from cdc_actors.compare import Report
    from cdc_actors.embedded.maven import JavaServer
    from cdc_actors.embedded.server import EmbeddedServer

_PARTS = 5
"""In how many parts rows are written: the first is older than the task."""

_START_TIMEOUT = 120.0
_STALL_TIMEOUT = 60.0
_SETTLE_TIMEOUT = 20.0
_POLL_INTERVAL = 0.1
_CONNECT_TIMEOUT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """What a demo is made of.

    The source's message queue is ``mq``; kafka and pulsar run at ``broker``, or are
    started where that is empty. ``target`` is ``lite`` or ``milvus``. ``rows`` are
    inserted.
    """

    target: str
    rows: int
    mq: Literal["natsmq", "rocksmq", "kafka", "pulsar"]
    broker: str


class DemoScenario:
    """One run: servers with their data in ``folder``, which ``stack`` closes.

    Used by one thread.
    """

    def __init__(self, stack: ExitStack, folder: Path, settings: DemoSettings) -> None:
        """Raise OperatorError where something is missing that ``settings`` needs."""
        logs.configure("error")
        self._screen = Screen()
        self._stack = stack
        self._folder = folder
        self._rows = settings.rows
        self._rows_there = 0
        self._is_cut = settings.mq == "natsmq"
        self._broker = own_broker(settings.mq, settings.broker, folder / "broker")
        # Of a broker that others use, too, only what nobody else has.
        channels = f"demo-{uuid4().hex[:8]}" if settings.broker else "by-dev"
        self._source = EmbeddedMilvus(
            folder / "source",
            mq=settings.mq,
            broker=self._broker.address if self._broker else settings.broker,
            channels=channels,
        )
        lite = settings.target == "lite"
        self._target: EmbeddedServer = (EmbeddedLite if lite else EmbeddedMilvus)(
            folder / "target"
        )
        self._package = "milvus-lite" if lite else "milvus"
        self._service = ServiceProcess(folder / "service", self._source)
        for server in (self._broker, self._source, self._target, self._service):
            if server:
                stack.callback(server.close)

    def run(self) -> bool:
        """Run the demo; return whether both sides are equal at the end.

        Raises:
            CdcError: A server does not start or has ended, one refuses, or the target
                does not catch up in time.
        """
        began = time.monotonic()
        self._start_source()
        self._write_archive()
        self._start_replication()
        self._write()
        self._catch_up()
        report = self._compare()
        seconds = time.monotonic() - began
        self._tell_history()
        *details, verdict = report.lines()
        self._screen.say("", *details)
        self._screen.verdict(f"{verdict} {seconds:.0f} s in all.", good=report.equal)
        return report.equal

    def invite(self) -> None:
        """Say what there is to play with."""
        task = {"task_id": self._task_id}
        self._screen.say(
            "",
            "All of it stays up until Ctrl-C. Write to the source and read the target:",
            f"  source   {self._source.uri}",
            f"  target   {self._target.uri}",
            f"  service  {self._service.uri}",
            f"  page     {self._service.uri}/ (open it in a browser)",
            f"  metrics  {self._service.uri}/metrics (for Prometheus)",
            f"  folder   {self._folder}",
        )
        for kind in ("list", "get", "pause", "resume", "delete"):
            line = self._service.curl(kind, None if kind == "list" else task)
            self._screen.say("", f"# {kind}", line)

    def _start_source(self) -> None:
        with self._screen.step("unpack", worth=1.0) as step:
            step.show("Milvus, only this once")
            milvus_binaries()
        if self._broker:
            self._start_broker(self._broker)
        self._start_one("source", version("milvus"), self._source)
        self._writer = self._stack.enter_context(closing(Writer(self._source.uri)))

    def _write_archive(self) -> None:
        """Write what files have, and no log where it can be cut, before there is a task."""
        rows = self._rows // _PARTS
        with self._screen.step("archive") as step:
            tally = self._writer.write_archive(rows, step.show)
            ends = written_until(self._source, "archive", self._writer.flush_archive)
            if self._is_cut:
                cut(self._source.nats_address, ends)
            left = "its log is cut" if self._is_cut else "they are in files"
            step.show(f"{tally}; {left}")

    def _start_replication(self) -> None:
        self._start_one("target", version(self._package), self._target)
        self._start_one("service", version("cdc-actors"), self._service)
        with self._screen.step("task") as step:
            connect = {"uri": self._target.uri, "connect_timeout": _CONNECT_TIMEOUT}
            request = {
                "milvus_connect_param": connect,
                "collection_infos": [{"name": "*"}],
                "snapshot": "auto" if self._is_cut else "always",
            }
            self._task_id = self._service.ask("create", request)["task_id"]
            step.show(f"{self._task_id}, all of the database default")
        self._reader = self._stack.enter_context(closing(Reader(self._target.uri)))

    def _start_broker(self, broker: JavaServer) -> None:
        artifact = broker.artifact
        with self._screen.step("fetch", worth=1.0) as step:
            step.show(f"{artifact.name} {artifact.version} by Maven, only this once")
            artifact.jars()
        self._start_one("broker", artifact.version, broker)

    def _start_one(self, label: str, release: str, server: EmbeddedServer) -> None:
        with self._screen.step(label) as step:
            step.show(f"starting {server.name}")
            server.start(_START_TIMEOUT)
            step.show(f"{server.name} {release} at {server.uri}")

    def _write(self) -> None:
        """Write in four parts, and kill the service while it is at the second."""
        part, rest = divmod(self._rows, _PARTS)
        with self._screen.step("create") as step:
            step.show("collections, each with an index, and loading them")
            self._writer.create()
            step.show(f"{', '.join(self._writer.names)}: each indexed and loaded")
        self._write_part(part)
        with self._screen.step("arrive") as step:
            self._until(lambda: self._arrived(step) > 0, "No row is at the target")
        self._write_part(part)
        with self._screen.step("kill") as step:
            step.show("SIGKILL to the service")
            self._service.kill()
            self._arrived(step)
            step.show(f"SIGKILL to the service; {step.text}")
        self._write_part(part, ", no service")
        with self._screen.step("restart") as step:
            step.show("starting the service again")
            self._service.start(_START_TIMEOUT)
            step.show("the service is back, with what it had written down")
        self._write_part(part + rest)

    def _write_part(self, rows: int, remark: str = "") -> None:
        with self._screen.step("write") as step:
            tally = self._writer.write(rows, step.show)
            step.show(f"{tally}{remark}")

    def _catch_up(self) -> None:
        with self._screen.step("catch up") as step:
            self._until(
                lambda: self._caught_up(step), "The target is not like the source"
            )

    def _caught_up(self, step: Step) -> bool:
        arrived = self._arrived(step)
        task = self._service.ask("get", {"task_id": self._task_id})["task"]
        health = task["health"]
        if health["status"] == "failed":
            raise OperatorError(f"The task has stopped: {health['error']}")
        if health["error"]:
            step.show(f"{step.text}; {health['error']}")
        return arrived == self._writer.rows and health["status"] == "ok"

    def _arrived(self, step: Step) -> int:
        self._rows_there = self._reader.rows(self._writer.names)
        step.show(f"the target has {self._rows_there:,} of {self._writer.rows:,} rows")
        return self._rows_there

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait as long as rows arrive, and a minute longer."""
        seen, deadline = -1, 0.0
        while not _holds(reached):
            if seen != self._rows_there:
                seen, deadline = self._rows_there, time.monotonic() + _STALL_TIMEOUT
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{what}, and for {_STALL_TIMEOUT:.0f} seconds nothing has moved. "
                    f"The log of the service ends:\n{self._service.log_tail()}"
                )
            time.sleep(_POLL_INTERVAL)

    def _tell_history(self) -> None:
        task = {"task_id": self._task_id}
        events = self._service.ask("history", task)["events"]
        self._screen.say("", *lines_of(events))

    def _compare(self) -> Report:
        """Compare until both are equal: the last updates may still be on their way."""
        deadline = time.monotonic() + _SETTLE_TIMEOUT
        with self._screen.step("compare") as step:
            step.show("row by row")
            while True:
                last = time.monotonic() > deadline
                report = uninterrupted(compare)(
                    self._source.uri,
                    "",
                    self._target.uri,
                    "",
                    progress=lambda name, rows: step.show(f"{name}, {rows:,} rows"),
                )
                if report.equal or last:
                    break
                time.sleep(_POLL_INTERVAL)
            step.show("every row and field of both sides")
        return report


def _holds(reached: Callable[[], bool]) -> bool:
    try:
        return reached()
    except TransientError:  # An answer that was slow to come.
        return False
