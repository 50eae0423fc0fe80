"""A target in memory that takes and refuses what real newer Milvus servers did."""

from __future__ import annotations

import ast
import json
import struct
from itertools import chain
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.properties import CONSISTENCY, DESCRIPTION
from tests.fakes.fake_target import FakeConnection, FakeTarget, StoredCollection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.changes import FullName

INVALID_PARAMETER, INVALID_NAME = 1100, 1701
WIDTHS = {
    "binary_vector": 1 / 8,
    "float16_vector": 2,
    "bfloat16_vector": 2,
    "int8_vector": 1,
}
"""Bytes of one dimension."""

Row = tuple[str, dict[str, Any]]
"""The partition of a row, and its values by field, those of dynamic ones among them."""


class NewerTarget(FakeTarget):
    """A Milvus of 2.5 or later as recorded answers show it. Any thread may use it.

    Seen were 2.5.27, 2.6.20 and 3.0.0; the latter two differ alike in what is done here.

    ``contents`` has the rows of each collection by key; ``requests`` everything that was
    asked of it and done, by method.
    """

    def __init__(self, version: str = "2.5.27") -> None:
        super().__init__()
        self.version = version
        self._is_later = version >= "2.6"
        self.contents: dict[int, dict[Any, list[Row]]] = {}
        self.requests: list[tuple[str, Any]] = []
        self.levels: dict[int, int] = {}
        self.database_properties: dict[str, dict[str, str]] = {}
        self._made = 0

    def connect(self, cancelled: Callable[[], bool]) -> NewerConnection:
        """Return what one run uses."""
        connection = NewerConnection(self, cancelled)
        connection.version = f"v{self.version}"
        return connection

    def answer(self, method: str, request: Any, cancelled: Callable[[], bool]) -> Any:
        """Do what is asked, and take note of it."""
        result = super().answer(method, request, cancelled)
        copy = type(request)()
        copy.CopyFrom(request)
        self.requests.append((method, copy))
        return result

    def asked_for(self, method: str) -> list[Any]:
        """Return the requests of a method that were done."""
        with self.changed:
            return [request for name, request in self.requests if name == method]

    def found(self, name: FullName) -> dict[Any, list[Row]] | None:
        """Return the rows of a collection by key, None if there is no such collection."""
        with self.changed:
            stored = self.collections.get(name)
            if stored is None:
                return None
            rows = self.contents[stored.collection_id]
            return {key: list(each) for key, each in rows.items()}

    def schema(self, name: FullName) -> Any:
        """Return the schema of a collection."""
        with self.changed:
            return self.collections[name].schema

    def _create_collection(self, request: Any) -> None:
        _refuse_brackets(request)
        super()._create_collection(request)
        self._made += 1
        stored = self.collections[request.db_name, request.collection_name]
        stored.collection_id = self._made
        self.contents[self._made] = {}
        self.levels[self._made] = request.consistency_level
        _refuse_time_to_live(request, is_later=self._is_later)

    def _describe_collection(self, request: Any) -> Any:
        found = super()._describe_collection(request)
        stored = self._find(request)
        found.consistency_level = self.levels.get(stored.collection_id, 0)
        if self._is_later:
            found.properties.add(key="timezone", value="UTC")
        return found

    def _alter_database(self, request: Any) -> None:
        if request.properties and request.delete_keys:
            raise _refusal("can not provide both")
        properties = self.database_properties.setdefault(request.db_name, {})
        properties.update({pair.key: pair.value for pair in request.properties})
        for key in request.delete_keys:
            properties.pop(key, None)

    def _drop_database(self, request: Any) -> None:
        super()._drop_database(request)
        self.database_properties.pop(request.db_name, None)

    def _alter_collection(self, request: Any) -> None:
        if request.properties and request.delete_keys:
            raise _refusal("can not provide properties and deletekeys at the same time")
        super()._alter_collection(request)
        _refuse_time_to_live(request, is_later=self._is_later)
        stored = self._find(request)
        self._alter_level(stored)
        if (
            self._is_later
            and stored.properties.pop("dynamicfield.enabled", "") == "true"
        ):
            stored.schema.enable_dynamic_field = True
        for key in request.delete_keys:
            stored.properties.pop(key, None)
        if (description := stored.properties.pop(DESCRIPTION, None)) is not None:
            stored.schema.description = description

    def _alter_level(self, stored: StoredCollection) -> None:
        """It is a property besides in 2.5."""
        level = stored.properties.get(CONSISTENCY)
        if level is not None:
            level_number = common_pb2.ConsistencyLevel.Value(level)
            self.levels[stored.collection_id] = level_number
        if self._is_later:
            stored.properties.pop(CONSISTENCY, None)

    def _rename_collection(self, request: Any) -> None:
        old = request.db_name, request.oldName
        moves = request.newDBName not in {"", request.db_name}
        has_alias = (old[0], old[1]) in {(a[0], to) for a, to in self.aliases.items()}
        if self._is_later and moves and has_alias:
            raise _refusal("must drop all aliases of this collection before rename")
        super()._rename_collection(request)

    def _alter_collection_field(self, request: Any) -> None:
        fields = self._find(request).schema.fields
        [field] = [each for each in fields if each.name == request.field_name]
        given = {pair.key: pair.value for pair in request.properties}
        kept = {pair.key: pair.value for pair in field.type_params} | given
        del field.type_params[:]
        for key, value in kept.items():
            if key not in request.delete_keys:
                field.type_params.add(key=key, value=value)

    def _drop_partition(self, request: Any) -> None:
        super()._drop_partition(request)
        rows = self.contents[self._find(request).collection_id]
        for key, kept in list(rows.items()):
            rows[key] = [row for row in kept if row[0] != request.partition_name]

    def _insert(self, request: Any) -> None:
        stored = self._find(request)
        partition = request.partition_name or "_default"
        if partition not in stored.partitions:
            raise OperationRefusedError(f"no partition {partition}", 200)
        keys_given = stored.properties.get("allow_insert_auto_id") == "true"
        columns = _checked(stored.schema, request, keys_given=keys_given)
        rows = self.contents[stored.collection_id]
        [key] = [each.name for each in stored.schema.fields if each.is_primary_key]
        for number in range(request.num_rows):
            row = {name: values[number] for name, values in columns.items()}
            row |= json.loads(row.pop("$meta", "{}"))
            rows.setdefault(row.pop(key), []).append((partition, row))

    def _delete(self, request: Any) -> Any:
        rows = self.contents[self._find(request).collection_id]
        keys = ast.literal_eval(request.expr.partition(" in ")[2])
        for key in keys:
            kept = rows.get(key, [])
            chosen = request.partition_name
            rows[key] = [row for row in kept if chosen and row[0] != chosen]
        return milvus_pb2.MutationResult(delete_cnt=len(keys))

    def _list_cred_users(self, _request: Any) -> Any:
        return milvus_pb2.ListCredUsersResponse()

    def _select_role(self, _request: Any) -> Any:
        return milvus_pb2.SelectRoleResponse()

    def _list_privilege_groups(self, _request: Any) -> Any:
        return milvus_pb2.ListPrivilegeGroupsResponse()


class NewerConnection(FakeConnection):
    """One run's connection."""


def _refuse_time_to_live(request: Any, *, is_later: bool) -> None:
    given = {pair.key: pair.value for pair in request.properties}
    if is_later and not given.get("collection.ttl.seconds", "0").isdecimal():
        raise _refusal("collection TTL is not a valid positive integer")


def _refuse_brackets(request: Any) -> None:
    schema = schema_pb2.CollectionSchema.FromString(request.schema)
    inside = (struct.fields for struct in schema.struct_array_fields)
    for field in chain(schema.fields, *inside):
        if "[" in field.name:
            text = f"Invalid field name: {field.name}. Field name can only contain"
            raise OperationRefusedError(text, INVALID_NAME)


def _checked(schema: Any, request: Any, *, keys_given: bool) -> dict[str, list[Any]]:
    """Return the values of the columns, or refuse what the server refused."""
    made = {name for each in schema.functions for name in each.output_field_names}
    if not keys_given:
        made |= {each.name for each in schema.fields if each.autoID}
    fields = (*schema.fields, *schema.struct_array_fields)
    wanted = {each.name: each for each in fields if each.name not in made}
    given = {column.field_name: column for column in request.fields_data}
    allowed = {*wanted, "$meta"} if schema.enable_dynamic_field else wanted.keys()
    if more := given.keys() - allowed:
        raise _refusal(f"more fieldData has pass in: {more}")
    found = {}
    for name, column in given.items():
        may_lack = name in wanted and _may_lack(wanted[name])
        found[name] = _values(column, request.num_rows, may_lack=may_lack)
    may_be_left_out = {name for name, field in wanted.items() if _may_lack(field)}
    if missing := wanted.keys() - found.keys() - may_be_left_out:
        raise _refusal(f"fieldSchema({missing}) has no corresponding fieldData pass in")
    return found


def _may_lack(field: Any) -> bool:
    is_struct = isinstance(field, schema_pb2.StructArrayFieldSchema)
    return bool(field.nullable or (not is_struct and field.HasField("default_value")))


def _values(column: Any, rows: int, *, may_lack: bool) -> list[Any]:
    """A column that may lack values must say which it has, and have no others."""
    valid = list(column.valid_data)
    if len(valid) != (rows if may_lack else 0) and (may_lack or not all(valid)):
        raise _refusal(
            f"the length of valid_data of field({column.field_name}) is wrong"
        )
    if column.is_dynamic != (column.field_name == "$meta"):
        raise _refusal(f"duplicated field {column.field_name} found")
    values = list(_decoded(column))
    if len(values) != sum(valid or [True] * rows):
        raise _refusal(f"the length of field {column.field_name} is wrong")
    rest = iter(values)
    return [next(rest) if each else None for each in valid or [True] * rows]


def _structs(fields: Any) -> Iterator[Any]:
    """Return the structs of each row, from the values of each of their fields."""
    names = [each.field_name for each in fields]
    for row in zip(*map(_decoded, fields), strict=True):
        yield [dict(zip(names, one, strict=True)) for one in zip(*row, strict=True)]


def _decoded(column: Any) -> Iterator[Any]:
    if column.HasField("struct_arrays"):
        return _structs(column.struct_arrays.fields)
    if column.HasField("vectors"):
        return _vectors(column.vectors)
    kind = column.scalars.WhichOneof("data")
    if column.type == schema_pb2.Geometry and kind != "geometry_wkt_data":
        raise _refusal(f"geometry field {column.field_name!r} is illegal")
    if column.type == schema_pb2.Timestamptz and kind != "string_data":
        raise _refusal("timestamptz field data must be a string array")
    if kind is None:
        return iter(())
    values = getattr(column.scalars, kind).data
    if kind == "array_data":
        return (list(getattr(each, each.WhichOneof("data")).data) for each in values)
    return iter(values)


def _vectors(vectors: Any) -> Iterator[Any]:
    kind = vectors.WhichOneof("data")
    if kind is None:
        return iter(())
    if kind == "sparse_float_vector":
        return (
            dict(struct.iter_unpack("<If", each))
            for each in vectors.sparse_float_vector.contents
        )
    if kind == "vector_array":
        return (list(_vectors(each)) for each in vectors.vector_array.data)
    if kind == "float_vector":
        return _pieces(vectors.float_vector.data, vectors.dim)
    return _pieces(getattr(vectors, kind), int(vectors.dim * WIDTHS[kind]))


def _pieces(data: Any, width: int) -> Iterator[Any]:
    return (data[at : at + width] for at in range(0, len(data), width))


def _refusal(text: str) -> OperationRefusedError:
    return OperationRefusedError(f"{text}: invalid parameter", INVALID_PARAMETER)
