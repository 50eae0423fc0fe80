"""Whether two addresses lead to one Milvus.

No request of a Milvus (2.2 to 2.5) returns an identity of the cluster. What every proxy
of one returns alike, and no other Milvus does, are its components with their addresses
and the times at which they started, to the nanosecond (``GetMetrics`` of the kind
``system_info``; seen with 2.2.16 and 2.3.5). Collections have ids of a cluster's own clock,
so that they differ as well; but a Milvus that was restored from a copy of another has the
same.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import (
    CdcError,
    OperationRefusedError,
    OperatorError,
    TransientError,
)
from cdc_actors.target.connection import Connection
from cdc_actors.target.databases import databases

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cdc_actors.config import SourceConfig

Component = tuple[str, str, str]
"""Its kind, its address and the time at which it started."""

_SOURCE_TIMEOUT = 3.0
_SYSTEM_INFO = json.dumps({"metric_type": "system_info"})


class SameMilvusError(OperatorError):
    """Source and target are one Milvus."""


class OtherMilvusError(OperatorError):
    """Another address leads to another Milvus, or nothing tells that it does not."""


def refuse_other(
    target: Connection,
    known: Collection[int],
    earlier: Callable[[], Connection],
    *,
    told: bool = False,
) -> None:
    """Raise OtherMilvusError unless a target is the Milvus that a task wrote to.

    ``known`` are ids that collections of the task have there: one of them is proof. So is
    a component of the Milvus at ``earlier``, the address until now, if that answers.
    Nothing tells one Milvus Lite (3.2) from another: there it counts whether the operator
    has ``told`` that it is the same.

    Raises:
        CdcError: The target does not answer.
    """
    if not collection_ids(target).isdisjoint(known):
        return
    ours, theirs, why = components(target), frozenset[Component](), "it does not say"
    try:
        with closing(earlier()) as before:
            theirs = components(before)
    except CdcError as error:
        why = f"the address until now does not answer ({error})"
    if ours & theirs:
        return
    if known or (ours and theirs):
        raise OtherMilvusError(
            f"the target {target.uri} is another Milvus than before: it has none of the "
            "collections that the task has created; create another task for it"
        )
    if told:
        return
    raise OtherMilvusError(
        f"nothing tells whether the target {target.uri} is the Milvus that the task has "
        f"written to: {why}; if you know that it is, say so with same_milvus "
        "(--same-milvus); if not, create another task"
    )


def refuse_source(
    target: Connection,
    source: SourceConfig,
    known: Callable[[], Collection[int]] = tuple,
) -> None:
    """Raise SameMilvusError if the target is the source; nothing is written to either.

    ``known`` returns ids of the source's collections. Where one of the two does not say
    what its components are, the target is taken for another Milvus as long as it has none
    of these collections.

    Raises:
        TransientError: It has some, and cannot be told from the source for now.
    """
    if target.is_lite:
        return
    ours, theirs = _source_components(source), components(target)
    if ours & theirs:
        raise SameMilvusError(
            f"the target {target.uri} is the source itself: a task would write the "
            "source's rows into the source again; name another Milvus as the target"
        )
    if not (ours and theirs) and collection_ids(target).intersection(known()):
        raise TransientError(
            f"the target {target.uri} has collections with the ids of the source's, and "
            "the source's API does not answer to tell whether the two are one Milvus"
        )


def components(server: Connection) -> frozenset[Component]:
    """Return the components of a Milvus; none if it does not say."""
    request = milvus_pb2.GetMetricsRequest(request=_SYSTEM_INFO)
    try:
        answer = server.call("GetMetrics", request, DEFAULT_DATABASE)
    except OperationRefusedError:
        return frozenset()
    infos = [node["infos"] for node in json.loads(answer.response)["nodes_info"]]
    return frozenset(
        (info["type"], info["hardware_infos"]["ip"], info["created_time"])
        for info in infos
        if info.get("created_time")
    )


def collection_ids(server: Connection) -> set[int]:
    """Return the ids of all collections of a Milvus."""
    found: set[int] = set()
    for database in databases(server):
        request = milvus_pb2.ShowCollectionsRequest(db_name=database)
        found.update(server.call("ShowCollections", request, database).collection_ids)
    return found


def _source_components(source: SourceConfig) -> frozenset[Component]:
    try:
        api = Connection(
            source.uri, source.token, timeout=_SOURCE_TIMEOUT, name="the source"
        )
        with closing(api):
            return components(api)
    except CdcError:
        return frozenset()
