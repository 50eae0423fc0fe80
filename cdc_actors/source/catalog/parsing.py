"""How a pair of etcd becomes a message."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from cdc_actors.errors import OperatorError


def parse(kind: Any, pair: tuple[str, bytes]) -> Any:
    """Return the message of class ``kind`` in a pair of key and value.

    Raises:
        OperatorError: It holds something else.
    """
    key, value = pair
    try:
        return kind.FromString(value)
    except DecodeError as error:
        raise OperatorError(
            f"etcd key {key} holds no {kind.DESCRIPTOR.name} of Milvus 2.2 to 3.0; "
            "check sourceConfig.etcd"
        ) from error
