"""The API of a running service, for commands."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import click

from cdc_actors.errors import OperatorError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_URL = "http://127.0.0.1:8444"
ANSWER_SECONDS = 30.0
_JSON = {"Content-Type": "application/json"}


class Api:
    """A service at ``url``, such as ``http://127.0.0.1:8444``.

    Methods raise ``UnavailableError`` if it is not there, or not ready, and
    ``OperatorError`` if it refuses, in its words.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        ca: str | None = None,
        *,
        timeout: float = ANSWER_SECONDS,
    ) -> None:
        """Connect to nothing yet.

        Raises:
            click.BadParameter: The URL cannot be read, the token is none, or ``ca``, the
                file with the authority of the service's certificate, cannot be used.
        """
        parts = urlsplit(url)
        try:
            self._place = (parts.hostname or "", parts.port)
        except ValueError:
            self._place = ("", None)
        if parts.scheme not in {"http", "https"} or not self._place[0]:
            raise click.BadParameter(
                f"{url} is not a URL such as http://127.0.0.1:8444", param_hint="--url"
            )
        self._url = url
        self._connect = _connection(parts.scheme, ca)
        self._timeout = timeout
        self._headers = _JSON | _authorization(token)

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
        connection = self._connect(*self._place, timeout=self._timeout)
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise self._refusal(response)
            yield response
        except ssl.SSLCertVerificationError as error:
            raise OperatorError(
                f"the certificate of {self._url} is not trusted: {error.verify_message}; "
                "--ca names the file with its authority"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"the service at {self._url} does not answer: {error or 'cut off'}"
            ) from error
        except (ValueError, LookupError, TypeError) as error:
            raise self._not_our_service() from error
        finally:
            connection.close()

    def _refusal(self, response: http.client.HTTPResponse) -> Exception:
        message = json.load(response)["message"]
        if response.status == http.client.SERVICE_UNAVAILABLE:
            return UnavailableError(message)
        return OperatorError(message)

    def _not_our_service(self) -> OperatorError:
        return OperatorError(f"what answers at {self._url} is not cdc-actors")


def _connection(
    scheme: str, ca: str | None
) -> Callable[..., http.client.HTTPConnection]:
    """Return what makes a connection; an authority in ``ca`` replaces the system's."""
    if scheme == "http":
        return http.client.HTTPConnection
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise click.BadParameter(
            f"{ca} is no file with certificates in PEM", param_hint="--ca"
        ) from error
    return partial(http.client.HTTPSConnection, context=context)


def _authorization(token: str | None) -> dict[str, str]:
    if not token:
        return {}
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise click.BadParameter(
            "it is not what `cdc-actors token create` prints", param_hint="--token"
        )
    return {"Authorization": f"Bearer {token}"}


def api_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that lead to a service, and it as ``api``."""

    @click.option(
        "--url", default=DEFAULT_URL, show_default=True, help="URL of the service."
    )
    @click.option(
        "--token",
        envvar="CDC_ACTORS_TOKEN",
        show_envvar=True,
        help="Token for the service. Prefer the variable: other users of the machine can "
        "read a command line.",
    )
    @click.option(
        "--ca",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="CA certificates (PEM) to trust instead of the system's.",
    )
    @wraps(command)
    def with_api(
        *args: Any, url: str, token: str | None, ca: str | None, **given: Any
    ) -> None:
        command(*args, api=Api(url, token, ca), **given)

    return with_api
