"""The number of shards, which is the target's own affair."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.errors import OperationRefusedError, UnclearAnswerError

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection

_LIMIT = re.compile(r"shard.* (?:limited to |(?:configuration|system limit) \()(\d+)")
"""How a target says its limit: ``proxy.maxShardNum``, ``rootCoord.dmlChannelNum``."""

_log = structlog.get_logger()


def create_limited(target: Connection, request: Any) -> None:
    """Send a CreateCollectionRequest with as many of its shards as the target takes.

    Raises:
        CdcError: As ``Connection.call``.
    """
    wanted = request.shards_num
    while True:
        try:
            target.call("CreateCollection", request, request.db_name)
        except (OperationRefusedError, UnclearAnswerError) as refusal:
            limit = _LIMIT.search(str(refusal))
            most = int(limit[1]) if limit else 0
            if not 0 < most < request.shards_num:
                raise
            request.shards_num = most
        else:
            break
    if request.shards_num != wanted:
        _log.warning(
            "shards_limited",
            collection=f"{request.db_name}.{request.collection_name}",
            source=wanted,
            target=request.shards_num,
        )
