"""Users, roles, privilege groups and grants at the target. Every call is idempotent."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE, PRIVILEGE_GROUP

if TYPE_CHECKING:
    from cdc_actors.changes import RbacRule
    from cdc_actors.target.connection import Connection

_PASSWORD_BYTES = 24
_REQUESTS = {
    "user": ("CreateCredential", "DeleteCredential"),
    "role": ("CreateRole", "DropRole"),
    "group": ("CreatePrivilegeGroup", "DropPrivilegeGroup"),
    "member": ("OperatePrivilegeGroup", "OperatePrivilegeGroup"),
    "binding": ("OperateUserRole", "OperateUserRole"),
    "grant": ("OperatePrivilege", "OperatePrivilege"),
}


def request_name(rule: RbacRule, *, remove: bool) -> str:
    """Return the name of the request that makes a rule true, or untrue.

    Groups are granted with a request of their own (Milvus 2.5).
    """
    if rule[0] == "grant" and rule[2] == PRIVILEGE_GROUP:
        return "OperatePrivilegeV2"
    return _REQUESTS[rule[0]][remove]


def add(target: Connection, rule: RbacRule) -> None:
    """Make a rule of ``source.catalog.rbac`` true.

    A new user gets a password that nobody knows.
    """
    match rule:
        case "user", user if user not in _users(target):
            password = secrets.token_urlsafe(_PASSWORD_BYTES).encode()
            encoded = base64.b64encode(password).decode()
            new = milvus_pb2.CreateCredentialRequest(username=user, password=encoded)
            target.call("CreateCredential", new, DEFAULT_DATABASE)
        case "role", role if role not in _roles(target):
            create = milvus_pb2.CreateRoleRequest(entity={"name": role})
            target.call("CreateRole", create, DEFAULT_DATABASE)
        case "group", group if group not in _groups(target):
            new_group = milvus_pb2.CreatePrivilegeGroupRequest(group_name=group)
            target.call("CreatePrivilegeGroup", new_group, DEFAULT_DATABASE)
        case (("binding" | "grant" | "member"), *_):
            _operate(target, rule, remove=False)


def remove(target: Connection, rule: RbacRule) -> None:
    """Make a rule untrue."""
    match rule:
        case "user", user:
            request = milvus_pb2.DeleteCredentialRequest(username=user)
            target.call("DeleteCredential", request, DEFAULT_DATABASE)
        case "role", role if role in _roles(target):
            drop = milvus_pb2.DropRoleRequest(role_name=role)
            target.call("DropRole", drop, DEFAULT_DATABASE)
        case "group", group:
            drop_group = milvus_pb2.DropPrivilegeGroupRequest(group_name=group)
            target.call("DropPrivilegeGroup", drop_group, DEFAULT_DATABASE)
        case (("binding" | "grant" | "member"), *_):
            _operate(target, rule, remove=True)


def _operate(target: Connection, rule: RbacRule, *, remove: bool) -> None:
    """Bind a role, grant, or put a privilege into a group; or take it back."""
    request = _request(rule, int(remove))
    target.call(request_name(rule, remove=remove), request, DEFAULT_DATABASE)


def _request(rule: RbacRule, kind: int) -> Any:
    match rule:
        case "binding", user, role:
            return milvus_pb2.OperateUserRoleRequest(
                username=user, role_name=role, type=kind
            )
        case "member", group, privilege:
            return milvus_pb2.OperatePrivilegeGroupRequest(
                group_name=group, privileges=[{"name": privilege}], type=kind
            )
        case "grant", role, object_type, database, name, group if (
            object_type == PRIVILEGE_GROUP
        ):
            return milvus_pb2.OperatePrivilegeV2Request(
                role={"name": role},
                grantor={"privilege": {"name": group}},
                type=kind,
                db_name=database,
                collection_name=name,
            )
    return milvus_pb2.OperatePrivilegeRequest(entity=_grant(*rule[1:]), type=kind)


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
    return set(target.call("ListCredUsers", request, DEFAULT_DATABASE).usernames)


def _roles(target: Connection) -> set[str]:
    request = milvus_pb2.SelectRoleRequest()
    found = target.call("SelectRole", request, DEFAULT_DATABASE).results
    return {each.role.name for each in found}


def _groups(target: Connection) -> set[str]:
    request = milvus_pb2.ListPrivilegeGroupsRequest()
    found = target.call(
        "ListPrivilegeGroups", request, DEFAULT_DATABASE
    ).privilege_groups
    return {each.group_name for each in found}
