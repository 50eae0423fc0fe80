"""The OpenAPI document, made of what checks the requests and writes the answers."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from cdc_actors.store.history import Entry, Page
from cdc_http.examples import EXAMPLES
from cdc_http.requests import DrainRequest, EventsQuery
from cdc_http.responses import (
    CallerView,
    Error,
    LivezResponse,
    NodesView,
    ReadyzResponse,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import falcon

    from cdc_http.handlers import RequestHandler

_REFERENCE = "#/components/schemas/{name}"
_JSON = "application/json"
_LINES = "application/x-ndjson"
_TEXT = "text/plain"
_OPEN_METRICS = "application/openmetrics-text"
_ERRORS_OF_ALL = (401, 500, 503)
_ERRORS_OF_REQUESTS = (400, 403, 404, 409, 413, 415, 422, 429)
_ABOUT = (
    "Keeps one Milvus equal to another. A member of a request that is null counts as "
    "left out. A token is needed only if the settings have tokens."
)


class OpenApiResource:
    """``GET /openapi.json``."""

    methods: ClassVar = ("GET",)
    open: ClassVar = True

    def __init__(self, handlers: Mapping[str, RequestHandler]) -> None:
        self._document = document(handlers)

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the document."""
        write_json(resp, 200, self._document)


def document(handlers: Mapping[str, RequestHandler]) -> dict[str, Any]:
    """Return the description of the API with these types of requests."""
    messages = {
        each
        for handler in handlers.values()
        for each in (handler.request, handler.response)
    }
    # A set has no order of its own, and the document is to be the same each time.
    ordered = sorted(messages, key=lambda each: each.__name__)
    extra = (
        CallerView,
        LivezResponse,
        Entry,
        Error,
        EventsQuery,
        DrainRequest,
        NodesView,
        Page,
        ReadyzResponse,
    )
    refs, components = msgspec.json.schema_components(
        [*ordered, *extra], ref_template=_REFERENCE
    )
    ref = dict(zip([*ordered, *extra], refs, strict=True))
    query = components.pop(EventsQuery.__name__)
    for component in components.values():
        component["description"] = cleandoc(component["description"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cdc-actors",
            "version": version("cdc-actors"),
            "description": _ABOUT,
        },
        "security": [{}, {"token": []}],
        "paths": _paths(handlers, query, ref),
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(
    handlers: Mapping[str, RequestHandler],
    query: dict[str, Any],
    ref: Mapping[Any, Any],
) -> dict[str, Any]:
    return {
        "/cdc": {"post": _cdc(handlers, ref)},
        "/cdc/tasks/{task_id}/events": {"get": _events(query, ref)},
        "/cdc/caller": {"get": _caller(ref)},
        "/cdc/nodes": {"get": _nodes(ref), "post": _drain(ref)},
        "/metrics": {"get": _metrics("metrics", ref)},
        "/cdc/metrics": {"get": _metrics("cdc_metrics", ref)},
        "/livez": {
            "get": _health("livez", ref[LivezResponse], ref[LivezResponse], 500)
        },
        "/readyz": {"get": _readyz(ref)},
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "The description of this API.",
                "responses": {
                    "200": _answer("The OpenAPI document.", {"type": "object"})
                },
            }
        },
        "/": {"get": _page(ref)},
    }


def _cdc(
    handlers: Mapping[str, RequestHandler], ref: Mapping[Any, Any]
) -> dict[str, Any]:
    bodies = [
        _object(
            ["request_type"],
            request_type={"const": kind},
            request_data=ref[handler.request],
        )
        for kind, handler in handlers.items()
    ]
    responses = list(
        {id(each.response): ref[each.response] for each in handlers.values()}.values()
    )
    return {
        "operationId": "cdc",
        "summary": "Creates, shows and changes tasks; request_type says what to do.",
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"oneOf": bodies}, "examples": EXAMPLES}},
        },
        "responses": {
            "200": _answer(
                "The request was carried out.", _success({"anyOf": responses})
            ),
            **_errors((*_ERRORS_OF_REQUESTS, *_ERRORS_OF_ALL), ref),
        },
    }


def _events(query: dict[str, Any], ref: Mapping[Any, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {
            "name": "task_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
        },
        *(
            {"name": name, "in": "query", "schema": schema}
            for name, schema in query["properties"].items()
        ),
    ]
    success = _answer("A page of events, or one event a line.", _success(ref[Page]))
    success["content"][_LINES] = {"schema": ref[Entry]}
    return {
        "operationId": "events",
        "summary": "Returns the events of a task; with `follow` also new ones.",
        "parameters": parameters,
        "responses": {
            "200": success,
            **_errors((400, 404, *_ERRORS_OF_ALL), ref),
        },
    }


def _caller(ref: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "operationId": "caller",
        "summary": "Tells the role of the caller, and the name of the token.",
        "responses": {
            "200": _answer("Who the caller is.", _success(ref[CallerView])),
            **_errors(_ERRORS_OF_ALL, ref),
        },
    }


def _nodes(ref: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "operationId": "nodes",
        "summary": "Lists the services on the store.",
        "responses": {
            "200": _answer("All of them.", _success(ref[NodesView])),
            **_errors(_ERRORS_OF_ALL, ref),
        },
    }


def _drain(ref: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "operationId": "drain",
        "summary": "Has a service give its tasks to others, or have tasks again.",
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": ref[DrainRequest]}},
        },
        "responses": {
            "200": _answer("All services, as they are now.", _success(ref[NodesView])),
            **_errors((*_ERRORS_OF_REQUESTS, *_ERRORS_OF_ALL), ref),
        },
    }


def _page(ref: Mapping[Any, Any]) -> dict[str, Any]:
    html = {"text/html": {"schema": {"type": "string"}}}
    return {
        "operationId": "page",
        "summary": "A page for people. Needs no token, but asks for one if it must.",
        "responses": {
            "200": {"description": "The page.", "content": html},
            **_errors((500,), ref),
        },
    }


def _metrics(name: str, ref: Mapping[Any, Any]) -> dict[str, Any]:
    formats = {kind: {"schema": {"type": "string"}} for kind in (_TEXT, _OPEN_METRICS)}
    return {
        "operationId": name,
        "summary": "The state of service and tasks, for Prometheus.",
        "responses": {
            "200": {"description": "All metrics.", "content": formats},
            **_errors(_ERRORS_OF_ALL, ref),
        },
    }


def _health(name: str, healthy: Any, unhealthy: Any, status: int) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": "For probes. Needs no token.",
        "responses": {
            "200": _answer("Healthy.", healthy),
            str(status): _answer("Unhealthy.", unhealthy),
        },
    }


def _readyz(ref: Mapping[Any, Any]) -> dict[str, Any]:
    # If the supervisor does not answer, there is only an error.
    return _health(
        "readyz", ref[ReadyzResponse], {"anyOf": [ref[ReadyzResponse], ref[Error]]}, 503
    )


def _success(data: Any) -> dict[str, Any]:
    return _object(["code", "data"], code={"const": 200}, data=data)


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _answer(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def _errors(statuses: Iterable[int], ref: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(status): _answer(HTTPStatus(status).phrase, ref[Error])
        for status in sorted(statuses)
    }
