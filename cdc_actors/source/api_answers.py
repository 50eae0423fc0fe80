"""What a source's API answers, as its etcd would have it.

The API calls a collection by the alias that it was asked for, the fields of a struct by
their short names, and shows no dynamic field (2.6.20, 3.0.0). Pure: answers in, records
out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import common_pb2, schema_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.rbac_rules import (
    GROUP_OBJECT,
    Grant,
    GroupMember,
    PrivilegeGroup,
    Role,
    RoleBinding,
    User,
)
from cdc_actors.source.catalog.model import (
    CollectionMeta,
    IndexMeta,
    NameSince,
    PartitionMeta,
    field_ids,
)
from cdc_actors.source.catalog.rbac import RbacMeta
from cdc_actors.source.wal.streaming.positions import creation_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.rbac_rules import RbacRule

LOADED = frozenset({common_pb2.LoadStateLoading, common_pb2.LoadStateLoaded})

_MADE_IN = tuple(
    f"{place}{rights}"
    for place in ("Cluster", "Database", "Collection")
    for rights in ("ReadOnly", "ReadWrite", "Admin")
)
"""The groups of privileges that every Milvus has."""

_NO_FINGERPRINT = "not shown"


def collection(answer: Any, partitions: Any) -> CollectionMeta:
    """Return a collection from the answers of DescribeCollection and ShowPartitions.

    It begins where each channel tells of its creation: the API has no ids.
    """
    number, created = answer.collectionID, answer.created_timestamp
    database = answer.db_name or DEFAULT_DATABASE
    schema = _schema(answer.schema)
    return CollectionMeta(
        id=number,
        database=database,
        name=schema.name,
        description=schema.description,
        created=created,
        available=True,
        dropping=False,
        schema=schema.SerializeToString(),
        shards=tuple(answer.virtual_channel_names),
        channels=tuple(answer.physical_channel_names),
        start_positions=dict.fromkeys(
            answer.physical_channel_names, creation_id(number, created)
        ),
        shards_num=answer.shards_num,
        consistency_level=answer.consistency_level,
        properties={each.key: each.value for each in answer.properties},
        partitions=_partitions(partitions),
        names=(NameSince(created, database, schema.name),),
        altered=max(created, answer.update_timestamp),
    )


def index(answer: Any, owner: CollectionMeta) -> IndexMeta:
    """Return an index from its description; when it was created is not shown."""
    return IndexMeta(
        id=answer.indexID,
        collection_id=owner.id,
        field_id=field_ids(owner.schema).get(answer.field_name, 0),
        field_name=answer.field_name,
        name=answer.index_name,
        params={each.key: each.value for each in answer.params},
        created=0,
        deleted=False,
    )


def rbac(
    users: Iterable[Any], roles: Iterable[Any], grants: Iterable[Any], groups: Any
) -> RbacMeta:
    """Return who may do what; of passwords it is only known that users have one."""
    rules: set[RbacRule] = {Role(each.role.name) for each in roles}
    for each in users:
        rules.add(User(each.user.name))
        rules |= {RoleBinding(each.user.name, role.name) for role in each.roles}
    own = [each for each in groups if each.group_name not in _MADE_IN]
    for group in own:
        rules.add(PrivilegeGroup(group.group_name))
        rules |= {GroupMember(group.group_name, p.name) for p in group.privileges}
    names = {*_MADE_IN, *(each.group_name for each in own)}
    rules |= {_grant(each, names) for each in grants}
    passwords = {each.user.name: _NO_FINGERPRINT for each in users}
    return RbacMeta(frozenset(rules), passwords)


def _grant(entity: Any, groups: set[str]) -> Grant:
    privilege = entity.grantor.privilege.name
    kind = GROUP_OBJECT if privilege in groups else entity.object.name
    database = entity.db_name or DEFAULT_DATABASE
    return Grant(entity.role.name, kind, database, entity.object_name, privilege)


def _schema(shown: Any) -> schema_pb2.CollectionSchema:
    schema = schema_pb2.CollectionSchema()
    schema.CopyFrom(shown)
    schema.ClearField("properties")
    schema.ClearField("dbName")
    for struct in schema.struct_array_fields:
        for field in struct.fields:
            field.name = f"{struct.name}[{field.name}]"
    return schema


def _partitions(answer: Any) -> dict[int, PartitionMeta]:
    found = zip(
        answer.partitionIDs,
        answer.partition_names,
        answer.created_timestamps,
        strict=True,
    )
    return {number: PartitionMeta(name, at) for number, name, at in sorted(found)}
