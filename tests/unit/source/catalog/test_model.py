"""The catalog's records, from the bytes that Milvus keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import replicated_properties
from cdc_actors.errors import OperatorError
from cdc_actors.source.catalog import catalog_pb2
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.versions import has_requests, refuse_unsupported
from tests.support.recorded_life import CatalogWrite, life

CREATED, CREATING, DROPPING, DROPPED = range(4)


def _info(**values: object) -> tuple[str, bytes]:
    schema = schema_pb2.CollectionSchema(name="c").SerializeToString()
    info = catalog_pb2.CollectionInfo(id=7, schema=schema, **values)
    return "root-coord/database/collection-info/1/7", info.SerializeToString()


def _field(field_id: int, **values: object) -> tuple[str, bytes]:
    field = schema_pb2.FieldSchema(fieldID=field_id, name=f"f{field_id}", **values)
    return f"root-coord/fields/7/{field_id}", field.SerializeToString()


def _function(function_id: int) -> tuple[str, bytes]:
    function = schema_pb2.FunctionSchema(
        id=function_id,
        name=f"fn{function_id}",
        type=schema_pb2.BM25,
        input_field_names=["f100"],
        input_field_ids=[100],
        output_field_names=["f101"],
        output_field_ids=[101],
    )
    return f"root-coord/functions/7/{function_id}", function.SerializeToString()


def _partition(partition_id: int, state: int = CREATED) -> tuple[str, bytes]:
    info = catalog_pb2.PartitionInfo(
        partition_id=partition_id, partition_name=f"p{partition_id}", state=state
    )
    return f"root-coord/partitions/7/{partition_id}", info.SerializeToString()


def _schema(*fields: tuple[str, bytes]) -> schema_pb2.CollectionSchema:
    found = meta.collection(_info(), "default", list(fields), [])
    return schema_pb2.CollectionSchema.FromString(found.schema)


@given(st.permutations([0, 1, 100, 101, 102, 1000]))
def test_schema_has_the_users_fields_in_order(field_ids: list[int]) -> None:
    """Milvus's own fields are left out, the rest is by field id, however it is stored."""
    schema = _schema(*map(_field, field_ids))
    assert [field.fieldID for field in schema.fields] == [100, 101, 102, 1000]
    assert not schema.enable_dynamic_field


def test_dynamic_field_is_a_flag() -> None:
    """The field behind dynamic columns is no field of the schema but its flag."""
    schema = _schema(_field(100), _field(101, is_dynamic=True))
    assert [field.fieldID for field in schema.fields] == [100]
    assert schema.enable_dynamic_field


def test_schema_has_the_functions() -> None:
    """What Milvus 2.5 computes of other fields is part of the schema, by function id."""
    found = meta.collection(
        _info(),
        "default",
        [_field(100), _field(101, is_function_output=True)],
        functions=[_function(1001), _function(1000)],
    )
    schema = schema_pb2.CollectionSchema.FromString(found.schema)
    assert [function.name for function in schema.functions] == ["fn1000", "fn1001"]
    assert schema.functions[0].type == schema_pb2.BM25
    assert schema.functions[0].output_field_names == ["f101"]
    assert schema.fields[1].is_function_output


@pytest.mark.parametrize(
    ("state", "available", "dropping"),
    [
        (CREATED, True, False),
        (CREATING, False, False),
        (DROPPING, False, True),
        (DROPPED, False, True),
    ],
)
def test_states(state: int, available: bool, dropping: bool) -> None:  # noqa: FBT001
    """A collection is available, being dropped, or neither while it is created."""
    found = meta.collection(_info(state=state), "default", [], [])
    assert (found.available, found.dropping) == (available, dropping)


def test_partitions_in_existence_oldest_first() -> None:
    """Partitions being created or dropped are left out; order is that of creation."""
    pairs = [_partition(30), _partition(4), _partition(5, DROPPING)]
    found = meta.collection(_info(), "default", [], [*pairs, _partition(6, CREATING)])
    names = [(id_, partition.name) for id_, partition in found.partitions.items()]
    assert names == [(4, "p4"), (30, "p30")]


def test_index_params_are_the_users() -> None:
    """What the user gave wins; without it, what Milvus chose stands in."""
    chosen = [catalog_pb2.KeyValue(key="index_type", value="HNSW")]
    given_ = [catalog_pb2.KeyValue(key="index_type", value="AUTOINDEX")]
    params = [
        meta.index(
            (
                "field-index/7/1",
                catalog_pb2.FieldIndex(
                    index_info=catalog_pb2.IndexInfo(
                        index_params=chosen, user_index_params=user
                    )
                ).SerializeToString(),
            ),
            {},
        ).params
        for user in (given_, [])
    ]
    assert params == [{"index_type": "AUTOINDEX"}, {"index_type": "HNSW"}]


def _load(collection: int, load_type: int) -> tuple[str, bytes]:
    info = catalog_pb2.CollectionLoadInfo(
        collection_id=collection, replica_number=2, load_type=load_type
    )
    return f"{meta.COLLECTION_LOADS}{collection}", info.SerializeToString()


def _part_load(collection: int, partition: int) -> tuple[str, bytes]:
    info = catalog_pb2.PartitionLoadInfo(
        collection_id=collection, partition_id=partition, replica_number=3
    )
    key = f"{meta.PARTITION_LOADS}{collection}/{partition}"
    return key, info.SerializeToString()


def test_loads_as_each_version_has_them() -> None:
    """Milvus 2.2 has no kind of load, nor anything of a collection loaded in part."""
    found = meta.loads([_load(1, 2), _load(2, 1)], [_part_load(1, 5), _part_load(2, 6)])
    assert (found[1].whole, found[1].partitions, found[1].replicas) == (True, {5}, 2)
    assert (found[2].whole, found[2].partitions) == (False, {6})
    older = meta.loads([_load(1, 0)], [_part_load(2, 6)])
    assert (older[1].whole, older[1].partitions) == (True, frozenset())
    assert (older[2].whole, older[2].partitions, older[2].replicas) == (False, {6}, 3)


def test_which_fields_are_loaded() -> None:
    """A real 2.5.27 names the fields of a load, all of them or some."""
    loads = {}
    for step in life("2.5.27"):
        if isinstance(step, CatalogWrite) and meta.COLLECTION_LOADS in step.key:
            value = step.value or meta.TOMBSTONE
            loads[step.key.partition("meta/")[2]] = value
    pairs = [pair for pair in loads.items() if pair[1] != meta.TOMBSTONE]
    found = [sorted(each.fields) for each in meta.loads(pairs, []).values()]
    assert sorted(found) == [[100, 101, 102], [100, 108, 112]]


@pytest.mark.parametrize(
    ("sessions", "version"),
    [
        ({"rootcoord": b'{"ServerID":1,"Version":"2.3.0"}'}, (2, 3, 0)),
        ({"mixcoord": b'{"Version":"2.6.1-dev"}'}, (2, 6, 1)),
        ({"proxy-1": b'{"Version":"2.3.0"}', "rootcoord": b"{}"}, ()),
        ({}, ()),
    ],
    ids=str,
)
def test_version_is_in_the_session(
    sessions: dict[str, bytes], version: tuple[int, ...]
) -> None:
    """The session of the root coordinator says the version; nothing else does."""
    pairs = [(f"session/{name}", value) for name, value in sessions.items()]
    assert meta.version(pairs) == version


@pytest.mark.parametrize("version", [(2, 2, 15), (3, 1, 0), (1, 0, 0)])
def test_other_versions_are_refused(version: tuple[int, ...]) -> None:
    """The refusal names the version and those that can be a source."""
    with pytest.raises(OperatorError, match=r"the versions 2\.2\.16 to 3\.0"):
        refuse_unsupported(version)


def test_one_that_writes_the_log_of_a_newer_version_is_refused() -> None:
    """Milvus 2.5 with its streaming service on: its nodes say so."""
    sessions = [("session/rootcoord", b"{}"), ("session/datanode-1", b"{}")]
    assert not meta.has_streaming_node(sessions)
    assert meta.has_streaming_node([*sessions, ("session/streamingnode-2", b"{}")])
    with pytest.raises(OperatorError, match=r"2\.5\.27 with the streaming service"):
        refuse_unsupported((2, 5, 27), streams=True)


@pytest.mark.parametrize("version", [(), (2, 2, 16), (2, 3, 0), (2, 5, 27), (2, 6, 0)])
def test_versions_that_can_be_a_source(version: tuple[int, ...]) -> None:
    """So can one that does not run just now."""
    refuse_unsupported(version)


def test_foreign_value_is_said() -> None:
    """A value that is no message of Milvus gives an error that names its key."""
    with pytest.raises(OperatorError, match="collection-info/1/7 holds no Collection"):
        meta.collection(
            ("root-coord/database/collection-info/1/7", b"\xff\xff"), "default", [], []
        )


@pytest.mark.parametrize(
    ("version", "has_them"),
    [((2, 3, 1), False), ((2, 3, 2), True), ((2, 5, 27), True), ((2, 6, 0), False)],
)
def test_which_logs_have_requests(version: tuple[int, ...], *, has_them: bool) -> None:
    """Those of 2.3.2 to 2.5: streaming nodes have none."""
    assert has_requests(version) is has_them


def test_what_is_not_the_target_s() -> None:
    """Milvus sets it by itself."""
    given = {"timezone": "UTC", "mmap.enabled": "true", "max_field_id": "103"}
    assert replicated_properties(given) == {"mmap.enabled": "true"}
