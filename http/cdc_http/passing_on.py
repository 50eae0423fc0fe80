"""A request that another service is to answer: the one that has the task, or the store.

So a client may use any service. Who has the task decides who may ask, by the headers that
came; whoever passes a request on adds one that says whom it comes from. A request that has
it goes no further.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from cdc_actors.errors import UnavailableError
from cdc_http.request_body import read_body
from cdc_http.server import STOPPING
from cdc_http.task_ids import known_task_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import falcon

    from cdc_actors.store.ownership import Owner
    from cdc_http.service import TaskService

CLIENT = "Cdc-Client"
"""The header that tells the client's address to the owner."""

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 60.0
"""How long the owner may say nothing before its answer, and within it."""

SILENCE_SECONDS = 10.0
"""The same within a stream, where it says something twice a second."""

MAX_PASSED_ON = 12
"""How many requests are passed on at a time: the server's other threads answer probes,
and what comes from others, while an owner stands still."""

_NO_ANSWER = "did not answer, so that the request may have been done"
_IN_LOG = ("get", "history")
_ASKED = ("Authorization", "Content-Type", "Accept", "Origin", "Host")
_ANSWERED = ("Content-Type", "Retry-After", "WWW-Authenticate")
_IN_QUERY = "%!$&'()*+,;=:@/?-._~"
_PART_BYTES = 65536


class _UnreachableError(UnavailableError):
    """The owner cannot have heard of the request."""


class _Data(msgspec.Struct):
    task_id: str = ""


class _Asked(msgspec.Struct):
    """What tells who is to answer a request, of a body that may be anything."""

    request_type: str = ""
    request_data: _Data | None = None

    @property
    def known_id(self) -> str:
        """The id by which services know the task, empty if there is none."""
        if self.request_data is None or not self.request_data.task_id:
            return ""
        with known_task_id(self.request_data.task_id) as known:
            return known

    @property
    def is_in_log(self) -> bool:
        """Whether the log alone has an answer."""
        return self.request_type in _IN_LOG


class PassingOn:
    """Middleware that has the owner answer for resources that say they are ``of_owner``.

    Comes before the one that looks at tokens. ``trusted`` says whose certificates are.
    """

    def __init__(
        self, service: TaskService, max_body_bytes: int, trusted: ssl.SSLContext | None
    ) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes
        self._trusted = trusted
        self._places = threading.BoundedSemaphore(MAX_PASSED_ON)

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: Any,
        params: dict[str, Any],
    ) -> None:
        """Answer with what the owner says, if another service is the owner.

        What the log knows, too, is answered here if that one cannot be reached.

        Raises:
            UnavailableError: It cannot be asked, or did not answer.
        """
        if not getattr(resource, "of_owner", False) or req.get_header(CLIENT):
            return
        asked = self._asked(req, params)
        owner = self._service.others.owner_of(asked.known_id)
        if owner is None or not owner.url:
            return
        body = read_body(req, self._max_body_bytes)
        if not self._places.acquire(blocking=False):
            raise UnavailableError(
                f"{owner} is to answer, and {MAX_PASSED_ON} requests wait for what "
                f"{owner.url} says, try again in a moment"
            )
        try:
            with ExitStack() as open_things:
                open_things.callback(self._places.release)
                self._pass_on(req, resp, body, owner, open_things)
            resp.complete = True
        except _UnreachableError:
            if not asked.is_in_log:
                raise

    def _asked(self, req: falcon.Request, params: dict[str, Any]) -> _Asked:
        if "task_id" in params:
            return _Asked("history", _Data(params["task_id"]))
        # Whatever else it is, the resource says what is wrong with it.
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            return msgspec.json.decode(
                read_body(req, self._max_body_bytes), type=_Asked
            )
        return _Asked()

    def _pass_on(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        body: bytes,
        owner: Owner,
        open_things: ExitStack,
    ) -> None:
        connection = _connected(owner, self._trusted)
        open_things.enter_context(closing(connection))
        way = connection.sock
        way.settimeout(ANSWER_SECONDS)
        with _told(owner, _NO_ANSWER):
            connection.request(req.method, _target(req), body or None, _headers(req))
            answer = open_things.enter_context(closing(connection.getresponse()))
            if answer.length is None:
                way.settimeout(SILENCE_SECONDS)
                stopping = req.env.get(STOPPING) or threading.Event()
                parts = _parts(answer, stopping)
                resp.stream = _Stream(parts, open_things.pop_all().close)
            else:
                resp.data = answer.read()
        resp.status = answer.status
        for name in _ANSWERED:
            if (value := answer.headers[name]) is not None:
                resp.set_header(name, value)


class _Stream:
    """An answer that comes in parts. The server closes it, also where it never began."""

    def __init__(self, parts: Iterator[bytes], close: Callable[[], None]) -> None:
        self._parts = parts
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return self._parts


def client_of(req: falcon.Request) -> str:
    """Return the address of the client, and of the service that passed its request on.

    Anybody can send the header: the address that a request really came from is always
    there, and of the header nothing counts but an address.
    """
    peer = req.remote_addr
    told, _, _ = req.get_header(CLIENT, default="").partition("%")
    try:
        return f"{ip_address(told)} (by {peer})"
    except ValueError:
        return peer


def answer_of(
    req: falcon.Request, owner: Owner, trusted: ssl.SSLContext | None, seconds: float
) -> tuple[int, bytes]:
    """Return status and body of what another service answers to a request.

    Raises:
        UnavailableError: It cannot be reached, or says nothing for so many seconds.
    """
    with closing(_connected(owner, trusted)) as connection:
        connection.sock.settimeout(seconds)
        with _told(owner, _NO_ANSWER):
            body = req.context.body
            connection.request(req.method, _target(req), body, _headers(req))
            with closing(connection.getresponse()) as answer:
                return answer.status, answer.read()


def _connected(
    owner: Owner, trusted: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    with _told(owner, "cannot be reached", _UnreachableError):
        connection = _connection(owner.url, trusted)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
    return connection


def _connection(url: str, trusted: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Return a connection that is not open yet; ValueError if the URL is none."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            host, port, timeout=CONNECT_SECONDS, context=trusted
        )
    return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)


def _target(req: falcon.Request) -> str:
    path = quote(req.path)
    if not req.query_string:
        return path
    return f"{path}?{quote(req.query_string, safe=_IN_QUERY)}"


def _headers(req: falcon.Request) -> dict[str, str]:
    given = {name: req.get_header(name) for name in _ASKED}
    sent = {name: value for name, value in given.items() if value is not None}
    return sent | {CLIENT: req.remote_addr}


def _parts(
    answer: http.client.HTTPResponse, stopping: threading.Event
) -> Iterator[bytes]:
    """Yield what the owner sends as it comes, up to the end of a line if we are to stop.

    Raises:
        OSError: It was cut off. The server then cuts its client off: what ends in good
            order would be taken for the whole.
    """
    try:
        while part := answer.read1(_PART_BYTES):
            yield part
            if stopping.is_set() and part.endswith(b"\n"):
                return
    except http.client.HTTPException as error:
        raise ConnectionResetError(str(error)) from error


@contextmanager
def _told(
    owner: Owner, what: str, kind: type[UnavailableError] = UnavailableError
) -> Iterator[None]:
    """Raise an error that says ``what`` of the owner and why, for any trouble."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise kind(
            f"{owner} is to answer, and {owner.url} {what}: {_reason(error)}; if it is "
            "gone, another service takes over within seconds"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}), tls.caPath names "
            "the file with its authority"
        )
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return error.strerror or str(error) or "cut off"
    return str(error) or "cut off"
