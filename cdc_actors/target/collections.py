"""Collections and partitions at the target.

Every call is idempotent: what exists already is left as it is, what is gone stays gone.
Others may create or drop the same at the same time: a request that the target refuses
counts as done if what it asks for is so by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from cdc_actors.errors import (
    CollectionError,
    OperationRefusedError,
    UnclearAnswerError,
)
from cdc_actors.field_data import DYNAMIC
from cdc_actors.target import auto_ids
from cdc_actors.target.abilities import refuse_unknown
from cdc_actors.target.aliases import drop_alias
from cdc_actors.target.databases import ensure_database
from cdc_actors.target.outcomes import done_if
from cdc_actors.target.shards import create_limited
from cdc_actors.target.structs import columns_of, field_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_actors.changes import Definition, FullName
    from cdc_actors.target.connection import Connection

_TAKES_OUTPUTS = "collection.function.allowInsertNonBM25FunctionOutputs"

_NOT_FOUND = frozenset({100, 200, 800})
_MISSING = ("not found", "does not exist")
"""What is said where the code is none of these; the latter by Milvus Lite of a database."""


def collection_names(target: Connection, database: str) -> set[str]:
    """Return the names of a database's collections."""
    request = milvus_pb2.ShowCollectionsRequest(db_name=database)
    return set(target.call("ShowCollections", request, database).collection_names)


def create_collection(
    target: Connection, definition: Definition, begin: Callable[[], None]
) -> bool:
    """Create the collection as the source has it; return whether it existed before.

    ``begin`` is called before the target is asked to create anything by this name.
    Keys that the source generated are replicated as they are, so the target's field is
    not auto-id unless the target is known to keep them: others refuse given values for one
    that is. How many shards and buckets of a partition key there are is the target's own
    affair: fewer where it has a limit.

    Raises:
        CollectionError: It exists with another schema, field by field, an alias has its
            name, or the target cannot hold it.
    """
    name = definition.database, definition.name
    wanted = _target_schema(definition.schema, definition.name)
    refuse_unknown(target.version, wanted, ".".join(name))
    ensure_database(target, definition.database)
    if _is_there(target, name, wanted):
        return True
    begin()
    try:
        request = _create_request(definition, wanted)
        if auto_ids.keeps_given(target.version):
            auto_ids.generate(request, definition)
        create_limited(target, request)
    except (OperationRefusedError, UnclearAnswerError):
        if not _is_there(target, name, wanted):
            raise
        return True
    return False


def is_there(target: Connection, name: FullName, schema: bytes) -> bool:
    """Tell whether the target has a collection as the source has it.

    ``name`` is the target's, ``schema`` the source's.

    Raises:
        CollectionError: It exists with another schema, or an alias has its name.
    """
    return _is_there(target, name, _target_schema(schema, name[1]))


def _is_there(target: Connection, name: FullName, wanted: Any) -> bool:
    existing = _described(target, *name)
    if existing is None:
        return False
    shown = ".".join(name)
    if existing.schema.name != name[1]:
        raise CollectionError(
            f"the target has an alias {shown}, which stands for the collection "
            f"{existing.schema.name}: drop the alias, or map the collection to another name"
        )
    _compare(wanted, auto_ids.as_if_given(existing), shown)
    return True


def describe(target: Connection, database: str, name: str) -> Any | None:
    """Return the DescribeCollectionResponse, None if there is no such collection.

    An alias of that name is none, although Milvus describes what it stands for.
    """
    found = _described(target, database, name)
    return found if found is not None and found.schema.name == name else None


def made(target: Connection, definition: Definition) -> tuple[int, str]:
    """Return the target's id of a collection, and what it has less than was asked for.

    From Milvus Lite the id is 0, as it has none, nor shards.
    """
    found = describe(target, definition.database, definition.name)
    if found is None:
        return 0, ""
    fewer = 0 < found.shards_num < definition.shards and not target.is_lite
    reduced = f"{found.shards_num} instead of {definition.shards} shards"
    return int(found.collectionID), reduced if fewer else ""


def _described(target: Connection, database: str, name: str) -> Any | None:
    request = milvus_pb2.DescribeCollectionRequest(
        db_name=database, collection_name=name
    )
    try:
        return target.call("DescribeCollection", request, database)
    except (OperationRefusedError, UnclearAnswerError) as refusal:
        if refusal.code in _NOT_FOUND or any(w in str(refusal) for w in _MISSING):
            return None
        raise


def drop_collection(target: Connection, database: str, name: str) -> None:
    """Drop the collection if it exists, its aliases first: newer Milvus insists on that.

    An alias that is moved to another collection at the same time must not go with it.
    """
    with target.alias_lock:
        existing = describe(target, database, name)
        if existing is None:
            return
        for alias in existing.aliases:
            drop_alias(target, database, alias)
    request = milvus_pb2.DropCollectionRequest(db_name=database, collection_name=name)
    with done_if(lambda: describe(target, database, name) is None):
        target.call("DropCollection", request, database)


def partitions(target: Connection, database: str, name: str) -> set[str]:
    """Return the names of the collection's partitions."""
    request = milvus_pb2.ShowPartitionsRequest(db_name=database, collection_name=name)
    return set(target.call("ShowPartitions", request, database).partition_names)


def create_partition(
    target: Connection, database: str, name: str, partition: str
) -> None:
    """Create a partition.

    Raises:
        CollectionError: The target takes none, or no more: its rows have no place there.
    """
    request = milvus_pb2.CreatePartitionRequest(
        db_name=database, collection_name=name, partition_name=partition
    )
    try:
        with done_if(lambda: partition in partitions(target, database, name)):
            target.call("CreatePartition", request, database)
    except OperationRefusedError as refusal:
        raise CollectionError(
            f"the target takes no partition {partition}, and so none of its rows "
            f"({refusal}): raise its limit or drop partitions, then `retry`"
        ) from refusal


def drop_partition(
    target: Connection, database: str, name: str, partition: str
) -> None:
    """Release and drop a partition if it exists: the source had to release it, too.

    It does not exist if the source created and dropped it while no task was running.
    """
    if partition not in partitions(target, database, name):
        return
    release = milvus_pb2.ReleasePartitionsRequest(
        db_name=database, collection_name=name, partition_names=[partition]
    )
    drop = milvus_pb2.DropPartitionRequest(
        db_name=database, collection_name=name, partition_name=partition
    )
    with done_if(lambda: partition not in partitions(target, database, name)):
        if not target.is_lite:
            target.call("ReleasePartitions", release, database)
        target.call("DropPartition", drop, database)


def has_partition_key(schema: Any) -> bool:
    """Tell whether Milvus itself divides the rows among partitions."""
    return any(field.is_partition_key for field in schema.fields)


def computed_fields(schema: Any) -> set[str]:
    """Return the names of the fields that the target fills by functions: those of BM25.

    What a text embedding has made is in the log, and is sent.
    """
    return {
        name
        for each in schema.functions
        if each.type == schema_pb2.BM25
        for name in each.output_field_names
    }


def field_names(schema: Any) -> set[str]:
    """Return the names of the columns that rows may have."""
    names = {field.name for field in schema.fields} | columns_of(schema).keys()
    return names | {DYNAMIC} if schema.enable_dynamic_field else names


def defaulted_fields(schema: Any) -> set[str]:
    """Return the names of the fields with a default value."""
    return {field.name for field in schema.fields if field.HasField("default_value")}


def primary_field(schema: Any) -> Any:
    """Return the FieldSchema of the primary key."""
    return next(field for field in schema.fields if field.is_primary_key)


def _target_schema(source: bytes, name: str) -> Any:
    schema = schema_pb2.CollectionSchema.FromString(source)
    schema.name = name
    for field in schema.fields:
        field.ClearField("autoID")
    for struct in schema.struct_array_fields:
        for field in struct.fields:
            field.name = field_of(struct, field)
    schema.ClearField("autoID")
    return schema


def _create_request(definition: Definition, schema: Any) -> Any:
    return milvus_pb2.CreateCollectionRequest(
        db_name=definition.database,
        collection_name=definition.name,
        schema=schema.SerializeToString(),
        shards_num=definition.shards,
        consistency_level=definition.consistency_level,
        num_partitions=len(definition.partitions) if has_partition_key(schema) else 0,
        properties=key_values(definition.properties | _of_functions(schema)),
    )


def _of_functions(schema: Any) -> dict[str, str]:
    """Return the property with which Milvus (2.6) takes what a model has made elsewhere."""
    kinds = {each.type for each in schema.functions}
    return {_TAKES_OUTPUTS: "true"} if schema_pb2.TextEmbedding in kinds else {}


def key_values(properties: Mapping[str, str]) -> list[Any]:
    """Return properties as requests hold them."""
    return [common_pb2.KeyValuePair(key=k, value=v) for k, v in properties.items()]


def _compare(wanted: Any, existing: Any, name: str) -> None:
    """Refuse to write into a collection of another shape."""
    ours, theirs = _shape(wanted), _shape(existing)
    differences = [
        f"{part}: source {ours.get(part, 'has none')}, "
        f"target {theirs.get(part, 'has none')}"
        for part in sorted(ours.keys() | theirs.keys())
        if ours.get(part) != theirs.get(part)
    ]
    if differences:
        raise CollectionError(
            f"the target has a collection {name} with another schema "
            f"({'; '.join(differences)}): drop or rename it at the target"
        )


def _shape(schema: Any) -> dict[str, str]:
    """Return each field's type and limits, for comparison and for people.

    And what each function makes of what.
    """
    shape = {f"field {field.name}": _field_shape(field) for field in schema.fields}
    for struct in schema.struct_array_fields:
        inside = {
            f"field {struct.name}.{f.name}": _field_shape(f) for f in struct.fields
        }
        shape |= inside
    if schema.enable_dynamic_field:
        shape["field $meta"] = "JSON dynamic"
    for function in schema.functions:
        shape[f"function {function.name}"] = _function_shape(function)
    return shape


def _function_shape(function: Any) -> str:
    kind = schema_pb2.FunctionType.Name(function.type)
    made = ", ".join(function.output_field_names)
    return f"{kind} of {', '.join(function.input_field_names)} to {made}"


def _field_shape(field: Any) -> str:
    words = [schema_pb2.DataType.Name(field.data_type)]
    if field.element_type:
        words.append("of " + schema_pb2.DataType.Name(field.element_type))
    words += [f"{pair.key}={pair.value}" for pair in _limits(field)]
    words += ["primary"] * field.is_primary_key
    words += ["auto-id"] * field.autoID
    words += ["partition key"] * field.is_partition_key
    words += ["nullable"] * field.nullable
    return " ".join(words)


def _limits(field: Any) -> list[Any]:
    """Return what bounds the values; Milvus Lite forgets an array's ``max_length``."""
    limits = {"dim", "max_capacity"}
    if field.data_type != schema_pb2.Array:
        limits.add("max_length")
    return sorted(
        (pair for pair in field.type_params if pair.key in limits), key=lambda p: p.key
    )
