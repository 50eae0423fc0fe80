"""The service as its users run it: a process of its own, spoken to over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pymilvus.exceptions import MilvusException

from cdc_actors.embedded.ports import PortBlock
from tests.support.forked import Forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cdc_actors.embedded.milvus import EmbeddedMilvus

CONFIG = """
address: 127.0.0.1:{port}
metaStoreConfig: {store}
sourceConfig:
  uri: {source.uri}
  {etcd}
  {queue}
"""

PROGRAM = ("-m", "cdc_actors")
"""The service as its users start it."""


class Cdc:
    """One service in a folder; may be killed and started again as often as a test likes.

    A ``token`` goes with each request.
    """

    def __init__(
        self,
        folder: Path,
        source: EmbeddedMilvus,
        *,
        store: str | None = None,
        settings: str = "",
        program: Sequence[str] = (),
    ) -> None:
        """``settings`` are further lines of the configuration.

        A source whose ``etcd_address`` is "" is read by its API alone. ``program`` is what
        Python runs, such as ``PROGRAM``; otherwise a process is forked that has imported it
        all.
        """
        self._program = program
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "serve.log"
        self._ports = PortBlock(["cdc"])
        self.port = self._ports["cdc"]
        store = store or f"{{sqlite: {{path: {folder / 'cdc.db'}}}}}"
        etcd = source.etcd_address and f"etcd: {{address: [{source.etcd_address}]}}"
        self.config = folder / "cdc.yaml"
        self.config.write_text(
            CONFIG.format(
                port=self.port,
                store=store,
                source=source,
                etcd=etcd,
                queue=json.dumps(source.queue)[1:-1],
            )
            + settings
        )
        self.process: subprocess.Popen | Forked | None = None
        self.token: str | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._ports.close()

    def start(self) -> None:
        """Start the process and wait until its API knows its tasks."""
        self.launch()
        wait_until(self._answers, f"the service answers, {self.log}", 90)

    def launch(self) -> None:
        """Start the process."""
        arguments = ["serve", "--config", str(self.config)]
        env = {**os.environ, "PYTHONWARNINGS": "default"}
        if self._program:
            self.process = self._started([*self._program, *arguments], env)
        else:
            self.process = Forked(arguments, self.log, env, self.folder)

    def _started(self, arguments: list[str], env: dict[str, str]) -> subprocess.Popen:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdout=log,
                stderr=log,
                env=env,
                cwd=self.folder,
            )

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        return self.request("list")[0] == 200

    def kill(self) -> None:
        """End the process with SIGKILL, wherever it is. Idempotent."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """End the process with SIGTERM; return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        self.process = None
        return status

    def request(self, kind: str, **data: Any) -> tuple[int, dict[str, Any]]:
        """POST one request to /cdc; return the HTTP status and the JSON answer.

        Status 0 if nobody answers.
        """
        body = json.dumps({"request_type": kind, "request_data": data}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/cdc",
            data=body,
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {self.token}"} if self.token else {}),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """GET ``/livez`` or ``/readyz``; return the HTTP status and the JSON answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=30
            ) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    @property
    def threads(self) -> int:
        """How many threads the process has."""
        assert self.process is not None
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def ask(self, kind: str, **data: Any) -> dict[str, Any]:
        """POST one request that must succeed; return its data."""
        status, answer = self.request(kind, **data)
        assert status == 200, answer
        return answer["data"]

    def create(self, target: str, **data: Any) -> str:
        """Create a task, of every collection unless told otherwise; return its id."""
        data = data or {"collection_infos": [{"name": "*"}]}
        return self.ask("create", milvus_connect_param={"uri": target}, **data)[
            "task_id"
        ]

    def get(self, task_id: str) -> dict[str, Any]:
        """Return the task as the API shows it."""
        return self.ask("get", task_id=task_id)["task"]

    def wait_caught_up(
        self, task_id: str, timeout: float = 60, servers: Iterable[EmbeddedMilvus] = ()
    ) -> None:
        """Wait until the target has confirmed everything the source had a moment ago.

        Those of ``servers`` that end meanwhile are started again: a Milvus 2.3.5 that was
        killed may crash once more by itself, seconds after it came back.
        """
        asked = time.time()

        def confirmed() -> bool:
            for server in servers:
                server.start()
            task = self.get(task_id)
            lag = task["lag_seconds"]
            return lag is not None and time.time() - lag > asked

        wait_until(confirmed, f"the target caught up, {self.log}", timeout)


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 90) -> None:
    """Look again and again, up to ``timeout`` seconds, until a condition holds.

    On a machine that others use as well it is longer: as many times as they are. What is
    asked of a Milvus about something that has not come yet is an error there; it is one
    here if it lasts.

    It looks ever more seldom, and rests as long as a look took: what is waited for needs
    the processors, too.
    """
    begin, rest = time.monotonic(), 0.02
    while True:
        refusal, looked = "", time.monotonic()
        try:
            if condition():
                return
        except MilvusException as error:
            refusal = f": {error}"
        now = time.monotonic()
        waited = now - begin
        assert waited < timeout * crowd(), f"not within {waited:.0f} s: {what}{refusal}"
        time.sleep(max(rest, min(now - looked, 0.5)))
        rest = min(1.2 * rest, 0.1)


def crowd() -> float:
    """Return how many want each processor, over the last minute; 1 if it is fewer."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
