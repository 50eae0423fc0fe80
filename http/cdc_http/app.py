"""The Falcon app: routes, and one shape for every error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import falcon
import structlog

from cdc_actors.errors import RequestError
from cdc_http.auth import AuthMiddleware
from cdc_http.events import EventsResource
from cdc_http.handlers import RequestHandlers
from cdc_http.joined_answers import JoinedAnswers
from cdc_http.metrics import MetricsResource
from cdc_http.nodes import NodesResource
from cdc_http.openapi import OpenApiResource
from cdc_http.page_files import PageResource
from cdc_http.passing_on import PassingOn
from cdc_http.resources import (
    CallerResource,
    CdcResource,
    LivezResource,
    ReadyzResource,
)
from cdc_http.responses import write_error

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from cdc_actors.config.auth import Token
    from cdc_http.service import TaskService

_PATHS = (
    "POST /cdc, GET /cdc/tasks/<task_id>/events, GET /cdc/caller, GET /cdc/nodes, "
    "GET /metrics, GET /livez, GET /readyz, GET /openapi.json, or GET / for the page"
)
_log = structlog.get_logger(__name__)


def create_app(
    service: TaskService,
    *,
    tokens: Iterable[Token] = (),
    max_name_length: int = 256,
    requests_channel: str = "by-dev-replicate-msg",
    max_body_bytes: int = 1_048_576,
    trusted: ssl.SSLContext | None = None,
) -> falcon.App[falcon.Request, falcon.Response]:
    """Return the API over ``service``, to be served by any WSGI server.

    With ``tokens`` every request must have one of them. ``max_name_length`` bounds the
    names of databases and collections in characters, ``max_body_bytes`` the body of a
    request. ``requests_channel`` is the one that a ``create`` may name. ``trusted`` says
    whose certificates are, of other services on the store; without, those of the system.
    """
    app = falcon.App(middleware=_MethodCheck())
    app.add_middleware(PassingOn(service, max_body_bytes, trusted))
    app.add_middleware(AuthMiddleware(tokens))
    handlers = RequestHandlers(service, max_name_length, requests_channel).by_type
    others = JoinedAnswers(service, trusted)
    app.add_route("/cdc", CdcResource(handlers, max_body_bytes, others))
    app.add_route("/cdc/tasks/{task_id}/events", EventsResource(service))
    app.add_route("/cdc/caller", CallerResource())
    app.add_route("/cdc/nodes", NodesResource(service.others, max_body_bytes))
    page = PageResource()
    app.add_route("/", page)
    app.add_route("/page/{name}", page)
    metrics = MetricsResource(service)
    app.add_route("/metrics", metrics)
    app.add_route("/cdc/metrics", metrics)
    app.add_route("/openapi.json", OpenApiResource(handlers))
    app.add_route("/livez", LivezResource(service))
    app.add_route("/readyz", ReadyzResource(service))
    app.add_error_handler(Exception, _on_unexpected)
    app.add_error_handler(falcon.HTTPError, _on_http_error)
    app.add_error_handler(RequestError, _on_request_error)
    return app


class _MethodCheck:
    """Refuses what a resource does not serve, unknown methods and OPTIONS included."""

    def process_resource(
        self,
        req: falcon.Request,
        _resp: falcon.Response,
        resource: Any,
        _params: dict[str, Any],
    ) -> None:
        if req.method not in resource.methods:
            only = " and ".join(resource.methods)
            raise falcon.HTTPMethodNotAllowed(
                resource.methods, description=f"only support the {only} method"
            )


def _on_request_error(
    _req: falcon.Request, resp: falcon.Response, error: RequestError, _params: Any
) -> None:
    write_error(resp, error.status, str(error))


def _on_http_error(
    req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: Any
) -> None:
    if isinstance(error, falcon.HTTPNotFound):
        message = f"there is no {req.path} here, use {_PATHS}"
    else:
        message = error.description or error.title
    resp.set_headers(error.headers or {})
    write_error(resp, error.status_code, message)


def _on_unexpected(
    req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any
) -> None:
    _log.error("request_failed", method=req.method, path=req.path, exc_info=error)
    write_error(resp, 500, "internal error, the log of the service says more")
