"""Columns as the log has them: read keys, choose rows, join into one request.

A column is a serialized ``schema.FieldData``. Two rules of the protobuf encoding make it
possible to join columns without parsing them ("Last One Wins", "Packed Repeated Fields"
in the encoding guide): concatenated serializations of a message parse as the two merged,
and merging appends repeated fields. So many inserts' columns become one by writing them
one after another behind a common length. Vectors kept in a ``bytes`` field (binary and
half precision), and the dimension of sparse ones, are the exception, for there the last one
wins: these are joined by value.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate, chain, groupby, pairwise
from typing import TYPE_CHECKING, Any

from msgspec import structs
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Rows
from cdc_actors.errors import CollectionError
from cdc_actors.field_data import BYTES_VECTORS, DYNAMIC, varint
from cdc_actors.target import insert_pb2
from cdc_actors.target.geometry import to_wkt

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from cdc_actors.changes import Insert, Key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SMALL_BYTES = 1 << 14
"""Up to where an insert costs more as one of many than by being copied once more."""

_FIELDS_DATA_TAG = b"\x2a"  # Field 5 of milvus.InsertRequest, length-delimited.
_LENGTH_AT = 3  # Of a FieldData's name, behind its type and the tags of both.
_VALID_DATA_TAG = b"\x3a"  # Field 7 of schema.FieldData, packed.
_IS_DYNAMIC = b"\x30\x01"  # Field 6 of schema.FieldData, true.


def primary_keys(insert: Insert, field_id: int) -> Sequence[Key]:
    """Return the keys of an insert's rows, in order; ``field_id`` is the key's field."""
    return _keys(insert.columns[_key_place(insert, field_id)])


def keys_of_each(inserts: Sequence[Insert], field_id: int) -> list[Sequence[Key]]:
    """Return what ``primary_keys`` does for each of several inserts, parsed at once."""
    if len(inserts) == 1:
        return [primary_keys(inserts[0], field_id)]
    keys = _keys(b"".join(_key_columns(inserts, field_id)))
    ends = list(accumulate([each.rows for each in inserts], initial=0))
    if len(keys) != ends[-1]:
        return [primary_keys(each, field_id) for each in inserts]
    return [keys[first:end] for first, end in pairwise(ends)]


def _key_columns(inserts: Sequence[Insert], field_id: int) -> Iterator[bytes]:
    place, head = 0, b""
    for each in inserts:
        columns = each.columns
        if not head or place >= len(columns) or not columns[place].startswith(head):
            place = _key_place(each, field_id)
            head = head_of(columns[place])
        yield columns[place]


def _key_place(insert: Insert, field_id: int) -> int:
    for place, column in enumerate(insert.columns):
        if insert_pb2.ColumnHead.FromString(column).field_id == field_id:
            return place
    raise LookupError(f"an insert of shard {insert.shard} has no field {field_id}")


def _keys(column: bytes) -> list[Key]:
    scalars = schema_pb2.FieldData.FromString(column).scalars
    return list(scalars.long_data.data or scalars.string_data.data)


def key_reader(schema: bytes) -> Callable[[Insert], Sequence[Key]]:
    """Return what reads the keys of inserts of a serialized CollectionSchema."""
    fields = schema_pb2.CollectionSchema.FromString(schema).fields
    key_field = next(field for field in fields if field.is_primary_key)
    return partial(primary_keys, field_id=key_field.fieldID)


def head_of(column: bytes) -> bytes:
    """Return what a column begins with: Milvus writes its type and its name first."""
    return column[: _LENGTH_AT + 2 + column[_LENGTH_AT]]


def shape(insert: Insert) -> tuple[bytes, ...]:
    """Return what tells whether two inserts have the same columns: types and names.

    Nothing has to be parsed for it.
    """
    return tuple([head_of(column) for column in insert.columns])


def has_shape(insert: Insert, heads: tuple[bytes, ...]) -> bool:
    """Tell whether an insert has the columns of a ``shape``."""
    columns = insert.columns
    return len(columns) == len(heads) and all(map(bytes.startswith, columns, heads))


def merged(group: Sequence[Rows]) -> Iterator[Rows]:
    """Yield rows of one partition and shape, small inserts that follow each other as one.

    Where a row has a null, or what is null is said in another way, all stay as they are.
    """
    for is_small, stretch in groupby(group, key=_is_small):
        rows = list(stretch)
        whole = _merged(rows) if is_small and len(rows) > 1 else None
        if whole is None:
            yield from rows
        else:
            yield Rows(whole)


def _is_small(rows: Rows) -> bool:
    return rows.keep is None and rows.insert.size < _SMALL_BYTES


def _merged(rows: Sequence[Rows]) -> Insert | None:
    inserts = [each.insert for each in rows]
    count = sum([each.rows for each in inserts])
    by_place = zip(*[each.columns for each in inserts], strict=True)
    made = tuple([b"".join(join(columns)) for columns in by_place])
    for column in made:
        valid = insert_pb2.ColumnHead.FromString(column).valid_data
        if valid and (len(valid) != count or not all(valid)):
            return None
    size = sum([each.size for each in inserts])
    return structs.replace(inserts[0], rows=count, columns=made, size=size)


def named_columns(
    rows: Rows, left_out: Container[str] = (), defaulted: Container[str] = ()
) -> dict[str, bytes]:
    """Return the columns of the chosen rows by field name, in the writer's order.

    Not those that are ``left_out``: the target makes them itself, or cannot hold them.
    Fields with a default value are ``defaulted``.

    Raises:
        CollectionError: A column is of a form that no insert can be given.
    """
    named: dict[str, bytes] = {}
    for written in rows.insert.columns:
        head = insert_pb2.ColumnHead.FromString(written)
        if head.field_name in left_out:
            continue
        if head.scalars.valid_data or head.vectors.valid_data:
            raise CollectionError(
                f"the column {head.field_name} says inside its values which of them are "
                "there, as Milvus came to do after 3.0.0: that is not read"
            )
        column = written
        if rows.keep is not None:
            column = select(written, rows.keep, rows.insert.rows)
        if head.valid_data:
            column = without_nulls(column)
        elif head.field_name in defaulted:
            count = rows.insert.rows if rows.keep is None else len(rows.keep)
            column = all_valid(column, count)
        if head.field_name == DYNAMIC and not head.is_dynamic:
            # The log of 2.2 does not say it, and the target would add an empty one.
            column += _IS_DYNAMIC
        if head.type == schema_pb2.Geometry:
            column = as_text(column)
        elif head.type == schema_pb2.Timestamptz:
            column = as_times(column)
        named[head.field_name] = column
    return named


def as_text(column: bytes) -> bytes:
    """Return a column of geometries as an insert must have it; ``geometry`` says why."""
    field = schema_pb2.FieldData.FromString(column)
    texts = [to_wkt(each) for each in field.scalars.geometry_data.data]
    field.scalars.geometry_wkt_data.SetInParent()
    field.scalars.geometry_wkt_data.data.extend(texts)
    return bytes(field.SerializeToString())


def as_times(column: bytes) -> bytes:
    """Return a column of times as an insert must have it: as text.

    The log has microseconds since 1970 (2.6.20).

    Raises:
        CollectionError: One of them is of no year that has four digits.
    """
    field = schema_pb2.FieldData.FromString(column)
    times = [_as_text(each) for each in field.scalars.timestamptz_data.data]
    field.scalars.string_data.SetInParent()
    field.scalars.string_data.data.extend(times)
    return bytes(field.SerializeToString())


def _as_text(microseconds: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError as error:
        raise CollectionError(
            f"the log has a time {microseconds} microseconds from 1970, which is in no "
            "year from 1 to 9999"
        ) from error


def all_valid(column: bytes, rows: int) -> bytes:
    """Return the column with the word that every row has a value of its own.

    The log leaves that out; Milvus from 2.5 to 2.6.11 refuses an insert without it where
    the field has a default value. Older ones pass over it.
    """
    return b"".join([column, _VALID_DATA_TAG, varint(rows), b"\x01" * rows])


def without_nulls(column: bytes) -> bytes:
    """Return the column with values for its valid rows alone, as an insert must have it.

    In the log a nullable scalar column (Milvus 2.5) has a value for every row, whatever
    it is where ``valid_data`` says null; Milvus refuses an insert like that. Nullable
    vectors (2.6) are there without.
    """
    valid = insert_pb2.ColumnHead.FromString(column).valid_data
    if all(valid):
        return column
    field = schema_pb2.FieldData.FromString(column)
    if not field.HasField("scalars"):
        return column
    if len(_values(field.scalars)) == len(valid):
        _select_scalars(
            field.scalars, [row for row, is_valid in enumerate(valid) if is_valid]
        )
    return bytes(field.SerializeToString())


def join(columns: Sequence[bytes]) -> Sequence[bytes]:
    """Return chunks that, written one after another, are the columns as one."""
    if len(columns) == 1:
        return columns
    kind = insert_pb2.ColumnHead.FromString(columns[0]).type
    if attribute := BYTES_VECTORS.get(kind):
        return [_join_bytes_vectors(columns, attribute)]
    if kind == schema_pb2.SparseFloatVector:
        return [_join_sparse_vectors(columns)]
    return columns


def insert_request(
    database: str,
    collection: str,
    partition: str,
    rows: int,
    columns: Iterable[Sequence[bytes]],
) -> bytes:
    """Return a serialized ``milvus.InsertRequest`` of columns given in chunks."""
    head = insert_pb2.InsertHead(
        db_name=database,
        collection_name=collection,
        partition_name=partition,
        num_rows=rows,
    )
    parts = [head.SerializeToString()]
    for chunks in columns:
        parts += [_FIELDS_DATA_TAG, varint(sum(map(len, chunks))), *chunks]
    return b"".join(parts)


def select(column: bytes, keep: Sequence[int], rows: int) -> bytes:
    """Return the column with only the rows of these indexes; ``rows`` it has now."""
    field = schema_pb2.FieldData.FromString(column)
    if field.HasField("vectors") and field.valid_data:
        there = _places_of_valid(field.valid_data, keep)
        _select_vectors(field.vectors, there, sum(field.valid_data))
    elif field.HasField("vectors"):
        _select_vectors(field.vectors, keep, rows)
    else:
        _select_scalars(field.scalars, keep)
    if field.valid_data:
        _keep(field.valid_data, keep)
    return bytes(field.SerializeToString())


def _places_of_valid(valid: Sequence[bool], keep: Sequence[int]) -> list[int]:
    """Return where the values of rows are in a column that has none where they are null."""
    places = list(accumulate(valid, initial=0))
    return [places[row] for row in keep if valid[row]]


def _select_scalars(scalars: Any, keep: Sequence[int]) -> None:
    _keep(_values(scalars), keep)


def _values(scalars: Any) -> Any:
    return getattr(scalars, scalars.WhichOneof("data")).data


def _select_vectors(vectors: Any, keep: Sequence[int], rows: int) -> None:
    kind = vectors.WhichOneof("data")
    if kind == "sparse_float_vector":
        _keep(vectors.sparse_float_vector.contents, keep)
    elif kind is None:
        return
    elif kind == "float_vector":
        _keep(vectors.float_vector.data, keep, vectors.dim)
    elif kind == "vector_array":
        _keep(vectors.vector_array.data, keep)
    else:
        data = getattr(vectors, kind)
        setattr(vectors, kind, b"".join(_slices(data, keep, len(data) // rows)))


def _keep(values: Any, keep: Sequence[int], width: int = 1) -> None:
    """Leave of repeated values, so many a row, those of the rows that are kept."""
    if _is_stretch(keep):
        del values[keep[-1] * width + width :]
        del values[: keep[0] * width]
    else:
        _replace(values, list(chain.from_iterable(_slices(values, keep, width))))


def _slices(values: Any, keep: Sequence[int], width: int) -> Iterator[Any]:
    if _is_stretch(keep):
        return iter([values[keep[0] * width : keep[-1] * width + width]])
    return (values[row * width : row * width + width] for row in keep)


def _is_stretch(keep: Sequence[int]) -> bool:
    return isinstance(keep, range) and len(keep) > 0 and keep.step == 1


def _replace(repeated: Any, values: list[Any]) -> None:
    del repeated[:]
    repeated.extend(values)


def _join_bytes_vectors(columns: Sequence[bytes], attribute: str) -> bytes:
    fields = [schema_pb2.FieldData.FromString(column) for column in columns]
    data = b"".join(getattr(field.vectors, attribute) for field in fields)
    setattr(fields[0].vectors, attribute, data)
    valid = [flag for field in fields for flag in field.valid_data]
    _replace(fields[0].valid_data, valid)
    return bytes(fields[0].SerializeToString())


def _join_sparse_vectors(columns: Sequence[bytes]) -> bytes:
    """A sparse column says how many dimensions its largest vector has."""
    fields = [schema_pb2.FieldData.FromString(column) for column in columns]
    dim = max(field.vectors.sparse_float_vector.dim for field in fields)
    joined = schema_pb2.FieldData.FromString(b"".join(columns))
    joined.vectors.sparse_float_vector.dim = joined.vectors.dim = dim
    return bytes(joined.SerializeToString())
