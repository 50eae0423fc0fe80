"""The service as a process of its own that is forked, not started.

What it imports takes most of a second of a processor, each of hundreds of times. A process
that has imported all that, and done nothing else, is forked instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from multiprocessing import get_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "cdc_actors.cli.main",
        "cdc_actors.cli.logs",
        "cdc_actors.service.service",
        "cdc_actors.source.wal.natsmq",
        "cdc_http.app",
        "cdc_http.server",
        "cdc_http.tls",
        "tests.support.forked",
    ]
)


class Forked:
    """``cdc-actors`` with ``arguments``; has what tests use of ``subprocess.Popen``."""

    def __init__(
        self, arguments: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path
    ) -> None:
        """Fork. What the process prints goes to the end of ``log``."""
        self._process = _CONTEXT.Process(
            target=_run, args=(list(arguments), str(log), dict(env), str(cwd))
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; return the exit status."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired("cdc-actors", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(arguments: list[str], log: str, env: dict[str, str], cwd: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    with open(log, "ab") as sink, open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
        for descriptor in (1, 2):
            os.dup2(sink.fileno(), descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    warnings.simplefilter("default")

    from cdc_actors.cli.main import main  # noqa: PLC0415

    main(arguments, prog_name="cdc-actors")
