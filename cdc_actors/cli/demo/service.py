"""The service as a process of its own, and its API."""

from __future__ import annotations

import http.client
import json
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import yaml

from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.server import EmbeddedServer
from cdc_actors.errors import OperatorError, TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cdc_actors.embedded.milvus import EmbeddedMilvus

_ANSWER_TIMEOUT = 15.0
_JSON = {"Content-Type": "application/json"}


class ServiceProcess(EmbeddedServer):
    """``cdc-actors serve`` with its settings and its store in ``folder``.

    Ready is what ``/readyz`` says: it has reached the source.
    """

    name = "cdc-actors serve"
    _port_names: ClassVar = ("api",)

    def __init__(self, folder: Path, source: EmbeddedMilvus) -> None:
        super().__init__(folder)
        self._source = source

    def ask(self, request_type: str, data: dict[str, Any] | None = None) -> Any:
        """Send a request to ``/cdc``; return the ``data`` of the answer.

        Raises:
            OperatorError: It refuses, or has ended; the text says why.
            TransientError: It does not answer in time.
        """
        request = json.dumps(body(request_type, data))
        try:
            status, answer = self._call("POST", "/cdc", request)
        except (OSError, http.client.HTTPException) as error:
            if self.pid is None:
                raise self._failure("has ended") from error
            raise TransientError(f"The service does not answer: {error}") from error
        if status != http.client.OK:
            raise OperatorError(f"The service refuses: {answer['message']}")
        return answer["data"]

    def curl(self, request_type: str, data: dict[str, Any] | None = None) -> str:
        """Return the same request as a line for a shell."""
        request = json.dumps(body(request_type, data), separators=(",", ":"))
        header = "-H 'Content-Type: application/json'"
        return f"curl -s {self.uri}/cdc {header} -d '{request}'"

    def log_tail(self) -> str:
        """Return the last lines that the service logged."""
        return self._process.log_tail()

    def _prepare(self) -> Sequence[str]:
        settings = self.folder / "cdc.yaml"
        content = {
            "address": self._address,
            "metaStoreConfig": {"sqlite": {"path": str(self.folder / "cdc.db")}},
            "sourceConfig": {
                "uri": self._source.uri,
                "etcd": {"address": [self._source.etcd_address]},
                "replicateChan": self._source.replicate_channel,
                **self._source.queue,
                "storage": self._source.storage,
            },
        }
        settings.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
        run = [sys.executable, "-m", "cdc_actors", "serve"]
        return [*run, "--config", str(settings)]

    def _is_ready(self) -> bool:
        try:
            status, _ = self._call("GET", "/readyz")
        except (OSError, http.client.HTTPException):
            return False
        return status == http.client.OK

    def _call(self, method: str, path: str, text: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(
            HOST, self.ports["api"], timeout=_ANSWER_TIMEOUT
        )
        try:
            connection.request(method, path, text, _JSON)
            response = connection.getresponse()
            return response.status, json.load(response)
        finally:
            connection.close()


def body(request_type: str, data: dict[str, Any] | None) -> dict[str, Any]:
    """Return the body of a request."""
    return {"request_type": request_type, **({"request_data": data} if data else {})}
