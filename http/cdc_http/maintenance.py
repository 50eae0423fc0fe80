"""The requests ``position`` and ``maintenance``, as milvus-cdc has them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, get_args

from pymilvus.grpc_gen import msg_pb2

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.config.model import LogLevel
from cdc_actors.errors import InvalidRequestError
from cdc_http.responses import Position, PositionResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cdc_actors.service.views import PositionView

_LEVELS: tuple[str, ...] = get_args(get_args(LogLevel)[0])


def positions(
    views: Iterable[PositionView], shown: Mapping[str, str]
) -> PositionResponse:
    """Return positions as the API shows them; ``shown`` has clients' ids of tasks."""
    found: tuple[list[Position], list[Position]] = [], []
    for view in views:
        task_id = shown.get(view.task_id) or view.task_id
        found[view.of_requests].append(_position(view, task_id))
    return PositionResponse(positions=found[False], op_positions=found[True])


def maintain(
    operation: str, params: dict[str, Any], set_log_level: Callable[[Any], None]
) -> str:
    """Do an operation; return what became of it, in milvus-cdc's words.

    Raises:
        InvalidRequestError: There is no such operation or level.
    """
    if operation != "set_log_level":
        raise InvalidRequestError(
            f"unsupported operation: {operation}, it is set_log_level"
        )
    level = params.get("log_level")
    if not level:
        raise InvalidRequestError("log_level is required")
    if level not in _LEVELS:
        raise InvalidRequestError(
            f"invalid log level: {level}, it is one of {', '.join(_LEVELS)}"
        )
    set_log_level(level)
    return "set log level success"


def _position(view: PositionView, task_id: str) -> Position:
    checkpoint = view.checkpoint
    at = checkpoint.position
    message = msg_pb2.MsgPosition(
        channel_name=at.channel, msgID=at.id, timestamp=checkpoint.tick
    )
    return Position(
        task_id=task_id,
        channel_name=at.channel,
        position=at.text,
        time=checkpoint.tick >> LOGICAL_BITS,
        tt=checkpoint.tick,
        msg_id=base64.b64encode(message.SerializeToString()).decode(),
    )
