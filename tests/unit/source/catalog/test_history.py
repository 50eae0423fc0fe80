"""What the catalog's snapshots and credentials tell, from the bytes that Milvus keeps."""

from __future__ import annotations

import pytest
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.errors import OperatorError
from cdc_actors.rbac_rules import (
    Grant,
    GroupMember,
    PrivilegeGroup,
    Role,
    RoleBinding,
    User,
)
from cdc_actors.source.catalog import catalog_pb2, rbac
from cdc_actors.source.catalog import history as catalog_history
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.catalog.model import NameSince

PLACE = "snapshots/root-coord/database/collection-info"
ACCESS = "root-coord/credential"
PRIVILEGE_GROUPS = "root-coord/privilege-group/"
GROUP = milvus_pb2.PrivilegeGroupInfo(
    group_name="readers", privileges=[{"name": "Search"}, {"name": "Query"}]
)


def info(name: str) -> bytes:
    """Return a collection's value."""
    schema = schema_pb2.CollectionSchema(name=name).SerializeToString()
    return catalog_pb2.CollectionInfo(id=7, schema=schema).SerializeToString()


def test_names_from_versions() -> None:
    """Names come in the order of time; a move to another database is one."""
    pairs = [
        (f"{PLACE}/1/7_ts30", meta.TOMBSTONE),
        (f"{PLACE}/1/7_ts20", info("b")),
        (f"{PLACE}/1/7_ts10", info("a")),
        (f"{PLACE}/1/7_ts25", info("b")),
        (f"{PLACE}/2/7_ts30", info("b")),
        (f"{PLACE}/1/77_ts5", info("other")),
    ]
    found = catalog_history.collection_versions(catalog_history.versions(pairs))
    names = catalog_history.names(found[7], {1: "default", 2: "archive"})
    assert names == [
        NameSince(10, "default", "a"),
        NameSince(20, "default", "b"),
        NameSince(30, "archive", "b"),
    ]


def test_access_from_pairs() -> None:
    """Grants are put together from two keys; a revoked one leaves the first behind."""
    pairs = [
        (f"{ACCESS}/users/ann", b'{"encrypted_password": "$2a$x"}'),
        (f"{ACCESS}/roles/r", b""),
        (f"{ACCESS}/user-role-mapping/ann/r", b""),
        (f"{ACCESS}/grantee-privileges/r/Collection/d.c", b"1"),
        (f"{ACCESS}/grantee-privileges/r/Global/*.*", b"2"),
        (f"{ACCESS}/grantee-privileges/r/Collection/default.gone", b"3"),
        (f"{ACCESS}/grantee-id/1/PrivilegeInsert", b"root"),
        (f"{ACCESS}/grantee-id/2/*", b"root"),
        (f"{ACCESS}/grantee-id/2/PrivilegeGroupreaders", b"root"),
        (f"{PRIVILEGE_GROUPS}readers", GROUP.SerializeToString()),
    ]
    found = rbac.parse(pairs)
    assert found.rules == {
        User("ann"),
        Role("r"),
        RoleBinding("ann", "r"),
        Grant("r", "Collection", "d", "c", "Insert"),
        Grant("r", "Global", "*", "*", "*"),
        Grant("r", "Group", "*", "*", "readers"),
        PrivilegeGroup("readers"),
        GroupMember("readers", "Query"),
        GroupMember("readers", "Search"),
    }
    assert "$2a$x" not in found.passwords["ann"]


def test_fingerprint_changes_with_the_password() -> None:
    """Another hash is another fingerprint, also the same hash of another user."""
    values = [("ann", "1"), ("ann", "2"), ("bob", "1"), ("ann", "1")]
    prints = []
    for user, stored in values:
        value = f'{{"encrypted_password": "{stored}"}}'.encode()
        found = rbac.parse([(f"{ACCESS}/users/{user}", value)])
        prints.append(found.passwords[user])
    assert prints[0] == prints[3]
    assert len(set(prints)) == 3


def test_credential_that_is_none() -> None:
    """A value of another kind is said to be one."""
    with pytest.raises(OperatorError, match=r"no credential .* user ann"):
        rbac.parse([(f"{ACCESS}/users/ann", b"[]")])
