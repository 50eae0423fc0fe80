"""Collections without the fields that the target cannot hold, on doubles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.pipeline import exchanges
from cdc_actors.pipeline.messages import RecordOperationApplied
from cdc_actors.target.fields import altered_schema
from cdc_actors.target.skipping import held_schema
from cdc_actors.tasks import ALTER_FIELD, CollectionState
from tests.fakes import fake_source
from tests.fakes.distrusted import RIGHT, Distrusted
from tests.fakes.fake_catalog import FakeCatalog
from tests.fakes.fake_source import REQUESTS, A
from tests.fakes.fake_target import FakeTarget
from tests.fakes.pipeline import Pipeline
from tests.fakes.shadowed import Shadowed
from tests.support.changes import key_schema
from tests.support.tasks import SPEC, SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.tasks import CollectionEntry

SKIPPED = "place", "parts"
WITHOUT = "without the field place, which the target cannot hold"
SKIPPING = msgspec.structs.replace(SPEC, skip_unsupported_fields=True)


@pytest.fixture(autouse=True)
def wider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every collection of the source fields that a 2.3.5 cannot hold."""
    schema = schema_pb2.CollectionSchema.FromString(key_schema())
    schema.name = "any"
    schema.fields.add(name="place", fieldID=101, data_type=schema_pb2.Geometry)
    parts = schema.struct_array_fields.add(name="parts", fieldID=102)
    parts.fields.add(name="parts[n]", fieldID=103, data_type=schema_pb2.Array)
    monkeypatch.setattr(fake_source, "_schema", schema.SerializeToString)


@pytest.fixture
def skipping() -> Iterator[Pipeline]:
    """Yield a task that asks for what the target can hold."""
    with Pipeline(SKIPPING) as pipeline:
        yield pipeline


def begin(pipeline: Pipeline) -> None:
    """Have a collection with a row, and see what becomes of it."""
    meta = pipeline.source.create("books", A)
    pipeline.source.insert(meta, [1])
    pipeline.source.tick()
    pipeline.start()
    pipeline.settle()


def entry_of(pipeline: Pipeline, name: str = "books") -> CollectionEntry:
    """Return what the task has written down of the collection."""
    return pipeline.task.entries[name]


def last_of(pipeline: Pipeline, kind: str, **asked: Any) -> tuple[Any, ...]:
    """Have a client ask something; return what was done last: kind, of, without."""
    message = getattr(milvus_pb2, f"{kind}Request")(collection_name="books", **asked)
    pipeline.source.write(REQUESTS, kind, message, pipeline.source.next())
    pipeline.source.tick()
    pipeline.settle()
    return last_done(pipeline)


def last_done(pipeline: Pipeline) -> tuple[Any, ...]:
    """Return what was done last: kind, of, without."""
    done = [
        e.operation for e in pipeline.task.asked if type(e) is RecordOperationApplied
    ][-1]
    assert done.refused is None
    return done.kind, done.detail.get("field_name"), done.reduced


def fields_of(pipeline: Pipeline, name: str = "books") -> list[str]:
    """Return the fields that the target has."""
    stored = pipeline.target.collections["default", name]
    return [field.name for field in stored.schema.fields]


def check_goes_on_over_a_kill(skipping: Pipeline) -> None:
    """See that a row arrives after a kill, and that nothing was refused."""
    skipping.kill()
    skipping.start()
    [meta] = skipping.source.catalog.snapshot().collections.values()
    skipping.source.insert(meta, [2])
    skipping.source.tick()
    skipping.settle()
    assert skipping.target.rows("books") == {1: 1, 2: 1}
    assert entry_of(skipping).state is CollectionState.LIVE
    assert skipping.task.task.refused == 0


def test_rows_come_without_it_over_a_kill(skipping: Pipeline) -> None:
    """What is left out stays so; an index of it is done without, not refused."""
    begin(skipping)
    assert entry_of(skipping).skipped == SKIPPED
    assert fields_of(skipping) == ["id"]
    done = last_of(skipping, "CreateIndex", field_name="place")
    assert done == ("CreateIndex", "place", WITHOUT)
    check_goes_on_over_a_kill(skipping)


@pytest.mark.parametrize("field", ["place", "parts[n]"])
@pytest.mark.parametrize("kind", ["AlterIndex", "DropIndex"])
def test_an_index_of_it_that_is_named_alone(
    skipping: Pipeline, monkeypatch: pytest.MonkeyPatch, kind: str, field: str
) -> None:
    """The catalog knows of which field it is; the target is not asked, and would refuse."""
    begin(skipping)
    known = {("i", skipping.source.now + 1): field}
    monkeypatch.setattr(
        FakeCatalog, "field_of_index", lambda _self, _id, *index: known[index]
    )
    skipping.target.refuse(kind)
    done = last_of(skipping, kind, index_name="i")
    assert done == (kind, field, WITHOUT.replace("place", field))
    assert skipping.task.task.refused == 0


def test_a_load_of_some_fields_comes_without_it(
    skipping: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the target has of them is loaded; if it is refused, fewer replicas are tried."""
    begin(skipping)
    loads: list[list[str]] = []
    monkeypatch.setattr(
        FakeTarget,
        "_load_collection",
        lambda _self, load: loads.append(load.load_fields),
    )
    done = last_of(skipping, "LoadCollection", load_fields=["id", "place"])
    assert (done[2], loads) == (WITHOUT, [["id"]])
    skipping.target.refuse("LoadCollection")
    fewer = last_of(
        skipping, "LoadCollection", load_fields=["place", "id"], replica_number=2
    )
    assert str(fewer[2]).startswith(f"{WITHOUT}; 1 replica in")


def change(pipeline: Pipeline, schema: bytes) -> None:
    """Have the source change the schema of its collection, and see what comes of it."""
    [meta] = pipeline.source.catalog.snapshot().collections.values()
    at = pipeline.source.next()
    pipeline.source.catalog.put(replace(meta, schema=schema, altered=at))
    pipeline.source.catalog.tell()
    pipeline.wait_for_steps()
    pipeline.source.tick()
    pipeline.settle()


@pytest.mark.parametrize("field", SKIPPED)
def test_the_source_alters_it_and_drops_it(skipping: Pipeline, field: str) -> None:
    """The target is asked for neither; rows go on, over a kill, until it misses another."""
    begin(skipping)
    skipping.target.refuse("AlterCollectionField")
    schema = altered_schema(entry_of(skipping).schema, field, {"mmap": "true"}, ())
    change(skipping, schema)
    without = WITHOUT.replace("place", field)
    assert last_done(skipping) == (ALTER_FIELD, field, without)
    change(skipping, held_schema(schema, [field]))
    check_goes_on_over_a_kill(skipping)
    change(skipping, held_schema(schema, [field, "id"]))
    assert entry_of(skipping).state is CollectionState.SET_ASIDE
    assert "added or dropped id" in str(entry_of(skipping).reason)


def test_a_task_that_asks_for_it_later() -> None:
    """The reason names the field; after an update and a retry the collection comes."""
    with Pipeline() as pipeline:
        begin(pipeline)
        entry = entry_of(pipeline)
        assert entry.state is CollectionState.SET_ASIDE
        assert "books has the field place, and the target" in str(entry.reason)
        pipeline.stop()
        said = {"secret": None, "who": SUPERVISOR, "why": "test"}
        checkpoints = list(pipeline.task.checkpoints.values())
        pipeline.task.task.update(SKIPPING, checkpoints, **said)
        pipeline.retry_ended("books")
        pipeline.start()
        pipeline.wait_until(lambda: pipeline.target.rows("books") == {1: 1})
        assert entry_of(pipeline).skipped == SKIPPED


@pytest.mark.parametrize("drop_target", [False, True])
def test_what_is_brought_anew_from_files(
    skipping: Pipeline, monkeypatch: pytest.MonkeyPatch, *, drop_target: bool
) -> None:
    """It is without the field again, and has each row of the files once."""
    distrusted = Distrusted.running(skipping, monkeypatch)
    skipping.resync("c", drop_target=drop_target)
    distrusted.complete()
    assert distrusted.there == RIGHT
    assert entry_of(skipping, "c").skipped == SKIPPED
    assert fields_of(skipping, "c") == ["id"]


def test_what_is_brought_anew_into_a_shadow(
    skipping: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes the place is without the field, too."""
    shadowed = Shadowed.running(skipping, monkeypatch)
    monkeypatch.setattr(exchanges, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(exchanges, "READ_SECONDS", 0.0)
    shadowed.watch()
    shadowed.begin()
    shadowed.finish()
    assert shadowed.there == RIGHT
    assert entry_of(skipping, "c").skipped == SKIPPED
    assert fields_of(skipping, "c") == ["id"]
