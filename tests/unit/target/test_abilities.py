"""Which collections a target is not even asked for."""

from __future__ import annotations

from typing import Any

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.errors import CollectionError
from cdc_actors.target.abilities import refuse_unknown


def schema(**field: Any) -> schema_pb2.CollectionSchema:
    """Return a schema with a key and another field."""
    made = schema_pb2.CollectionSchema(name="books")
    made.fields.add(name="id", data_type=schema_pb2.Int64, is_primary_key=True)
    made.fields.add(name="other", **field)
    return made


GEOMETRY = schema(data_type=schema_pb2.Geometry)
NULLABLE = schema(data_type=schema_pb2.Int64, nullable=True)
NULLABLE_VECTOR = schema(data_type=schema_pb2.FloatVector, nullable=True)
SPARSE = schema(data_type=schema_pb2.SparseFloatVector)
TEXT = schema(data_type=schema_pb2.Text)
FUNCTIONS = schema(data_type=schema_pb2.VarChar)
FUNCTIONS.functions.add(
    name="words", type=schema_pb2.BM25, output_field_names=["other"]
)
MEANING = schema(data_type=schema_pb2.FloatVector)
MEANING.functions.add(
    name="meaning", type=schema_pb2.TextEmbedding, output_field_names=["other"]
)
BINARY = schema(data_type=schema_pb2.BinaryVector)
VECTORS = schema(data_type=schema_pb2.FloatVector)
VECTORS.fields.add(name="third", data_type=schema_pb2.FloatVector)


@pytest.mark.parametrize(
    ("wanted", "version", "says"),
    [
        (GEOMETRY, "2.3.5", r"fields of type Geometry.*from 2\.5\.18 on"),
        (GEOMETRY, "v2.5.10-abc123", r"fields of type Geometry.*from 2\.5\.18 on"),
        (NULLABLE, "2.4.23", r"books has the field other.*nullable.*from 2\.5 on"),
        (SPARSE, "v2.3.5-lite", r"SparseFloatVector.*from 2\.4 on"),
        (FUNCTIONS, "2.4.0", r"field other.*functions \(BM25\).*from 2\.5 on"),
        (VECTORS, "2.3.5", r"field third.*several vectors.*from 2\.4 on"),
        (MEANING, "2.5.27", r"field other.*TextEmbedding.*from 2\.6 on"),
        (MEANING, "milvus_lite 3.2.2", "field other, which meaning makes"),
        (BINARY, "milvus_lite 3.2.2", "of the type BinaryVector, which Milvus Lite"),
        (TEXT, "2.6.20", r"fields of type Text.*from 3 on"),
        (NULLABLE_VECTOR, "2.5.27", r"field other.*nullable vectors.*from 2\.6 on"),
    ],
)
def test_what_an_older_target_would_pass_over(
    wanted: schema_pb2.CollectionSchema, version: str, says: str
) -> None:
    """The reason names what, the version that has it, and how to do without."""
    with pytest.raises(CollectionError, match=f"{says}.*skip_unsupported_fields"):
        refuse_unknown(version, wanted, "default.books")


@pytest.mark.parametrize("wanted", [GEOMETRY, NULLABLE, SPARSE, FUNCTIONS])
@pytest.mark.parametrize(
    "version",
    ["v2.5.27", "2.6.20", "3.0.0", "Milvus 2.5", "a Milvus", "milvus_lite 3.2.2"],
)
def test_what_is_left_to_the_target(
    wanted: schema_pb2.CollectionSchema, version: str
) -> None:
    """One that can, that does not say which it is, or that refuses by itself."""
    refuse_unknown(version, wanted, "default.books")


@pytest.mark.parametrize(
    ("version", "is_nullable", "says"),
    [
        (
            "milvus_lite 3.2.2",
            False,
            "field parts, an array of structs, which Milvus Lite",
        ),
        ("2.5.27", False, r"knows no arrays of structs.*from 2\.6 on"),
        ("3.0.0", True, "field parts, an array of structs which may be null"),
    ],
)
def test_arrays_of_structs(version: str, says: str, *, is_nullable: bool) -> None:
    """They are for Milvus from 2.6 on, and never null."""
    wanted = schema(data_type=schema_pb2.Int64)
    wanted.struct_array_fields.add(name="parts").fields.add(
        name="number", data_type=schema_pb2.Array, nullable=is_nullable
    )
    with pytest.raises(CollectionError, match=says):
        refuse_unknown(version, wanted, "default.books")
    if not is_nullable:
        refuse_unknown("2.6.20", wanted, "default.books")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (schema_pb2.Mol, "of the type Mol, which is not replicated"),
        (schema_pb2.Date, "of the type Date, which is not replicated"),
        (77, "of the type 77, which is not replicated"),
    ],
)
def test_types_that_the_log_has_in_a_form_of_its_own(kind: Any, says: str) -> None:
    """No insert takes them as they are, or nothing is known of them."""
    with pytest.raises(CollectionError, match=says):
        refuse_unknown("3.0.0", schema(data_type=kind), "default.books")


def test_an_external_collection() -> None:
    """Its rows lie elsewhere; the reason says what to do."""
    wanted = schema(data_type=schema_pb2.Int64)
    wanted.external_source = "s3://bucket/books"
    with pytest.raises(
        CollectionError, match=r"is an external collection.*make one over"
    ):
        refuse_unknown("3.0.0", wanted, "default.books")


def test_a_collection_with_namespaces() -> None:
    """Its rows name one in each request, which their columns do not; what to do is said."""
    wanted = schema(data_type=schema_pb2.Int64)
    wanted.enable_namespace = True
    with pytest.raises(CollectionError, match=r"has namespaces.*a partition key"):
        refuse_unknown("3.0.0", wanted, "default.books")


def test_what_a_function_makes_that_is_not_known() -> None:
    """Whether the log has it nobody has seen; that of a text embedding it has."""
    wanted = schema(data_type=schema_pb2.BinaryVector)
    wanted.functions.add(
        name="print", type=schema_pb2.MinHash, output_field_names=["other"]
    )
    with pytest.raises(CollectionError, match="print makes: MinHash is not replicated"):
        refuse_unknown("3.0.0", wanted, "default.books")
    refuse_unknown("2.6.20", MEANING, "default.books")
