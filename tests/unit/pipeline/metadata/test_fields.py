"""Fields that the source altered, from its catalog to the target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.target.fields import altered_schema, params_of
from cdc_actors.tasks import CollectionState
from tests.fakes.newer_target import NewerTarget
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta

HOUR = to_hybrid_ts(3600)


def schema(**params: str) -> bytes:
    """Return the schema of a key and a text with some parameters."""
    made = schema_pb2.CollectionSchema(name="books")
    made.fields.add(
        fieldID=100, name="id", is_primary_key=True, data_type=schema_pb2.Int64
    )
    text = made.fields.add(fieldID=101, name="text", data_type=schema_pb2.VarChar)
    for key, value in params.items():
        text.type_params.add(key=key.replace("__", "."), value=value)
    return bytes(made.SerializeToString())


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a running task with a target that can alter fields."""
    with Pipeline() as pipeline:
        pipeline.target = NewerTarget()
        yield pipeline.start()


@pytest.fixture
def books(pipeline: Pipeline) -> CollectionMeta:
    """Return a collection that the target has."""
    books = pipeline.source.create("books", schema=schema(max_length="10"))
    pipeline.source.catalog.tell()
    pipeline.source.tick()
    pipeline.settle()
    return books


def alter(pipeline: Pipeline, books: CollectionMeta, at: int, **params: str) -> None:
    """Have the source alter the text, the last time at some time, and let it be seen."""
    meta = replace(books, schema=schema(**params), altered=at)
    pipeline.source.catalog.put(meta)
    pipeline.source.catalog.tell()
    pipeline.wait_for_steps()


def altered(pipeline: Pipeline) -> list[tuple[dict[str, str], list[str]]]:
    """Return what the target was asked to set and to drop."""
    asked = pipeline.target.asked_for("AlterCollectionField")
    return [
        ({p.key: p.value for p in each.properties}, list(each.delete_keys))
        for each in asked
    ]


def at_target(pipeline: Pipeline) -> dict[str, str]:
    """Return the parameters that the text has at the target."""
    found = pipeline.target.schema(("default", "books"))
    return params_of(found.SerializeToString())["text"]


def test_a_text_that_may_be_longer(pipeline: Pipeline, books: CollectionMeta) -> None:
    """It may be at once: rows that need it are older than the last alteration."""
    later = pipeline.source.now + HOUR
    alter(pipeline, books, later, max_length="20")
    pipeline.wait_until(lambda: altered(pipeline) == [({"max_length": "20"}, [])])
    alter(pipeline, books, later, max_length="20", mmap__enabled="true")
    pipeline.source.tick()
    pipeline.settle()
    assert altered(pipeline) == [({"max_length": "20"}, [])]


def test_other_alterations_wait_for_their_time(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """Older rows may be longer than a text may be now; what was set can be dropped."""
    at = pipeline.source.next()
    alter(pipeline, books, at, max_length="5", mmap__enabled="true")
    assert altered(pipeline) == []
    pipeline.source.tick()
    pipeline.wait_until(
        lambda: at_target(pipeline) == {"max_length": "5", "mmap.enabled": "true"}
    )
    alter(pipeline, books, pipeline.source.next(), max_length="5")
    pipeline.source.tick()
    pipeline.wait_until(lambda: at_target(pipeline) == {"max_length": "5"})
    assert altered(pipeline)[-1] == ({}, ["mmap.enabled"])


def test_what_is_altered_while_no_run_looks(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """The next run finds it, and none asks for it again."""
    pipeline.stop()
    meta = replace(books, schema=schema(max_length="20"))
    pipeline.source.catalog.put(meta)
    for _ in range(2):
        pipeline.start()
        pipeline.source.tick()
        pipeline.settle()
        assert altered(pipeline) == [({"max_length": "20"}, [])]
        pipeline.stop()


def test_a_collection_with_an_altered_field_is_dropped(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """It is still the one that the task has made, in this run and in the next."""
    alter(pipeline, books, books.created, max_length="20")
    pipeline.wait_until(lambda: altered(pipeline))
    pipeline.stop()
    pipeline.start()
    pipeline.source.drop(books)
    pipeline.source.catalog.tell()
    again = pipeline.source.create("books", schema=schema(max_length="7"))
    pipeline.source.catalog.tell()
    pipeline.source.tick()
    pipeline.settle()
    assert at_target(pipeline) == {"max_length": "7"}
    assert pipeline.task.task.collections[again.id].reason is None


def test_a_target_that_cannot_alter_fields(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """It is written down, tried again by the next run, and settled by that."""
    pipeline.target.refuse("AlterCollectionField")
    alter(pipeline, books, books.created, max_length="20")
    pipeline.wait_until(lambda: pipeline.task.task.refused)
    [refused] = pipeline.task.task.refusals
    assert (refused.kind, refused.detail["field_name"]) == (
        "AlterCollectionField",
        "text",
    )
    assert pipeline.task.task.unresolved
    pipeline.stop()
    pipeline.start()
    pipeline.wait_until(lambda: at_target(pipeline) == {"max_length": "20"})
    pipeline.wait_until(lambda: not pipeline.task.task.unresolved)


@pytest.mark.parametrize("what", ["added", "dropped", "dropped and added"])
def test_a_field_that_is_added_or_dropped(
    pipeline: Pipeline, books: CollectionMeta, what: str
) -> None:
    """The collection is set aside behind what came before, with what brings it back.

    One with a name that another had is told by its number.
    """
    source = pipeline.source
    changed = schema_pb2.CollectionSchema.FromString(books.schema)
    if what == "dropped and added":
        changed.fields[1].fieldID = 102
    elif what == "added":
        changed.fields.add(fieldID=102, name="text2", data_type=schema_pb2.Int64)
    else:
        del changed.fields[1]
    meta = replace(books, schema=changed.SerializeToString(), altered=source.next())
    source.catalog.put(meta)
    source.catalog.tell()
    pipeline.wait_for_steps()
    assert pipeline.task.task.unresolved == {}
    source.tick()
    pipeline.wait_until(lambda: pipeline.task.task.collections[books.id].reason)
    entry = pipeline.task.task.collections[books.id]
    assert entry.state is CollectionState.SET_ASIDE
    assert "added or dropped text" in entry.reason
    assert "--drop-target" in entry.reason
    assert "only with sourceConfig.storage" in entry.reason


def test_an_array_of_structs_that_is_altered() -> None:
    """It has parameters as fields have."""
    made = schema_pb2.CollectionSchema(name="books")
    made.struct_array_fields.add(name="parts")
    after = altered_schema(made.SerializeToString(), "parts", {"mmap": "true"}, ())
    assert params_of(after) == {"parts": {"mmap": "true"}}
