"""When keys were last deleted, of files in every form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.source.storage import envelope
from cdc_actors.source.storage.deletes import LastDeletes
from tests.support.milvus_files import (
    file_of_deletes,
    newer_file_of_deletes,
    plain_file_of_deletes,
)

if TYPE_CHECKING:
    from cdc_actors.changes import Key

FORMS = (file_of_deletes, newer_file_of_deletes, plain_file_of_deletes)
numbers = st.integers(-(1 << 63), (1 << 63) - 1)
deletes = st.one_of(
    *(
        st.lists(st.tuples(keys, st.integers(1, 9)), min_size=1, max_size=20)
        for keys in (numbers, st.integers(-2, 2), st.text(max_size=3))
    )
)


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(deletes, min_size=1, max_size=3), st.integers(0, 10), st.data())
def test_last_deletes(form, files, until, data) -> None:
    """Of each key it is the newest up to the moment, in whatever file it stands."""
    kind = type(files[0][0][0])
    files = [each for each in files if type(each[0][0]) is kind]
    expected: dict[Key, int] = {}
    for key, time in (
        delete for file in files for delete in file if delete[1] <= until
    ):
        expected[key] = max(expected.get(key, 0), time)
    asked = data.draw(
        st.permutations(sorted({key for file in files for key, _ in file}))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envelope, "LINES_AT_ONCE", 2)
        said = [envelope.deletes(pa.py_buffer(form(each))) for each in files]
    arrow = pa.int64() if kind is int else pa.string()
    found = LastDeletes.of(arrow, said, until)
    latest = np.zeros(len(asked), np.uint64)
    found.note(pa.array(asked, arrow), latest)
    assert dict(zip(asked, latest.tolist(), strict=True)) == {
        key: expected.get(key, 0) for key in asked
    }
