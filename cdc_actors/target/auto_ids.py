"""Keys that the source generated, at a target that generates them as well.

With the property ``allow_insert_auto_id`` Milvus keeps keys that are given (since 2.5.20;
seen at 2.5.27, 2.6.20 and 3.0.0), and clients go on without giving any. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

if TYPE_CHECKING:
    from cdc_actors.changes import Definition

_PROPERTY = "allow_insert_auto_id"
_OLD_SINCE, _OLD_END, _SINCE = (2, 5, 20), (2, 6), (2, 6, 20)


def keeps_given(version: str) -> bool:
    """Tell whether a Milvus of a version, as it tells it, is known to keep given keys."""
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    is_known = _OLD_SINCE <= numbers < _OLD_END or numbers >= _SINCE
    return is_known and not version.startswith("milvus_lite")


def generate(request: Any, definition: Definition) -> None:
    """Have a CreateCollectionRequest make an auto-id key, if the source's is one."""
    source = schema_pb2.CollectionSchema.FromString(definition.schema)
    wanted = schema_pb2.CollectionSchema.FromString(request.schema)
    for ours, theirs in zip(source.fields, wanted.fields, strict=True):
        if ours.is_primary_key and ours.autoID:
            theirs.autoID = True
            request.schema = wanted.SerializeToString()
            request.properties.add(key=_PROPERTY, value="true")


def as_if_given(existing: Any) -> Any:
    """Return the schema in a DescribeCollectionResponse; not auto-id if keys are kept."""
    properties = {pair.key: pair.value for pair in existing.properties}
    if properties.get(_PROPERTY, "").lower() == "true":
        for field in existing.schema.fields:
            field.ClearField("autoID")
    return existing.schema
