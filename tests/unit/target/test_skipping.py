"""What is left of a collection without the fields that a target cannot hold."""

from __future__ import annotations

from typing import Any

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.errors import CollectionError
from cdc_actors.target.skipping import held_schema, skipped_columns, skipped_fields

Field = dict[str, Any]

VECTOR = schema_pb2.FloatVector
SPARSE = schema_pb2.SparseFloatVector
TEXT = schema_pb2.VarChar
MOST = ["text", "v", "second", "place", "perhaps", "words"]


def schema(**fields: Field) -> schema_pb2.CollectionSchema:
    """Return the schema of a key and these fields, by name."""
    made = schema_pb2.CollectionSchema(name="books")
    made.fields.add(name="id", data_type=schema_pb2.Int64, is_primary_key=True)
    for name, field in fields.items():
        made.fields.add(name=name, **field)
    return made


def left_of(wanted: schema_pb2.CollectionSchema, version: str) -> list[str]:
    """Return the names of what a target has of a collection: fields, then functions."""
    whole = wanted.SerializeToString()
    skipped = skipped_fields(version, whole, "default.books")
    held = schema_pb2.CollectionSchema.FromString(held_schema(whole, skipped))
    parts = (*held.fields, *held.struct_array_fields, *held.functions)
    return [each.name for each in parts][1:]


def everything() -> schema_pb2.CollectionSchema:
    """Return a schema of what came with several versions."""
    made = schema(
        text={"data_type": TEXT},
        v={"data_type": VECTOR},
        second={"data_type": VECTOR},
        place={"data_type": schema_pb2.Geometry},
        perhaps={"data_type": schema_pb2.Int64, "nullable": True},
        words={"data_type": SPARSE},
        when={"data_type": schema_pb2.Timestamptz},
    )
    made.functions.add(
        name="bm25",
        type=schema_pb2.BM25,
        input_field_names=["text"],
        output_field_names=["words"],
    )
    parts = made.struct_array_fields.add(name="parts")
    parts.fields.add(name="parts[n]", data_type=schema_pb2.Array)
    return made


@pytest.mark.parametrize(
    ("version", "left"),
    [
        ("2.3.5", ["text", "v"]),
        ("2.4.23", ["text", "v", "second"]),
        ("2.5.27", [*MOST, "bm25"]),
        ("2.6.20", [*MOST, "when", "parts", "bm25"]),
        ("milvus_lite 3.2.2", [*MOST, "when", "bm25"]),
    ],
)
def test_what_each_version_can_hold(version: str, left: list[str]) -> None:
    """A function goes with what it makes, and of several vectors the first stays."""
    assert left_of(everything(), version) == left


def test_a_function_goes_with_what_it_is_made_from() -> None:
    """So does all that it makes, though the target could hold that."""
    made = schema(
        v={"data_type": VECTOR},
        text={"data_type": TEXT, "nullable": True},
        meaning={"data_type": VECTOR},
    )
    made.functions.add(
        name="f",
        type=schema_pb2.TextEmbedding,
        input_field_names=["text"],
        output_field_names=["meaning"],
    )
    assert left_of(made, "2.4.23") == ["v"]


def test_a_function_stays_that_has_the_name_of_a_skipped_field() -> None:
    """It goes only with a field that it makes, or that it is made from."""
    made = everything()
    made.functions[0].name = "when"
    assert left_of(made, "2.5.27") == [*MOST, "when"]


def test_a_function_that_makes_no_field_stays() -> None:
    """No field is skipped for it, whatever its name: the target's refusal names it."""
    made = schema(v={"data_type": VECTOR}, text={"data_type": TEXT})
    made.functions.add(name="text", type=schema_pb2.Rerank, input_field_names=["v"])
    assert left_of(made, "2.5.27") == ["v", "text", "text"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"v": {"data_type": SPARSE}}, "field v.*has no other vector"),
        (
            {
                "v": {"data_type": VECTOR},
                "k": {"data_type": TEXT, "nullable": True, "is_partition_key": True},
            },
            "field k.*has no other partition key",
        ),
    ],
)
def test_what_no_collection_is_without(fields: dict[str, Field], says: str) -> None:
    """The reason says which field it is, and that it cannot be skipped."""
    whole = schema(**fields).SerializeToString()
    with pytest.raises(CollectionError, match=says) as refused:
        skipped_fields("2.3.5", whole, "default.books")
    assert "it cannot be skipped" in str(refused.value)


def test_the_columns_of_what_is_skipped() -> None:
    """The log has one for each field of a struct."""
    whole = everything().SerializeToString()
    assert skipped_columns(whole, ["parts", "when"]) == {"parts", "parts[n]", "when"}
    assert skipped_columns(whole, []) == set()
    assert held_schema(whole, []) == whole
