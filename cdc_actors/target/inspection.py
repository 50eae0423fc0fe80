"""What a target says of itself and to harmless requests, for a bug report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import CdcError

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection

_ASKED = {
    "AllocTimestamp": milvus_pb2.AllocTimestampRequest,
    "ListCredUsers": milvus_pb2.ListCredUsersRequest,
    "ListDatabases": milvus_pb2.ListDatabasesRequest,
    "ListPrivilegeGroups": milvus_pb2.ListPrivilegeGroupsRequest,
    "SelectRole": milvus_pb2.SelectRoleRequest,
    "ShowCollections": milvus_pb2.ShowCollectionsRequest,
}
"""Requests that only read, one for each kind of thing that a Milvus may not have."""

_TIMEOUT = 5.0
"""Seconds for each."""

DONE = "done"


def inspect(target: Connection) -> dict[str, str]:
    """Return the target's version, and by request that it was done or why it was not.

    What was answered, names of users among it, is not in there.
    """
    return {"version": target.version} | {
        method: _outcome(target, method) for method in _ASKED
    }


def _outcome(target: Connection, method: str) -> str:
    try:
        target.call(method, _ASKED[method](), DEFAULT_DATABASE, _TIMEOUT)
    except CdcError as error:
        return f"{type(error).__name__}: {error}"
    return DONE
