"""The resources of the app: ``/cdc``, ``/cdc/caller``, ``/livez`` and ``/readyz``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec import UNSET

from cdc_actors.errors import InvalidRequestError, RequestError
from cdc_actors.tasks.state import Who
from cdc_http.passing_on import client_of
from cdc_http.request_body import convert, read_json
from cdc_http.requests import Envelope
from cdc_http.responses import (
    CallerView,
    LivezResponse,
    ReadyzResponse,
    write_error,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import falcon

    from cdc_http.auth import Caller
    from cdc_http.handlers import RequestHandler
    from cdc_http.joined_answers import JoinedAnswers
    from cdc_http.service import TaskService


class CdcResource:
    """``POST /cdc``: every request of milvus-cdc goes through this one address."""

    methods: ClassVar = ("POST",)
    open: ClassVar = False
    of_owner: ClassVar = True

    def __init__(
        self,
        handlers: Mapping[str, RequestHandler],
        max_body_bytes: int,
        others: JoinedAnswers,
    ) -> None:
        self._handlers = handlers
        self._max_body_bytes = max_body_bytes
        self._others = others

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Do what ``request_type`` says."""
        body = read_json(req, self._max_body_bytes)
        envelope = convert(body, Envelope, "fail to unmarshal the request")
        kind = envelope.request_type
        handler = self._find(kind)
        caller: Caller = req.context.caller
        caller.check(handler.role, f"the {kind} request")
        failure = f"fail to decode the {kind} request"
        request = convert(envelope.request_data, handler.request, failure)
        who = Who(kind="client", address=client_of(req), token_name=caller.token_name)
        try:
            data = handler.handle(request, who)
            if not getattr(request, "task_id", ""):
                data = self._others.join(req, handler.joined, data)
        except RequestError as error:
            message = f"fail to handle the {kind} request, error: {error}"
            write_error(resp, error.status, message)
        else:
            write_json(resp, 200, {"code": 200, "data": data})

    def _find(self, kind: str) -> RequestHandler:
        try:
            return self._handlers[kind]
        except KeyError:
            kinds = ", ".join(sorted(self._handlers))
            raise InvalidRequestError(
                f"invalid 'request_type' param, can be set [{kinds}]"
            ) from None


class CallerResource:
    """``GET /cdc/caller``: who the service takes the caller for."""

    methods: ClassVar = ("GET",)
    open: ClassVar = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with role and name."""
        caller: Caller = req.context.caller
        seen = CallerView(role=caller.role, token_name=caller.token_name)
        write_json(resp, 200, {"code": 200, "data": seen})


class LivezResource:
    """``GET /livez``: 200 as long as the supervisor answers, else restart the service."""

    methods: ClassVar = ("GET",)
    open: ClassVar = True

    def __init__(self, service: TaskService) -> None:
        self._service = service

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 or 500."""
        alive = self._service.alive()
        write_json(resp, 200 if alive else 500, LivezResponse(alive=alive))


class ReadyzResource:
    """``GET /readyz``: 200 when the service can do its work, else 503 and why not.

    Why not, and how the tasks are, is only for who has a token, where tokens are asked for.
    """

    methods: ClassVar = ("GET",)
    open: ClassVar = True

    def __init__(self, service: TaskService) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200, or 503 with what is missing by name."""
        readiness = self._service.readiness()
        # What is missing has addresses and errors in it, which strangers must not see.
        shown = req.context.caller is not None
        answer = ReadyzResponse(
            ready=readiness.ready,
            missing=readiness.missing if shown and readiness.missing else UNSET,
            tasks=dict(readiness.tasks) if shown and readiness.tasks else UNSET,
        )
        write_json(resp, 200 if readiness.ready else 503, answer)
