"""The API of a running service, for commands."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import click
from click.core import ParameterSource

from cdc_actors.errors import OperatorError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

DEFAULT_URL = "http://127.0.0.1:8444"
ANSWER_SECONDS = 30.0
_WHOLE_ID = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE
)
_PROBE_SECONDS = 2.0
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}
"""What OpenSSL calls an answer that is no TLS."""
_DONE = frozenset({http.client.OK})
_PROBED = _DONE | {http.client.INTERNAL_SERVER_ERROR, http.client.SERVICE_UNAVAILABLE}
_JSON = {"Content-Type": "application/json"}
_PROBES = {"/livez": "alive", "/readyz": "ready"}
"""What is asked, and what the answer says."""

_MEMBERS = {
    "list": "tasks",
    "get": "task",
    "create": "task_id",
    "history": "events",
    "comparison": "status",
}
"""What the answer to a request has, if it is this service's."""


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
        self._url = url
        self._scheme, host, port = _parts_of(url)
        self._place = host, port
        self._connect = _connection(self._scheme, ca)
        self._timeout = timeout
        self._headers = _JSON | _authorization(token)
        self._unmatched: str | None = None

    def ask(self, request_type: str, /, **data: Any) -> Any:
        """Send a request to ``/cdc``; return the ``data`` of the answer."""
        body = json.dumps({"request_type": request_type, "request_data": data})
        with self._answer("POST", "/cdc", body) as response:
            found = json.load(response)["data"]
            _refuse_other(request_type, found)
        return found

    def nodes(self) -> list[dict[str, Any]]:
        """Return the services on the store of this one."""
        return self._nodes("GET")

    def drain(self, node_id: str, *, drains: bool) -> list[dict[str, Any]]:
        """Have a service give its tasks to others, or have tasks; return all services."""
        return self._nodes("POST", json.dumps({"node_id": node_id, "drain": drains}))

    def _nodes(self, method: str, body: str | None = None) -> list[dict[str, Any]]:
        with self._answer(method, "/cdc/nodes", body) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["nodes"]
        return found

    def task(self, task_id: str, as_of: str | None = None) -> dict[str, Any]:
        """Return a task as it is, or as it was."""
        asked = {"task_id": task_id, "as_of": as_of}
        found: dict[str, Any] = self.ask("get", **asked)["task"]
        return found

    def probe(self, path: str) -> dict[str, Any]:
        """Return what ``/livez`` or ``/readyz`` says, be it good or not."""
        with self._answer("GET", path, accepted=_PROBED) as response:
            found: dict[str, Any] = json.load(response)
            _ = found[_PROBES[path]]
        return found

    def task_id(self, given: str) -> str:
        """Return the id of the task that ``given`` is the beginning of.

        It is returned as it is if it is a whole one, or no task begins so: a deleted task
        is asked for by its whole id.

        Raises:
            OperatorError: Several tasks begin so.
        """
        if not given or _WHOLE_ID.fullmatch(given):
            return given
        ids = [each["task_id"] for each in self.ask("list")["tasks"]]
        found = [each for each in ids if each.startswith(given)]
        if not found:
            self._unmatched = given
        if given in found or not found:
            return given
        if len(found) > 1:
            raise OperatorError(
                f"several tasks begin with {given}: {', '.join(sorted(found))}"
            )
        return str(found[0])

    def history(self, task_id: str, after: int) -> Iterator[dict[str, Any]]:
        """Yield the events of a task behind number ``after``."""
        more = True
        while more:
            page = self.ask("history", task_id=task_id, after=after, limit=1000)
            yield from page["events"]
            more = page["more"]
            after = page["events"][-1]["number"] if page["events"] else after

    def follow(self, task_id: str, after: int) -> Iterator[dict[str, Any] | None]:
        """Yield the events behind number ``after`` as they happen, up to the last.

        None says that there is none for the moment.
        """
        while True:
            path = f"/cdc/tasks/{quote(task_id)}/events?follow=true&after={after}"
            with self._answer("GET", path) as response:
                for line in response:
                    event = json.loads(line) if line.strip() else None
                    yield event
                    if event is None:
                        continue
                    after = event["number"]
                    if event["event"] == "deleted":
                        return

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: str | None = None,
        accepted: Collection[int] = _DONE,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connect(*self._place, timeout=self._timeout)
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            if response.status not in accepted:
                raise self._refusal(response)
            yield response
        except ssl.SSLCertVerificationError as error:
            raise OperatorError(
                f"the certificate of {self._url} is not trusted: {error.verify_message}; "
                "--ca names the file with its authority"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            if self._is_other_scheme(error):
                raise self._other_scheme() from error
            raise UnavailableError(
                f"the service at {self._url} does not answer: {error or 'cut off'}"
            ) from error
        except (ValueError, LookupError, TypeError) as error:
            raise self._not_our_service() from error
        finally:
            connection.close()

    def _is_other_scheme(self, error: Exception) -> bool:
        """Tell whether it speaks http where the URL says https, or the reverse.

        One that speaks TLS ends a connection that begins otherwise without a word, or
        with some in TLS.
        """
        if self._scheme == "https":
            return isinstance(error, ssl.SSLError) and error.reason in _NO_TLS
        ended = http.client.BadStatusLine | ConnectionResetError | BrokenPipeError
        return isinstance(error, ended) and self._speaks_tls()

    def _speaks_tls(self) -> bool:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        host, port = self._place
        address = (host, port or http.client.HTTP_PORT)
        try:
            with (
                socket.create_connection(address, _PROBE_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=host),
            ):
                return True
        except OSError:
            return False

    def _other_scheme(self) -> OperatorError:
        spoken = "http" if self._scheme == "https" else "https"
        return OperatorError(
            f"what answers at {self._url} speaks {spoken}: the URL must begin with "
            f"{spoken}://"
        )

    def _refusal(self, response: http.client.HTTPResponse) -> Exception:
        message = json.load(response)["message"]
        if response.status == http.client.SERVICE_UNAVAILABLE:
            return UnavailableError(message)
        if response.status == http.client.UNAUTHORIZED:
            what, _, _ = message.partition(", send the header")
            message = f"{what}: set CDC_ACTORS_TOKEN, or give --token"
        if self._unmatched and self._unmatched in message:
            message += (
                f"; no task's id begins with {self._unmatched}, and a deleted task needs "
                "its whole id"
            )
        return OperatorError(message)

    def _not_our_service(self) -> OperatorError:
        return OperatorError(f"what answers at {self._url} is not cdc-actors")


def _refuse_other(request_type: str, found: dict[str, Any]) -> None:
    """Raise LookupError or TypeError if an answer is another service's.

    That is milvus-cdc at best, which has the same requests and port.
    """
    member = _MEMBERS.get(request_type)
    if not {member} <= {None, *found}:
        raise LookupError(member)
    for task in found.get("tasks", ()):
        _ = task["health"]


def _parts_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of the service's URL."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", "", None
    if scheme not in {"http", "https"} or not host:
        raise click.BadParameter(
            f"{url} is not a URL such as {DEFAULT_URL}", param_hint="--url"
        )
    return scheme, host, port


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


_SERVICE_OPTIONS = (
    click.option(
        "--url",
        envvar="CDC_ACTORS_URL",
        show_envvar=True,
        default=DEFAULT_URL,
        show_default=True,
        help="URL of the service.",
    ),
    click.option(
        "--token",
        envvar="CDC_ACTORS_TOKEN",
        show_envvar=True,
        help="Token for the service. Prefer the variable: other users of the machine can "
        "read a command line.",
    ),
    click.option(
        "--ca",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="CA certificates (PEM) to trust instead of the system's.",
    ),
)
_NAMES = ("url", "token", "ca")


def api_of(
    context: click.Context,
    *,
    timeout: float = ANSWER_SECONDS,
    default_url: str = DEFAULT_URL,
) -> Api:
    """Return the service that a command line leads to, wherever in it that stands.

    The options of the command come before those of the groups that it is in, and what is
    on the command line before what is in the environment.
    """
    given = {name: context.params.get(name) for name in _NAMES}
    if context.get_parameter_source("url") is ParameterSource.DEFAULT:
        given["url"] = default_url
    place: click.Context | None = context
    missing = set(_NAMES)
    while place is not None:
        for name in sorted(missing):
            if place.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                given[name] = place.params[name]
                missing.remove(name)
        place = place.parent
    return Api(
        given["url"] or default_url, given["token"], given["ca"], timeout=timeout
    )


def service_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command or a group the options that lead to a service, for ``api_of``."""

    @wraps(command)
    def without_options(**given: Any) -> None:
        command(**{key: each for key, each in given.items() if key not in _NAMES})

    with_options: Callable[..., None] = without_options
    for option in reversed(_SERVICE_OPTIONS):
        with_options = option(with_options)
    return with_options


def api_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that lead to a service, and it as ``api``.

    One that takes a ``task`` has it as ``task_id``, whole.
    """

    @service_options
    @wraps(command)
    def with_api(**given: Any) -> None:
        api = api_of(click.get_current_context())
        if "task" in given:
            given["task_id"] = api.task_id(given.pop("task"))
        command(api=api, **given)

    return with_api
