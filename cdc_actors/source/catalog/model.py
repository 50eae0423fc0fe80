"""What the source's catalog knows of databases, collections, indexes and loading.

Reads the values that Milvus 2.2.16 to 3.0 keeps in etcd (Milvus: ``internal/metastore/kv``,
``pkg/proto/etcd_meta.proto``). Pure: bytes in, records out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.source.catalog import catalog_pb2
from cdc_actors.source.catalog.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cdc_actors.source.versions import Version

# Keys below the metadata's root path.
DATABASES = "root-coord/database/db-info/"
COLLECTIONS = "root-coord/database/collection-info/"
COLLECTIONS_BEFORE_DATABASES = "root-coord/collection/"
FIELDS = "root-coord/fields/"
FUNCTIONS = "root-coord/functions/"
STRUCT_ARRAYS = "root-coord/struct-array-fields/"
PARTITIONS = "root-coord/partitions/"
ALIASES = "root-coord/database/aliases/"
INDEXES = "field-index/"
COLLECTION_LOADS = "querycoord-collection-loadinfo/"
PARTITION_LOADS = "querycoord-partition-loadinfo/"
SESSIONS = "session/"

TIME = "kv/gid/timestamp"
"""Key below the root path: up to when Milvus may give timestamps, nanoseconds since 1970.
Big-endian (Milvus: ``internal/tso``)."""
END_OF_TIME = (1 << 63) - 1

# What Milvus writes in place of a value when it removes a key that has snapshots.
TOMBSTONE = b"\xe2\x9b\xbc"
_FIRST_USER_FIELD = 100
_DEFAULT_ID = 1
_CREATED, _DROPPING, _DROPPED = 0, 2, 3
_SOME_PARTITIONS = 1
# Milvus 2.6 has the latter.
_ROOT_SESSIONS = (f"{SESSIONS}rootcoord", f"{SESSIONS}mixcoord")
_STREAMING_NODES = f"{SESSIONS}streamingnode-"
_VERSION = re.compile(rb'"Version": *"(\d+)\.(\d+)\.(\d+)')
_ADDRESS = re.compile(rb'"Address": *"([^"]+)"')

Pairs = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class PartitionMeta:
    """One partition; ``created`` is a hybrid timestamp."""

    name: str
    created: int


@dataclass(frozen=True, slots=True, order=True)
class NameSince:
    """The database and name of a collection from a hybrid timestamp on."""

    since: int
    database: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionMeta:
    """One collection.

    ``schema`` is a serialized ``schema.CollectionSchema`` with the user's fields and
    functions by id; the dynamic field is only a flag in it, and ``dynamic_field`` what the
    catalog has of it, a serialized ``schema.FieldSchema`` or nothing. ``shards`` are the
    virtual channels, ``channels`` the physical ones, ``start_positions`` the log's message
    ids before the first row, by physical channel. ``partitions`` are those in existence,
    oldest first. A collection that is neither ``available`` nor ``dropping`` is still being
    created. ``names`` are those that it ever had, as far as the catalog remembers, the
    present one last; ``altered`` is when it was last written down, a hybrid timestamp, and
    ``truncated`` up to when each shard lost all its rows to a truncation (2.6).

    Milvus 2.3.5 keeps in ``properties`` what they were before they were last altered.
    """

    id: int
    database: str
    name: str
    description: str
    created: int
    available: bool
    dropping: bool
    schema: bytes = field(repr=False)
    shards: tuple[str, ...]
    channels: tuple[str, ...]
    start_positions: dict[str, bytes]
    shards_num: int
    consistency_level: int
    properties: dict[str, str]
    partitions: dict[int, PartitionMeta]
    names: tuple[NameSince, ...] = ()
    altered: int = 0
    truncated: tuple[int, ...] = ()
    dynamic_field: bytes = field(default=b"", repr=False)

    def truncated_until(self, shard: str) -> int:
        """Return up to when a shard has lost all its rows, 0 if it never has."""
        return dict(zip(self.shards, self.truncated, strict=False)).get(shard, 0)


@dataclass(frozen=True, slots=True)
class AliasMeta:
    """Which collection an alias stands for, and since when, as a hybrid timestamp."""

    collection_id: int
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMeta:
    """One index; ``params`` as the user gave them, or as Milvus chose if there are none."""

    id: int
    collection_id: int
    field_id: int
    field_name: str
    name: str
    params: dict[str, str]
    created: int
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMeta:
    """What is loaded of a collection, or being loaded.

    ``partitions`` are the partitions' ids; ``whole`` tells that the collection was
    loaded rather than these partitions, so that new ones are loaded as well. Milvus 2.2
    names no partitions of a whole collection, for there none can be released. ``fields``
    are the ids of the fields that are loaded; before 2.5 none are named, and all are.
    """

    collection_id: int
    replicas: int
    whole: bool
    partitions: frozenset[int]
    fields: frozenset[int] = frozenset()


def databases(pairs: Pairs) -> dict[int, str]:
    """Return the databases' names by id."""
    infos = (parse(catalog_pb2.DatabaseInfo, pair) for pair in pairs)
    return {info.id: info.name for info in infos}


def database_properties(pairs: Pairs) -> dict[str, dict[str, str]]:
    """Return the databases' properties (Milvus 2.4) by name."""
    infos = (parse(catalog_pb2.DatabaseInfo, pair) for pair in pairs)
    return {info.name: _as_dict(info.properties) for info in infos}


def set_up(pairs: Pairs) -> int:
    """Return when the database ``default`` was made: with the source itself.

    In nanoseconds since 1970; 0 if it does not say.
    """
    infos = (parse(catalog_pb2.DatabaseInfo, pair) for pair in pairs)
    return next((each.created_time for each in infos if each.id == _DEFAULT_ID), 0)


def collection(
    pair: tuple[str, bytes],
    database: str,
    fields: Pairs = (),
    partitions: Pairs = (),
    functions: Pairs = (),
    struct_arrays: Pairs = (),
) -> CollectionMeta:
    """Return a collection from its own pair and those of what belongs to it."""
    info = parse(catalog_pb2.CollectionInfo, pair)
    schema = _schema(info, fields, functions, struct_arrays)
    return CollectionMeta(
        id=info.id,
        database=database,
        name=schema.name,
        description=schema.description,
        created=info.create_time,
        available=info.state == _CREATED,
        dropping=info.state in (_DROPPING, _DROPPED),
        schema=schema.SerializeToString(),
        shards=tuple(info.virtual_channel_names),
        channels=tuple(info.physical_channel_names),
        start_positions={start.key: start.data for start in info.start_positions},
        shards_num=info.shards_num,
        consistency_level=info.consistency_level,
        properties=_as_dict(info.properties),
        partitions=_partitions(partitions),
        altered=info.updated,
        truncated=tuple(shard.truncated for shard in info.shards),
        dynamic_field=_dynamic_field(fields),
    )


def collection_name(pair: tuple[str, bytes]) -> str:
    """Return the name in a collection's pair."""
    info = parse(catalog_pb2.CollectionInfo, pair)
    return str(schema_pb2.CollectionSchema.FromString(info.schema).name)


def alias(pair: tuple[str, bytes]) -> AliasMeta:
    """Return an alias from its pair."""
    info = parse(catalog_pb2.AliasInfo, pair)
    return AliasMeta(info.collection_id, info.created_time)


def index(pair: tuple[str, bytes], field_names: dict[int, str]) -> IndexMeta:
    """Return an index from its pair and the names of its collection's fields."""
    index = parse(catalog_pb2.FieldIndex, pair)
    info = index.index_info
    return IndexMeta(
        id=int(pair[0].rpartition("/")[2]),
        collection_id=info.collection_id,
        field_id=info.field_id,
        field_name=field_names.get(info.field_id, ""),
        name=info.index_name,
        params=_as_dict(info.user_index_params or info.index_params),
        created=index.create_time,
        deleted=index.deleted,
    )


def indexes(
    pairs: Pairs, collections: Mapping[int, CollectionMeta]
) -> Iterator[IndexMeta]:
    """Yield the indexes of some pairs ``<prefix>/<collection>/<index>``, deleted ones, too.

    ``collections`` are those whose fields' names are wanted, by id.
    """
    for key, group in groupby(pairs, key=lambda pair: int(pair[0].split("/")[-2])):
        known = collections.get(key)
        names = field_names(known.schema) if known else {}
        for pair in group:
            yield index(pair, names)


def loads(collections: Pairs, partitions: Pairs) -> dict[int, LoadMeta]:
    """Return what is loaded, by collection id.

    Where Milvus 2.2 has loaded partitions, there is nothing of their collection.
    """
    loaded: dict[int, set[int]] = {}
    partial: dict[int, Any] = {}
    for pair in partitions:
        part = parse(catalog_pb2.PartitionLoadInfo, pair)
        loaded.setdefault(part.collection_id, set()).add(part.partition_id)
        partial[part.collection_id] = part
    infos = [parse(catalog_pb2.CollectionLoadInfo, pair) for pair in collections]
    whole = {i.collection_id: i for i in infos if i.load_type != _SOME_PARTITIONS}
    fields = {i.collection_id: frozenset(i.load_fields) for i in infos}
    return {
        collection_id: LoadMeta(
            collection_id=collection_id,
            replicas=info.replica_number,
            whole=collection_id in whole,
            partitions=frozenset(loaded.get(collection_id, ())),
            fields=fields.get(collection_id, frozenset()),
        )
        for collection_id, info in {**partial, **whole}.items()
    }


def version(pairs: Pairs) -> Version:
    """Return the version that the pairs below ``SESSIONS`` tell of; none if not any."""
    for key, value in pairs:
        if key in _ROOT_SESSIONS and (match := _VERSION.search(value)):
            return tuple(int(number) for number in match.groups())
    return ()


def has_streaming_node(pairs: Pairs) -> bool:
    """Tell whether the pairs below ``SESSIONS`` have a node that writes the log of 2.6."""
    return any(key.startswith(_STREAMING_NODES) for key, _ in pairs)


def root_coordinator(pairs: Pairs) -> str:
    """Return the address that the pairs below ``SESSIONS`` tell of; empty if none."""
    found = (_ADDRESS.search(value) for key, value in pairs if key in _ROOT_SESSIONS)
    return next((match[1].decode() for match in found if match), "")


def field_names(schema: bytes) -> dict[int, str]:
    """Return the names of a schema's fields by id, those inside of structs, too."""
    parsed = schema_pb2.CollectionSchema.FromString(schema)
    inside = (struct.fields for struct in parsed.struct_array_fields)
    fields = chain(parsed.fields, *inside)
    return {field.fieldID: field.name for field in fields}


def field_ids(schema: bytes) -> dict[str, int]:
    """Return the ids of a schema's fields by name, those inside of structs, too."""
    return {name: each for each, name in field_names(schema).items()}


def _schema(
    info: catalog_pb2.CollectionInfo,
    fields: Pairs,
    functions: Pairs,
    struct_arrays: Pairs,
) -> Any:
    """Put a collection's schema together: Milvus keeps what it consists of apart."""
    schema = schema_pb2.CollectionSchema.FromString(info.schema)
    found = [parse(schema_pb2.FieldSchema, pair) for pair in fields]
    found.sort(key=lambda field: field.fieldID)
    del schema.fields[:]
    schema.fields.extend(
        field
        for field in found
        if field.fieldID >= _FIRST_USER_FIELD and not field.is_dynamic
    )
    schema.enable_dynamic_field |= any(field.is_dynamic for field in found)
    kept = [parse(schema_pb2.FunctionSchema, pair) for pair in functions]
    kept.sort(key=lambda function: function.id)
    del schema.functions[:]
    schema.functions.extend(kept)
    structs = [parse(schema_pb2.StructArrayFieldSchema, pair) for pair in struct_arrays]
    structs.sort(key=lambda struct: struct.fieldID)
    del schema.struct_array_fields[:]
    schema.struct_array_fields.extend(structs)
    return schema


def _dynamic_field(pairs: Pairs) -> bytes:
    found = (parse(schema_pb2.FieldSchema, pair) for pair in pairs)
    return next((each.SerializeToString() for each in found if each.is_dynamic), b"")


def _partitions(pairs: Pairs) -> dict[int, PartitionMeta]:
    infos = [parse(catalog_pb2.PartitionInfo, pair) for pair in pairs]
    infos.sort(key=lambda info: info.partition_id)
    return {
        info.partition_id: PartitionMeta(
            info.partition_name, info.partition_created_timestamp
        )
        for info in infos
        if info.state == _CREATED
    }


def _as_dict(pairs: Iterable[catalog_pb2.KeyValue]) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs}
