"""Examples of requests, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

_TASK = "0123456789abcdef0123456789abcdef"


def _update(summary: str, **data: Any) -> dict[str, Any]:
    value = {"request_type": "update", "request_data": {"task_id": _TASK, **data}}
    return {"summary": summary, "value": value}


EXAMPLES = {
    "update_token": _update(
        "Another token: a running task goes on with it, a paused one once it is resumed.",
        milvus_connect_param={"token": "root:secret"},
    ),
    "update_address": _update(
        "Another address of the same Milvus.",
        milvus_connect_param={"uri": "http://milvus.example:19530"},
    ),
    "update_selection": _update(
        "All that is selected from now on; what is not named any more stays as it is at "
        "the target.",
        collection_infos=[{"name": "books"}],
        db_collections={"shop": [{"name": "*"}]},
    ),
    "update_mapping": _update(
        "Another mapping, of collections that the target does not have yet.",
        name_mapping=[{"source_db": "shop", "target_db": "store"}],
    ),
}
