"""What the proxies of a Milvus remember of a collection, and how to have them look again.

A proxy that is asked for a partition while that is being created may keep what was there
before, for good (2.3.5): rows of it are refused, though everybody is shown the partition.
So may one keep the id of a collection that was dropped, by a name that another has now. And
one that is told to forget a collection in the middle of a request to it does not find it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Protocol

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from cdc_actors.errors import OperationRefusedError, UnclearAnswerError
from cdc_actors.marks import REFRESHED

REFRESH = "AlterCollection"
"""The request after which they look again."""

_COLLECTION_NOT_FOUND = 100
_PARTITION_NOT_FOUND = 200
_BY_ID = re.compile(r"\[collection=\d+\]")
"""How a proxy names a collection that it looked for by an id; no name begins so."""

_FORGOTTEN = "can't find collection name"
"""What a proxy (2.3.5) says of one that it had just before; the code says nothing."""


def is_stale(refusal: UnclearAnswerError | OperationRefusedError) -> bool:
    """Tell whether a request by name may be refused for what a proxy remembers."""
    if refusal.code == _COLLECTION_NOT_FOUND:
        return _BY_ID.search(str(refusal)) is not None
    return refusal.code == _PARTITION_NOT_FOUND or _FORGOTTEN in str(refusal)


class _Target(Protocol):
    def call(self, method: str, request: Any, database: str) -> Any: ...


def refresh(target: _Target, database: str, name: str) -> None:
    """Have them forget a collection, as they do when one of its properties is altered.

    Raises:
        TransientError: The target does not answer.
    """
    refreshed = common_pb2.KeyValuePair(key=REFRESHED, value="true")
    request = milvus_pb2.AlterCollectionRequest(
        db_name=database, collection_name=name, properties=[refreshed]
    )
    with suppress(OperationRefusedError):
        target.call(REFRESH, request, database)
