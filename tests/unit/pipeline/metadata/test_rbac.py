"""Who may do what at the source, asked of a target that knows all of Milvus 2.5."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import (
    AccessRefusedError,
    KindRefusedError,
    OperationRefusedError,
)
from cdc_actors.pipeline.metadata.rbac import RbacSync
from cdc_actors.pipeline.refused_kinds import RefusedKinds
from cdc_actors.rbac_rules import Grant, GroupMember, PrivilegeGroup, Role, User
from cdc_actors.source.catalog.rbac import RbacMeta
from cdc_actors.tasks import NameMapping, TaskSpec
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Collection

    from cdc_actors.rbac_rules import RbacRule
    from cdc_actors.tasks import Operation

GRANT = Grant("r", "Group", "shop", "books", "readers")
SOURCE = ("default", "shop")
"""The databases that the source has."""
RULES = frozenset(
    {
        Role("r"),
        PrivilegeGroup("readers"),
        GroupMember("readers", "Query"),
        GroupMember("readers", "Search"),
        GRANT,
    }
)


class Target:
    """Takes what it is asked, and has no roles and groups; or it is older than groups."""

    is_lite = False

    def __init__(self, *, old: bool = False, closed: bool = False) -> None:
        self.old = old
        self.closed = closed
        self.asked: list[Any] = []

    def call(self, kind: str, request: Any, database: str) -> Any:
        """Answer as Milvus does."""
        assert database == "default"
        if self.closed:
            raise AccessRefusedError(f"{kind}: permission deny")
        if self.old and "PrivilegeGroup" in kind:
            raise OperationRefusedError(f"{kind} is not known here")
        if kind == "SelectRole":
            return milvus_pb2.SelectRoleResponse()
        if kind == "ListPrivilegeGroups":
            return milvus_pb2.ListPrivilegeGroupsResponse()
        self.asked.append(request)
        return None


@pytest.fixture
def records() -> list[Operation]:
    """Return the list of what is written down."""
    return []


def access(
    target: Target,
    records: list[Operation],
    known: frozenset[RbacRule],
    refused: Collection[str] = (),
) -> RbacSync:
    """Return what follows, with what earlier runs brought, and said to be refused."""
    context = SimpleNamespace(
        record=lambda message: records.append(message.operation),
        source_time=lambda: 7,
        refused_kinds=RefusedKinds(refused),
    )
    mapping = (NameMapping(source_db="shop", target_db="store"),)
    mapped = TaskSpec(
        target=SPEC.target, db_collections={"*": ("*",)}, name_mapping=mapping
    )
    return RbacSync(context, target, mapped, known, {})


def test_a_group_comes_before_what_needs_it(records: list[Operation]) -> None:
    """It is made, filled and granted, under the target's names; and undone in reverse."""
    target = Target()
    follower = access(target, records, frozenset())
    follower.update(RbacMeta(RULES, {}), SOURCE)
    role, group, *members, grant = target.asked
    assert role.entity.name == "r"
    assert group == milvus_pb2.CreatePrivilegeGroupRequest(group_name="readers")
    assert [each.privileges[0].name for each in members] == ["Query", "Search"]
    assert {each.group_name for each in members} == {"readers"}
    assert (grant.role.name, grant.db_name, grant.collection_name) == (
        "r",
        "store",
        "books",
    )
    assert grant.grantor.privilege.name == "readers"
    assert grant.type == milvus_pb2.Grant
    target.asked.clear()
    follower.update(RbacMeta(frozenset({Role("r")}), {}), SOURCE)
    revoked, *taken, dropped = target.asked
    assert (revoked.type, revoked.db_name) == (milvus_pb2.Revoke, "store")
    assert {each.type for each in taken} == {milvus_pb2.RemovePrivilegesFromGroup}
    assert dropped == milvus_pb2.DropPrivilegeGroupRequest(group_name="readers")
    assert not any(each.refused for each in records)


@pytest.mark.parametrize(
    ("object_type", "privilege"),
    [("Global", "DescribeCollection"), ("Group", "CollectionReadOnly")],
)
def test_a_grant_on_one_collection_stays_on_that_one(
    records: list[Operation], object_type: str, privilege: str
) -> None:
    """A global privilege with a name (Milvus 2.5) is granted on that name, mapped."""
    target = Target()
    grant = Grant("r", object_type, "shop", "books", privilege)
    access(target, records, frozenset()).update(
        RbacMeta(frozenset({grant}), {}), SOURCE
    )
    assert target.asked == [
        milvus_pb2.OperatePrivilegeV2Request(
            role={"name": "r"},
            grantor={"privilege": {"name": privilege}},
            db_name="store",
            collection_name="books",
        )
    ]
    assert [each.kind for each in records] == ["OperatePrivilegeV2"]


def test_a_grant_on_all_there_is_is_asked_as_ever(records: list[Operation]) -> None:
    """What Milvus 2.3 knows, too, is granted with the request that it knows."""
    target = Target()
    grant = Grant("r", "Global", "default", "*", "CreateCollection")
    access(target, records, frozenset()).update(
        RbacMeta(frozenset({grant}), {}), SOURCE
    )
    (asked,) = target.asked
    assert isinstance(asked, milvus_pb2.OperatePrivilegeRequest)
    entity = asked.entity
    assert (entity.object.name, entity.db_name) == ("Global", "default")
    assert (entity.object_name, entity.grantor.privilege.name) == (
        "*",
        "CreateCollection",
    )


def test_a_target_without_groups_says_so(records: list[Operation]) -> None:
    """What it does not know is written down as refused; the rest is done."""
    target = Target(old=True)
    access(target, records, frozenset()).update(RbacMeta(RULES, {}), SOURCE)
    refused = [each.kind for each in records if each.refused]
    assert refused == [
        "CreatePrivilegeGroup",
        "OperatePrivilegeGroup",
        "OperatePrivilegeGroup",
    ]


def test_a_missing_privilege_of_the_tasks_user_is_the_tasks(
    records: list[Operation],
) -> None:
    """No rule is written down as refused, so that all are tried again later."""
    with pytest.raises(AccessRefusedError):
        access(Target(closed=True), records, frozenset()).update(
            RbacMeta(RULES, {}), SOURCE
        )
    assert records == []


@pytest.mark.parametrize(
    ("object_type", "privilege"),
    [
        ("Global", "CreateCollection"),
        ("Collection", "Insert"),
        ("Group", "DatabaseAdmin"),
    ],
)
def test_a_grant_on_a_whole_database_stays_on_that_one(
    records: list[Operation], object_type: str, privilege: str
) -> None:
    """It is on what that is called at the target, unless others go there, too."""
    target = Target()
    rules = frozenset({Grant("r", object_type, "shop", "*", privilege)})
    access(target, records, frozenset()).update(RbacMeta(rules, {}), SOURCE)
    (asked,) = target.asked
    assert getattr(asked, "entity", asked).db_name == "store"
    target.asked.clear()
    follower = access(target, records, frozenset())
    follower.update(RbacMeta(rules, {}), ("shop", "store"))
    assert target.asked == []
    assert "where store of the source is, too" in records[-1].refused
    follower.update(RbacMeta(frozenset(), {}), ("shop", "store"))
    (asked,) = target.asked
    assert asked.type == milvus_pb2.Revoke
    assert not records[-1].refused


def test_a_grant_on_all_databases_is_on_all_of_them(records: list[Operation]) -> None:
    """That others go into one of them makes it no wider."""
    target = Target()
    rules = frozenset({Grant("r", "Collection", "*", "*", "Search")})
    follower = access(target, records, frozenset())
    follower.update(RbacMeta(rules, {}), ("shop", "store"))
    assert [each.entity.db_name for each in target.asked] == ["*"]


def test_a_target_without_users_and_roles(records: list[Operation]) -> None:
    """Each kind is asked for once a run and said once; no password is asked for, then."""

    def refuse(kind: str, _request: Any, _database: str) -> None:
        asked.append(kind)
        raise KindRefusedError(f"{kind}: not here")

    target, asked = Target(), []
    target.call = refuse
    found = RbacMeta(RULES | {User("ann"), User("bob"), Role("s")}, {"ann": "f"})
    follower = access(target, records, frozenset())
    follower.update(found, SOURCE)
    kinds = [each.kind for each in records]
    assert len(asked) == len(kinds) == len(set(kinds)) > 3
    assert all(each.is_kind_refused for each in records)
    access(target, records, frozenset(), kinds).update(found, SOURCE)
    assert len(asked) == 2 * len(kinds)
    assert len(records) == len(kinds)
