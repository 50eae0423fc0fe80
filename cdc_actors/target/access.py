"""Users, roles and grants at the target. Everything may be asked twice."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection

Fact = tuple[str, ...]

_PASSWORD_BYTES = 24
_REQUESTS = {
    "user": ("CreateCredential", "DeleteCredential"),
    "role": ("CreateRole", "DropRole"),
    "binding": ("OperateUserRole", "OperateUserRole"),
    "grant": ("OperatePrivilege", "OperatePrivilege"),
}


def request_name(fact: Fact, *, remove: bool) -> str:
    """Return what the request is called that makes a fact true, or untrue."""
    return _REQUESTS[fact[0]][remove]


def add(target: Connection, fact: Fact) -> None:
    """Make a fact of ``source.catalog_access`` true.

    A new user gets a password that nobody knows.
    """
    match fact:
        case "user", user if user not in _users(target):
            password = secrets.token_urlsafe(_PASSWORD_BYTES).encode()
            encoded = base64.b64encode(password).decode()
            new = milvus_pb2.CreateCredentialRequest(username=user, password=encoded)
            target.call("CreateCredential", new, "default")
        case "role", role if role not in _roles(target):
            create = milvus_pb2.CreateRoleRequest(entity={"name": role})
            target.call("CreateRole", create, "default")
        case (("binding" | "grant"), *_):
            _operate(target, fact, remove=False)


def remove(target: Connection, fact: Fact) -> None:
    """Make a fact untrue."""
    match fact:
        case "user", user:
            request = milvus_pb2.DeleteCredentialRequest(username=user)
            target.call("DeleteCredential", request, "default")
        case "role", role if role in _roles(target):
            drop = milvus_pb2.DropRoleRequest(role_name=role)
            target.call("DropRole", drop, "default")
        case (("binding" | "grant"), *_):
            _operate(target, fact, remove=True)


def _operate(target: Connection, fact: Fact, *, remove: bool) -> None:
    """Bind a role, or grant a privilege; or take it back."""
    request: Any
    if fact[0] == "binding":
        request = milvus_pb2.OperateUserRoleRequest(
            username=fact[1], role_name=fact[2], type=int(remove)
        )
    else:
        request = milvus_pb2.OperatePrivilegeRequest(
            entity=_grant(*fact[1:]), type=int(remove)
        )
    target.call(request_name(fact, remove=remove), request, "default")


def _grant(role: str, kind: str, database: str, name: str, privilege: str) -> Any:
    return milvus_pb2.GrantEntity(
        role={"name": role},
        object={"name": kind},
        object_name=name,
        db_name=database,
        grantor={"privilege": {"name": privilege}},
    )


def _users(target: Connection) -> set[str]:
    request = milvus_pb2.ListCredUsersRequest()
    return set(target.call("ListCredUsers", request, "default").usernames)


def _roles(target: Connection) -> set[str]:
    request = milvus_pb2.SelectRoleRequest()
    found = target.call("SelectRole", request, "default").results
    return {each.role.name for each in found}
