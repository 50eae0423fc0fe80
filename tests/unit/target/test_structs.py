"""Arrays of structs as an insert has them, from columns as a real log has them."""

from __future__ import annotations

import pytest
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.changes import Insert, Rows
from cdc_actors.source.streamed import decode_streamed
from cdc_actors.target import columns, structs
from tests.support.recorded_life import messages

SCHEMA = schema_pb2.CollectionSchema()
STRUCT = SCHEMA.struct_array_fields.add(name="st")
for field in ("st[n]", "st[w]", "st[e]"):
    STRUCT.fields.add(name=field)
INSIDE = structs.columns_of(SCHEMA)
COUNTS = [1, 2, 3, 0, 1, 2]
"""How many structs each row has that was recorded."""


def recorded(version: str) -> Insert:
    """Return the rows with structs that a client wrote."""
    changes = (decode_streamed(m.properties, m.payload) for m in messages(version))
    return next(
        each
        for each in changes
        if isinstance(each, Insert) and any(b"st[n]" in c[:20] for c in each.columns)
    )


def sent(parts: list[Rows]) -> schema_pb2.FieldData:
    """Return the structs of some rows, in one request."""
    named = [columns.named_columns(each) for each in parts]
    joined = {name: columns.join([one[name] for one in named]) for name in named[0]}
    given = structs.fold(joined, INSIDE)
    request = milvus_pb2.InsertRequest.FromString(
        columns.insert_request("db", "c", "", 1, given)
    )
    assert [each.field_name for each in request.fields_data] == ["id", "v", "st"]
    return request.fields_data[2]


@pytest.mark.parametrize("version", ["2.6.20", "3.0.0"])
def test_structs_of_several_inserts(version: str) -> None:
    """Each field of a struct has the values of all rows that are chosen, in order."""
    insert = recorded(version)
    given = sent([Rows(insert), Rows(insert, (1, 3, 5))])
    assert given.type == schema_pb2.ArrayOfStruct
    numbers, words, vectors = given.struct_arrays.fields
    assert [each.field_name for each in given.struct_arrays.fields] == ["n", "w", "e"]
    counts = [*COUNTS, 2, 0, 2]
    rows = numbers.scalars.array_data.data
    assert [list(row.long_data.data) for row in rows] == [[*range(n)] for n in counts]
    texts = [list(row.string_data.data) for row in words.scalars.array_data.data]
    assert texts == [[f"w{i}" for i in range(n)] for n in counts]
    lengths = [len(row.float_vector.data) for row in vectors.vectors.vector_array.data]
    assert lengths == [2 * n for n in counts]


def test_names_of_a_schema_that_a_client_gave() -> None:
    """Fields without the struct's name around them are the same ones."""
    plain = schema_pb2.StructArrayFieldSchema(name="st")
    plain.fields.add(name="n")
    assert structs.field_of(plain, plain.fields[0]) == "n"
    assert structs.field_of(STRUCT, STRUCT.fields[0]) == "n"
    made = schema_pb2.CollectionSchema(struct_array_fields=[plain])
    assert structs.columns_of(made) == {"st[n]": ("st", "n")}
