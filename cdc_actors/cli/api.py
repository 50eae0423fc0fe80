"""The API of a running service, for commands."""

from __future__ import annotations

import http.client
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import click

from cdc_actors.errors import OperatorError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_SECONDS = 30.0
_JSON = {"Content-Type": "application/json"}
_CONNECTIONS = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}


class Api:
    """A service at ``url``, such as ``http://127.0.0.1:8444``.

    Methods raise ``UnavailableError`` if it is not there, or not ready, and
    ``OperatorError`` if it refuses, in its words.
    """

    def __init__(self, url: str, timeout: float = ANSWER_SECONDS) -> None:
        """Connect to nothing yet.

        Raises:
            click.BadParameter: The URL cannot be read.
        """
        parts = urlsplit(url)
        try:
            self._place = (parts.hostname or "", parts.port)
        except ValueError:
            self._place = ("", None)
        if parts.scheme not in _CONNECTIONS or not self._place[0]:
            raise click.BadParameter(
                f"{url} is not a URL such as http://127.0.0.1:8444", param_hint="--url"
            )
        self._url = url
        self._kind = _CONNECTIONS[parts.scheme]
        self._timeout = timeout

    def ask(self, request_type: str, **data: Any) -> Any:
        """Send a request to ``/cdc``; return the ``data`` of the answer."""
        body = json.dumps({"request_type": request_type, "request_data": data})
        with self._answer("POST", "/cdc", body) as response:
            return json.load(response)["data"]

    def task(self, task_id: str, as_of: str | None = None) -> dict[str, Any]:
        """Return a task as it is, or as it was."""
        asked = {"task_id": task_id, "as_of": as_of}
        found: dict[str, Any] = self.ask("get", **asked)["task"]
        return found

    def history(self, task_id: str, after: int) -> Iterator[dict[str, Any]]:
        """Yield the events of a task behind number ``after``."""
        more = True
        while more:
            page = self.ask("history", task_id=task_id, after=after, limit=1000)
            yield from page["events"]
            more = page["more"]
            after = page["events"][-1]["number"] if page["events"] else after

    def follow(self, task_id: str, after: int) -> Iterator[dict[str, Any]]:
        """Yield the events behind number ``after`` as they happen, up to the last."""
        while True:
            path = f"/cdc/tasks/{quote(task_id)}/events?follow=true&after={after}"
            with self._answer("GET", path) as response:
                for event in (json.loads(line) for line in response if line.strip()):
                    yield event
                    after = event["number"]
                    if event["event"] == "deleted":
                        return

    @contextmanager
    def _answer(
        self, method: str, path: str, body: str | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._kind(*self._place, timeout=self._timeout)
        try:
            connection.request(method, path, body, _JSON)
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise self._refusal(response)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"the service at {self._url} does not answer: {error or 'cut off'}"
            ) from error
        except (ValueError, LookupError, TypeError) as error:
            raise self._stranger() from error
        finally:
            connection.close()

    def _refusal(self, response: http.client.HTTPResponse) -> Exception:
        message = json.load(response)["message"]
        if response.status == http.client.SERVICE_UNAVAILABLE:
            return UnavailableError(message)
        return OperatorError(message)

    def _stranger(self) -> OperatorError:
        return OperatorError(f"what answers at {self._url} is not cdc-actors")
