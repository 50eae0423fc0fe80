"""Users, roles, privilege groups and grants at the target. Every call is idempotent."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.rbac_rules import (
    Grant,
    GroupMember,
    PrivilegeGroup,
    Role,
    RoleBinding,
    User,
)

if TYPE_CHECKING:
    from cdc_actors.rbac_rules import RbacRule
    from cdc_actors.target.connection import Connection

_PASSWORD_BYTES = 24
_REQUESTS = {
    User: ("CreateCredential", "DeleteCredential"),
    Role: ("CreateRole", "DropRole"),
    PrivilegeGroup: ("CreatePrivilegeGroup", "DropPrivilegeGroup"),
    GroupMember: ("OperatePrivilegeGroup", "OperatePrivilegeGroup"),
    RoleBinding: ("OperateUserRole", "OperateUserRole"),
    Grant: ("OperatePrivilege", "OperatePrivilege"),
}


def request_name(rule: RbacRule, *, remove: bool) -> str:
    """Return the name of the request that makes a rule true, or untrue.

    Some grants only a newer request can repeat (Milvus 2.5).
    """
    if isinstance(rule, Grant) and rule.by_name:
        return "OperatePrivilegeV2"
    return _REQUESTS[type(rule)][remove]


def add(target: Connection, rule: RbacRule) -> None:
    """Make a rule true.

    A new user gets a password that nobody knows.
    """
    match rule:
        case User(user) if user not in _users(target):
            password = secrets.token_urlsafe(_PASSWORD_BYTES).encode()
            encoded = base64.b64encode(password).decode()
            new = milvus_pb2.CreateCredentialRequest(username=user, password=encoded)
            target.call("CreateCredential", new, DEFAULT_DATABASE)
        case Role(role) if role not in _roles(target):
            create = milvus_pb2.CreateRoleRequest(entity={"name": role})
            target.call("CreateRole", create, DEFAULT_DATABASE)
        case PrivilegeGroup(group) if group not in _groups(target):
            new_group = milvus_pb2.CreatePrivilegeGroupRequest(group_name=group)
            target.call("CreatePrivilegeGroup", new_group, DEFAULT_DATABASE)
        case RoleBinding() | Grant() | GroupMember():
            _operate(target, rule, remove=False)


def remove(target: Connection, rule: RbacRule) -> None:
    """Make a rule untrue."""
    match rule:
        case User(user):
            request = milvus_pb2.DeleteCredentialRequest(username=user)
            target.call("DeleteCredential", request, DEFAULT_DATABASE)
        case Role(role) if role in _roles(target):
            drop = milvus_pb2.DropRoleRequest(role_name=role)
            target.call("DropRole", drop, DEFAULT_DATABASE)
        case PrivilegeGroup(group):
            drop_group = milvus_pb2.DropPrivilegeGroupRequest(group_name=group)
            target.call("DropPrivilegeGroup", drop_group, DEFAULT_DATABASE)
        case RoleBinding() | Grant() | GroupMember():
            _operate(target, rule, remove=True)


def _operate(
    target: Connection, rule: RoleBinding | Grant | GroupMember, *, remove: bool
) -> None:
    """Bind a role, grant, or put a privilege into a group; or take it back."""
    request = _request(rule, int(remove))
    target.call(request_name(rule, remove=remove), request, DEFAULT_DATABASE)


def _request(rule: RoleBinding | Grant | GroupMember, kind: int) -> Any:
    match rule:
        case RoleBinding(user, role):
            return milvus_pb2.OperateUserRoleRequest(
                username=user, role_name=role, type=kind
            )
        case GroupMember(group, privilege):
            return milvus_pb2.OperatePrivilegeGroupRequest(
                group_name=group, privileges=[{"name": privilege}], type=kind
            )
        case Grant(by_name=True):
            return milvus_pb2.OperatePrivilegeV2Request(
                role={"name": rule.role},
                grantor={"privilege": {"name": rule.privilege}},
                type=kind,
                db_name=rule.database,
                collection_name=rule.object_name,
            )
        case Grant():
            return milvus_pb2.OperatePrivilegeRequest(entity=_entity(rule), type=kind)


def _entity(grant: Grant) -> Any:
    return milvus_pb2.GrantEntity(
        role={"name": grant.role},
        object={"name": grant.object_type},
        object_name=grant.object_name,
        db_name=grant.database,
        grantor={"privilege": {"name": grant.privilege}},
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
