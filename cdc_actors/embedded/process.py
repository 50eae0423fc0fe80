"""A server process that never outlives this one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STOP_TIMEOUT = 5.0
_LOG_TAIL = 4_096
# Linux kills the child when the *thread* that started it ends. This one ends last.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-starter")
# Runs in the child: ask to be killed with the parent, then become the server.
_BECOME = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ServerProcess:
    """One child process, in a process group of its own, with its output in a file.

    On Linux it is killed when this process ends, however that ends. Elsewhere only
    ``stop`` and ``kill`` end it. Used by one thread at a time.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return self._child.pid if self._child and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.poll() is None

    def start(
        self, command: Sequence[str], *, folder: Path, env: Mapping[str, str]
    ) -> None:
        """Start ``command`` in ``folder``, with ``env`` on top of this environment."""
        become = [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid())]
        with self._log.open("ab") as output:
            self._child = _STARTER.submit(
                subprocess.Popen,
                [*become, *command],
                cwd=folder,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ).result()

    def wait(self, timeout: float) -> int | None:
        """Return its exit status, or None if it has not ended after ``timeout`` seconds."""
        if not self._child:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(timeout)
        return None

    def stop(self, request: signal.Signals) -> None:
        """Ask the process to end with ``request``; kill it after five seconds."""
        if not self._child:
            return
        self._child.send_signal(request)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_STOP_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the process and what it started, and wait for its end."""
        if not self._child:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._child = None

    def log_tail(self) -> str:
        """Return the last lines that the process wrote."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _LOG_TAIL))
            return log.read().decode(errors="replace").strip()


def run(command: Sequence[str], *, log: Path, timeout: float) -> None:
    """Run ``command`` to its end, in the folder of ``log``, where its output goes.

    Raises:
        OperatorError: It fails, or has not ended after ``timeout`` seconds and is killed;
            the text has the end of its output.
    """
    process = ServerProcess(log)
    process.start(command, folder=log.parent, env={})
    try:
        status = process.wait(timeout)
    finally:
        process.kill()
    if status != 0:
        what = "has not ended in time" if status is None else f"ended with {status}"
        raise OperatorError(f"{command[0]} {what}. It said:\n{process.log_tail()}")
