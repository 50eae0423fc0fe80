"""The OpenAPI document, made of what checks the requests and writes the answers."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from cdc_actors.store.history import Entry, Page
from cdc_http.requests import EventsQuery
from cdc_http.responses import Alive, Error, Ready, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import falcon

    from cdc_http.handlers import Operation

_REFERENCE = "#/components/schemas/{name}"
_JSON = "application/json"
_LINES = "application/x-ndjson"
_ERRORS_OF_ALL = (401, 500, 503)
_ERRORS_OF_REQUESTS = (400, 403, 404, 409, 413, 415, 422, 429)
_ABOUT = (
    "Keeps one Milvus equal to another. Members of a request that are null count as "
    "left out. A token is needed only where the settings have tokens."
)


class OpenApiResource:
    """``GET /openapi.json``."""

    methods: ClassVar = ("GET",)
    open: ClassVar = True

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._document = document(operations)

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the document."""
        write_json(resp, 200, self._document)


def document(operations: Mapping[str, Operation]) -> dict[str, Any]:
    """Return the description of the API with these types of requests."""
    shapes = {
        each for kind in operations.values() for each in (kind.shape, kind.answer)
    }
    # In one order, whatever the order of a set is this time.
    ordered = sorted(shapes, key=lambda shape: shape.__name__)
    extra = (Alive, Entry, Error, EventsQuery, Page, Ready)
    refs, components = msgspec.json.schema_components(
        [*ordered, *extra], ref_template=_REFERENCE
    )
    ref = dict(zip([*ordered, *extra], refs, strict=True))
    query = components.pop(EventsQuery.__name__)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cdc-actors",
            "version": version("cdc-actors"),
            "description": _ABOUT,
        },
        "security": [{}, {"token": []}],
        "paths": {
            "/cdc": {"post": _cdc(operations, ref)},
            "/cdc/tasks/{task_id}/events": {"get": _events(query, ref)},
            "/livez": {"get": _health("livez", ref[Alive], ref[Alive], 500)},
            "/readyz": {"get": _readyz(ref)},
            "/openapi.json": {
                "get": {
                    "operationId": "openapi",
                    "summary": "This document.",
                    "responses": {"200": _answer("It.", {"type": "object"})},
                }
            },
        },
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _cdc(operations: Mapping[str, Operation], ref: Mapping[Any, Any]) -> dict[str, Any]:
    requests = [
        _object(
            ["request_type"],
            request_type={"const": kind},
            request_data=ref[operation.shape],
        )
        for kind, operation in operations.items()
    ]
    answers = list({id(o.answer): ref[o.answer] for o in operations.values()}.values())
    return {
        "operationId": "cdc",
        "summary": "Everything that is done with tasks, told apart by request_type.",
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"oneOf": requests}}},
        },
        "responses": {
            "200": _answer("It was done.", _success({"anyOf": answers})),
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
    success = _answer("Some events, or each as a line.", _success(ref[Page]))
    success["content"][_LINES] = {"schema": ref[Entry]}
    return {
        "operationId": "events",
        "summary": "The events of a task, also while they happen.",
        "parameters": parameters,
        "responses": {
            "200": success,
            **_errors((400, 404, *_ERRORS_OF_ALL), ref),
        },
    }


def _health(name: str, well: Any, ill: Any, status: int) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": "For probes; needs no token.",
        "responses": {
            "200": _answer("All is well.", well),
            str(status): _answer("It is not.", ill),
        },
    }


def _readyz(ref: Mapping[Any, Any]) -> dict[str, Any]:
    # Where the supervisor does not answer there is nothing but an error.
    return _health("readyz", ref[Ready], {"anyOf": [ref[Ready], ref[Error]]}, 503)


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
