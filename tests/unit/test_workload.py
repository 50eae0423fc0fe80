"""What the random writer writes, without a server."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus import DataType

from tests.support.workload_schemas import (
    BINARY_SPECS,
    CAPACITY,
    DIM,
    FLOAT_SPECS,
    KEY,
    TEXT_BYTES,
    VECTOR,
    Spec,
    text,
)

SPECS = (*FLOAT_SPECS, *BINARY_SPECS)


@given(st.integers())
def test_texts_fit_and_are_unicode(seed: int) -> None:
    """A text fits its field and can be written as UTF-8."""
    assert len(text(Random(seed)).encode()) <= TEXT_BYTES


@pytest.mark.parametrize("spec", SPECS)
def test_rows_fit_the_schema(spec: Spec) -> None:
    """A row has every field, the key unless Milvus gives it, and arrays that fit."""
    row = spec.row(Random(1), 5)
    assert (KEY in row) is not spec.auto_id
    for column in spec.columns:
        if column.element is not None:
            assert len(row[column.name]) <= CAPACITY
    width = DIM // 8 if spec.vector == DataType.BINARY_VECTOR else DIM
    assert len(row[VECTOR]) == width


@pytest.mark.parametrize("spec", SPECS)
def test_a_seed_gives_the_same_rows(spec: Spec) -> None:
    """What is written depends on the seed only."""
    one, again = (repr(spec.row(Random(3), 1)) for _ in range(2))
    other = repr(spec.row(Random(4), 1))
    assert one == again != other


def test_every_data_type_is_written() -> None:
    """The collections together have each data type that Milvus 2.3 has."""
    fields = [field for spec in SPECS for field in spec.schema().fields]
    kinds = {field.dtype for field in fields}
    elements = {column.element for spec in SPECS for column in spec.columns}
    scalars = {
        DataType.BOOL,
        DataType.INT8,
        DataType.INT16,
        DataType.INT32,
        DataType.INT64,
        DataType.FLOAT,
        DataType.DOUBLE,
        DataType.VARCHAR,
    }
    vectors = {DataType.FLOAT_VECTOR, DataType.BINARY_VECTOR}
    assert kinds == {*scalars, *vectors, DataType.JSON, DataType.ARRAY}
    assert elements - {None} == scalars
