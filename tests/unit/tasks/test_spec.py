"""TaskSpec: which collections a task replicates, and what is shown of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.tasks import ConnectParam, TaskSpec

TARGET = ConnectParam(uri="http://target:19530")
NAMES = st.lists(st.text(), max_size=3).map(tuple)


def spec(**fields) -> TaskSpec:
    """Return a specification for the same target."""
    return TaskSpec(target=TARGET, **fields)


@pytest.mark.parametrize(
    ("fields", "database", "collection", "selected"),
    [
        ({"collection_infos": ("a",)}, "default", "a", True),
        ({"collection_infos": ("a",)}, "", "a", True),
        ({"collection_infos": ("a",)}, "default", "b", False),
        ({"collection_infos": ("a", "b")}, "default", "b", True),
        ({"collection_infos": ("*",)}, "default", "anything", True),
        ({"collection_infos": ("*",)}, "other", "anything", False),
        ({"db_collections": {"d": ("a",)}}, "d", "a", True),
        ({"db_collections": {"d": ("a",)}}, "d", "b", False),
        ({"db_collections": {"d": ("a",)}}, "default", "a", False),
        ({"db_collections": {"d": ("*",)}}, "d", "b", True),
        ({"db_collections": {"*": ("a",)}}, "e", "a", True),
        ({"db_collections": {"*": ("a",)}}, "e", "b", False),
        ({"db_collections": {"*": ("*",)}}, "", "b", True),
        ({"db_collections": {"default": ("a",)}}, "", "a", True),
        ({}, "default", "a", False),
    ],
)
def test_selects(fields, database, collection, selected):
    """Names and wildcards select by database, and an empty database is default."""
    assert spec(**fields).selects(database, collection) is selected


def test_repr_hides_the_token():
    """Neither repr nor str of a specification holds the token."""
    held = spec(token="root:Milvus", collection_infos=("a",))
    assert "Milvus" not in f"{held!r} {held!s} {[held]}"
    assert "'a'" in repr(held)


@pytest.mark.parametrize("uri", ["http://root:Milvus@t:19530", "root:Milvus@t:19530"])
def test_uri_with_credentials_is_refused(uri):
    """A uri cannot carry credentials, and the error does not repeat them."""
    with pytest.raises(ValueError, match="must not hold credentials") as caught:
        ConnectParam(uri=uri)
    assert "Milvus" not in str(caught.value)


@given(
    infos=NAMES,
    databases=st.dictionaries(
        st.text() | st.sampled_from(["_type_", "_data_"]), NAMES, max_size=3
    ),
)
def test_json_round_trip_without_token(infos, databases):
    """What an event holds gives the specification back, except for the token."""
    held = spec(token="secret", collection_infos=infos, db_collections=databases)
    stored = held.to_json()
    assert "token" not in stored
    assert TaskSpec.from_json(stored) == msgspec.structs.replace(held, token="")
