"""Users, roles, privilege groups and grants at the target. All may be asked twice."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection

RbacRule = tuple[str, ...]

_GROUP = "Group"
_PASSWORD_BYTES = 24
_REQUESTS = {
    "user": ("CreateCredential", "DeleteCredential"),
    "role": ("CreateRole", "DropRole"),
    "group": ("CreatePrivilegeGroup", "DropPrivilegeGroup"),
    "member": ("OperatePrivilegeGroup", "OperatePrivilegeGroup"),
    "binding": ("OperateUserRole", "OperateUserRole"),
    "grant": ("OperatePrivilege", "OperatePrivilege"),
}


def request_name(fact: RbacRule, *, remove: bool) -> str:
    """Return what the request is called that makes a fact true, or untrue.

    Groups are granted with a request of their own (Milvus 2.5).
    """
    if fact[0] == "grant" and fact[2] == _GROUP:
        return "OperatePrivilegeV2"
    return _REQUESTS[fact[0]][remove]


def add(target: Connection, fact: RbacRule) -> None:
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
        case "group", group if group not in _groups(target):
            new_group = milvus_pb2.CreatePrivilegeGroupRequest(group_name=group)
            target.call("CreatePrivilegeGroup", new_group, "default")
        case (("binding" | "grant" | "member"), *_):
            _operate(target, fact, remove=False)


def remove(target: Connection, fact: RbacRule) -> None:
    """Make a fact untrue."""
    match fact:
        case "user", user:
            request = milvus_pb2.DeleteCredentialRequest(username=user)
            target.call("DeleteCredential", request, "default")
        case "role", role if role in _roles(target):
            drop = milvus_pb2.DropRoleRequest(role_name=role)
            target.call("DropRole", drop, "default")
        case "group", group:
            drop_group = milvus_pb2.DropPrivilegeGroupRequest(group_name=group)
            target.call("DropPrivilegeGroup", drop_group, "default")
        case (("binding" | "grant" | "member"), *_):
            _operate(target, fact, remove=True)


def _operate(target: Connection, fact: RbacRule, *, remove: bool) -> None:
    """Bind a role, grant, or put a privilege into a group; or take it back."""
    request = _request(fact, int(remove))
    target.call(request_name(fact, remove=remove), request, "default")


def _request(fact: RbacRule, kind: int) -> Any:
    match fact:
        case "binding", user, role:
            return milvus_pb2.OperateUserRoleRequest(
                username=user, role_name=role, type=kind
            )
        case "member", group, privilege:
            return milvus_pb2.OperatePrivilegeGroupRequest(
                group_name=group, privileges=[{"name": privilege}], type=kind
            )
        case "grant", role, object_type, database, name, group if object_type == _GROUP:
            return milvus_pb2.OperatePrivilegeV2Request(
                role={"name": role},
                grantor={"privilege": {"name": group}},
                type=kind,
                db_name=database,
                collection_name=name,
            )
    return milvus_pb2.OperatePrivilegeRequest(entity=_grant(*fact[1:]), type=kind)


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


def _groups(target: Connection) -> set[str]:
    request = milvus_pb2.ListPrivilegeGroupsRequest()
    found = target.call("ListPrivilegeGroups", request, "default").privilege_groups
    return {each.group_name for each in found}
