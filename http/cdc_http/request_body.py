"""Request bodies: from any bytes to a JSON value or a refusal in plain words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import falcon
import msgspec

from cdc_actors.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

# `curl -d` sends the second of its own accord, and milvus-cdc never looked at it.
_CONTENT_TYPES = ("application/json", "application/x-www-form-urlencoded")
_UNMARSHAL = "fail to unmarshal the request, error: {}"


def read_json(request: falcon.Request, max_bytes: int) -> Any:
    """Return the JSON value of the request's body; null members count as absent.

    Raises:
        falcon.HTTPUnsupportedMediaType: The content type says that it is not JSON.
        falcon.HTTPContentTooLarge: The body has more than ``max_bytes`` bytes.
        InvalidRequestError: The body is not JSON, or names a member twice.
    """
    _check_content_type(request.content_type)
    return _loads(read_body(request, max_bytes))


def read_body(request: falcon.Request, max_bytes: int) -> bytes:
    """Return the request's body as it came. May be called again.

    Raises:
        falcon.HTTPContentTooLarge: It has more than ``max_bytes`` bytes.
    """
    context: Any = request.context
    if hasattr(context, "body"):
        return bytes(context.body)
    body: bytes = request.bounded_stream.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise falcon.HTTPContentTooLarge(
            description=f"the request body is larger than {max_bytes} bytes"
        )
    context.body = body
    return body


def convert(value: Any, kind: type[T], failure: str, *, text: bool = False) -> T:
    """Return ``value`` as ``kind``; the error says ``failure`` and names the field.

    With ``text`` numbers and booleans are written as text, as in a query.
    """
    try:
        return msgspec.convert(value, kind, strict=not text)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"{failure}, error: {error}") from error


def _check_content_type(content_type: str | None) -> None:
    if not content_type:
        return
    name, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace('"', "").strip()
    if name.strip() not in _CONTENT_TYPES or charset not in {"", "charset=utf-8"}:
        raise falcon.HTTPUnsupportedMediaType(
            description=f"the content type {content_type} is not supported, "
            "send application/json in UTF-8"
        )


def _loads(body: bytes) -> Any:
    if not body.strip():
        raise InvalidRequestError(_UNMARSHAL.format("the body is empty"))
    try:
        # msgspec refuses NaN and lone surrogates, the standard library lets us see
        # members that come twice; neither does both.
        msgspec.json.decode(body)
        return json.loads(body.decode(), object_pairs_hook=_members)
    except RecursionError as error:
        text = "the JSON is nested too deeply"
        raise InvalidRequestError(_UNMARSHAL.format(text)) from error
    except ValueError as error:
        raise InvalidRequestError(_UNMARSHAL.format(error)) from error


def _members(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the field `{name}` is given twice")
        members[name] = value
    # Go clients send null for a list or map that they leave empty.
    return {name: value for name, value in members.items() if value is not None}
