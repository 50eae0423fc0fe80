"""TaskSpec: which collections a task replicates, and what is shown of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.tasks import ConnectParam, NameMapping, TaskSpec

TARGET = ConnectParam(uri="http://target:19530")
NAMES = st.lists(st.text(), max_size=3).map(tuple)
MAPPINGS = st.lists(
    st.builds(
        NameMapping,
        source_db=st.text(),
        target_db=st.text(),
        collection_mapping=st.dictionaries(
            st.text() | st.just("_type_"), st.text(), max_size=3
        ),
    ),
    max_size=2,
).map(tuple)
EXCLUDES = st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple)


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


@pytest.mark.parametrize(
    ("database", "collection", "selected"),
    [("d", "b", True), ("d", "a", False), ("other", "b", False), ("", "b", True)],
)
def test_excludes(database, collection, selected):
    """What other tasks of the target have is not selected by a wildcard."""
    held = spec(db_collections={"*": ("*",)}, excludes=(("d", "a"), ("other", "*")))
    assert held.selects(database, collection) is selected


@pytest.mark.parametrize(
    ("fields", "database", "selected"),
    [
        ({"db_collections": {"*": ("*",)}}, "d", True),
        ({"db_collections": {"d": ("*",)}}, "d", True),
        ({"db_collections": {"d": ("*",)}}, "e", False),
        ({"db_collections": {"d": ("a",)}}, "d", False),
        ({"db_collections": {"*": ("a",)}}, "d", False),
        ({"db_collections": {"*": ("*",), "d": ("a",)}}, "d", True),
        ({"collection_infos": ("*",)}, "d", False),
        ({"db_collections": {"*": ("*",)}, "excludes": (("d", "*"),)}, "d", False),
        ({"db_collections": {"*": ("*",)}, "excludes": (("d", "a"),)}, "d", True),
    ],
)
def test_selects_database(fields, database, selected):
    """A database is replicated as such where all its collections may be."""
    assert spec(**fields).selects_database(database) is selected


MAPPED = spec(
    db_collections={"*": ("*",)},
    name_mapping=(
        NameMapping(
            source_db="*", target_db="all", collection_mapping={"a": "every_a"}
        ),
        NameMapping(source_db="d", target_db="d2"),
        NameMapping(source_db="d", target_db="d3", collection_mapping={"a": "a3"}),
        NameMapping(source_db="*", target_db="*", collection_mapping={"b": "every_b"}),
        NameMapping(source_db="default", target_db="e", collection_mapping={"x": "y"}),
    ),
)


@pytest.mark.parametrize(
    ("database", "collection", "there"),
    [
        ("d", "a", ("d3", "a3")),
        ("d", "b", ("d2", "b")),
        ("e", "a", ("all", "every_a")),
        ("e", "b", ("e", "every_b")),
        ("e", "c", ("e", "c")),
        ("", "x", ("e", "y")),
        ("", "z", ("default", "z")),
    ],
)
def test_target_name(database, collection, there):
    """The most specific rule of all entries counts; without one the name stays."""
    assert MAPPED.target_name(database, collection) == there


@pytest.mark.parametrize(
    ("database", "there"), [("d", "d2"), ("e", "e"), ("default", "default")]
)
def test_target_database(database, there):
    """A database moves where all of it does, not with some of its collections."""
    assert MAPPED.target_database(database) == there


def test_mapping_as_events_hold_it():
    """Names are values there, never keys."""
    held = spec(
        name_mapping=(
            NameMapping(source_db="d", target_db="e", collection_mapping={"a": "b"}),
        ),
        excludes=(("d", "c"),),
    )
    stored = held.to_json()
    assert stored["name_mapping"] == [
        {"source_db": "d", "target_db": "e", "collections": [["a", "b"]]}
    ]
    assert stored["excludes"] == [["d", "c"]]


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
    mappings=MAPPINGS,
    excludes=EXCLUDES,
    users=st.booleans(),
    name=st.text(),
    modes=st.tuples(
        st.sampled_from(["auto", "always", "never"]), st.sampled_from(["tick", "early"])
    ),
)
def test_json_round_trip_without_token(
    infos, databases, mappings, excludes, users, name, modes
):
    """What an event holds gives the specification back, except for the token."""
    held = spec(
        token="secret",
        collection_infos=infos,
        db_collections=databases,
        name_mapping=mappings,
        excludes=excludes,
        enable_user_role=users,
        task_name=name,
        disable_auto_start=users,
        snapshot=modes[0],
        consistency=modes[1],
    )
    stored = held.to_json()
    assert "token" not in stored
    assert TaskSpec.from_json(stored) == msgspec.structs.replace(held, token="")


def test_which_databases_go_into_one_of_the_target() -> None:
    """As a whole, or with single collections, by a rule for each or for every database."""
    mapping = (
        NameMapping(source_db="shop", target_db="store"),
        NameMapping(
            source_db="other", target_db="store", collection_mapping={"a": "b"}
        ),
    )
    task = spec(name_mapping=mapping)
    databases = ("shop", "other", "store", "d")
    into = {name for name in databases if task.goes_into(name, "store")}
    assert into == {"shop", "other", "store"}
    assert not task.goes_into("shop", "shop")
    assert task.goes_into("other", "other")
    anywhere = NameMapping(
        source_db="*", target_db="one", collection_mapping={"a": "b"}
    )
    task = spec(name_mapping=(anywhere,))
    assert task.goes_into("d", "one")
    assert not task.goes_into("d", "e")
