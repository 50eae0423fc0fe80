"""What an applier is given in an order that no server brings about when it is wanted."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.changes import Delete, DropCollection, Request
from cdc_actors.errors import AccessRefusedError, OperationRefusedError, OperatorError
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.applier import Applier
from cdc_actors.pipeline.messages import (
    AliasMoved,
    CollectionDropped,
    CollectionSuspended,
    RecordCollectionSetAside,
    RecordOperationApplied,
    RecordOperationStarted,
)
from cdc_actors.pipeline.refused_kinds import RefusedKinds
from cdc_actors.pipeline.snapshot_jobs import SnapshotJobs
from cdc_actors.pipeline.work import CatalogOperation, ForwardRequest, StopCollection
from cdc_actors.pipeline.work_queue import WorkQueue
from cdc_actors.replication.barriers import BarrierOperation, RowChunk
from cdc_actors.target.request_size import RequestSize
from cdc_actors.target.splitting import MAX_DELETE_BYTES, MAX_INSERT_BYTES
from cdc_actors.tasks import (
    ALTER_ALIAS,
    ALTER_COLLECTION,
    CREATE_ALIAS,
    DROP_ALIAS,
    DROP_COLLECTION,
    RENAME_COLLECTION,
    CollectionState,
)
from cdc_actors.tasks.details import AliasDetail, PropertiesDetail, RenameDetail
from tests.support.tasks import CLAIMANT, SPEC, entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.work import Work
    from cdc_actors.tasks import CollectionEntry

DROP = BarrierOperation(DropCollection(445, 8, "a"), ())
LATE = [
    CatalogOperation(RENAME_COLLECTION, 5, RenameDetail(("default", "b"))),
    CatalogOperation(CREATE_ALIAS, 6, AliasDetail("a")),
    ForwardRequest(Request("Flush", 7, "default", ("a",), b""), ()),
]


class Harness:
    """An applier of a collection of the source; what it asks, records and tells is kept.

    But for asking what the target has: that is nothing.
    """

    def __init__(
        self,
        state: CollectionState,
        *,
        target_fails: Exception | None = None,
        store_fails: Exception | None = None,
    ) -> None:
        self._target_fails = target_fails
        self._store_fails = store_fails
        self.released: list[object] = []
        self.asked: list[tuple[str, str]] = []
        self.recorded: list[RecordOperationStarted | RecordOperationApplied] = []
        self.reported: list[object] = []
        self._queue = WorkQueue()
        context = SimpleNamespace(
            stopping=False,
            guard=_run,
            check_running=lambda: None,
            snapshot_jobs=SnapshotJobs(),
            refused_kinds=RefusedKinds(),
            claimant=CLAIMANT,
            source_marks={},
            source_time=lambda: 0,
            record=self._record,
            record_set_aside=self._record_set_aside,
            release=lambda parts, *_: self.released.extend(parts),
            budget=SimpleNamespace(work_done=lambda _count=1: None),
        )
        reader = SimpleNamespace(tell=self.reported.append)
        key = schema_pb2.FieldSchema(name="id", fieldID=100, is_primary_key=True)
        schema = schema_pb2.CollectionSchema(fields=[key]).SerializeToString()
        known = entry(445, state=state, schema=schema)
        target = SimpleNamespace(
            is_lite=False,
            alias_lock=threading.Lock(),
            insert_size=RequestSize(MAX_INSERT_BYTES),
            delete_size=RequestSize(MAX_DELETE_BYTES),
            call=self._call,
            begin_insert=self._call,
            finish=lambda answer, _method: answer,
            wait=lambda _seconds: None,
        )
        self._applier = Applier(
            known, context, target, self._queue, reader, SPEC, exists=False
        )

    def _record_set_aside(self, entry: CollectionEntry, error: CdcError) -> None:
        self._record(RecordCollectionSetAside(1, entry, error, {}))

    def _record(self, message: Any) -> None:
        if self._store_fails:
            raise self._store_fails
        self.recorded.append(message)

    def _call(self, method: str, request: Any, _database: str = "") -> None:
        if self._target_fails:
            raise self._target_fails
        if method != "DescribeCollection":
            self.asked.append((method, getattr(request, "alias", "")))

    def work(self) -> None:
        """Let it do all that waits, as the pool does."""
        while self._applier.step():
            pass

    def give(self, *items: Work) -> list[str]:
        """Let it do some work; return the kinds of what it began and did."""
        for item in items:
            self._queue.put(item)
        self.work()
        return [each.operation.kind for each in self.recorded]


def _run(step: Callable[[], None]) -> bool:
    step()
    return True


@pytest.mark.parametrize("state", [CollectionState.LIVE, CollectionState.SET_ASIDE])
def test_nothing_is_done_to_a_collection_that_was_dropped(
    state: CollectionState,
) -> None:
    """What was told before the drop and is given after it leaves no trace."""
    harness = Harness(state)
    assert harness.give(DROP, *LATE) == [DROP_COLLECTION, DROP_COLLECTION]
    assert [type(each) for each in harness.recorded] == [
        RecordOperationStarted,
        RecordOperationApplied,
    ]
    assert harness.reported == [
        CollectionDropped(445),
        AliasMoved(("default", "a"), None),
    ]
    assert harness.asked == []


@pytest.mark.parametrize("state", [CollectionState.LIVE, CollectionState.SET_ASIDE])
def test_alias_that_is_moved_to_what_was_dropped(state: CollectionState) -> None:
    """It does not go on to stand at the target for what it stood for."""
    harness = Harness(state)
    kinds = harness.give(DROP, CatalogOperation(ALTER_ALIAS, 6, AliasDetail("a")))
    assert kinds == [DROP_COLLECTION, DROP_COLLECTION, DROP_ALIAS]
    assert harness.asked == [("DropAlias", "a")]
    assert harness.reported == [
        CollectionDropped(445),
        AliasMoved(("default", "a"), None),
    ]


DELETE = Delete(445, "dml_0_445v0", "", 9, (1,))
HOLD = MemoryBudget(1000).quota(1.0).hold(10)
ROWS = RowChunk((DELETE,), ("mark",), may_exist=False, memory=HOLD)
ALTER = CatalogOperation(ALTER_COLLECTION, 9, PropertiesDetail({"ttl": "1"}), ("mark",))
FLUSH = ForwardRequest(Request("Flush", 9, "default", ("a",), b""), ("mark",))


@pytest.mark.parametrize("work", [ROWS, ALTER, FLUSH])
def test_a_refused_login_is_not_the_collections(work: Work) -> None:
    """It ends the run with nothing recorded, and the checkpoint stays where it was."""
    refusal = AccessRefusedError("the target refuses the login")
    harness = Harness(CollectionState.LIVE, target_fails=refusal)
    with pytest.raises(AccessRefusedError):
        harness.give(work)
    assert (harness.recorded, harness.reported, harness.released) == ([], [], [])


def test_a_refused_row_sets_the_collection_aside() -> None:
    """The run goes on without it, and what it held is let go of."""
    harness = Harness(
        CollectionState.LIVE, target_fails=OperationRefusedError("no", 1100)
    )
    harness._queue.put(ROWS)
    harness.work()
    assert [type(each) for each in harness.recorded] == [RecordCollectionSetAside]
    assert harness.reported == [CollectionSuspended(445)]
    assert harness.released == ["mark"]


@pytest.mark.parametrize("state", [CollectionState.LIVE, CollectionState.SET_ASIDE])
def test_what_the_target_cannot_be_given(state: CollectionState) -> None:
    """It sets the collection aside, for its own reason, behind what came before; once."""
    harness = Harness(state)
    harness._queue.put(StopCollection("it was truncated", ("mark",)))
    harness.work()
    found = [each for each in harness.recorded if hasattr(each, "error")]
    is_live = state is CollectionState.LIVE
    assert [str(each.error) for each in found] == ["it was truncated"] * is_live
    assert harness.reported == [CollectionSuspended(445)] * is_live
    assert harness.released == ["mark"]


def test_a_refused_operation_is_noted() -> None:
    """The collection goes on without it."""
    harness = Harness(
        CollectionState.LIVE, target_fails=OperationRefusedError("no", 1100)
    )
    assert harness.give(ALTER) == [ALTER_COLLECTION]
    assert harness.recorded[0].operation.refused == "no"
    assert harness.reported == []


def test_what_the_store_cannot_do_is_not_the_collections() -> None:
    """Every collection would meet it: it ends the run as the task's error."""
    broken = OperatorError("the event log cannot be read")
    harness = Harness(CollectionState.LIVE, store_fails=broken)
    with pytest.raises(OperatorError, match="cannot be read"):
        harness.give(DROP)
    assert harness.reported == []


def test_an_operation_of_an_unknown_kind_is_not_called_done() -> None:
    """It fails loudly, and nothing is written down."""
    harness = Harness(CollectionState.LIVE)
    with pytest.raises(TypeError, match="LendAlias with AliasDetail"):
        harness.give(CatalogOperation("LendAlias", 5, AliasDetail("a")))
    assert harness.recorded == []


def test_a_flush_is_no_decision() -> None:
    """None that is done is written down, and of refused ones the first."""
    payload = milvus_pb2.FlushRequest(collection_names=["a"]).SerializeToString()
    flush = [
        ForwardRequest(Request("Flush", at, "default", ("a",), payload), ())
        for at in (1, 2, 3)
    ]
    harness = Harness(CollectionState.LIVE)
    assert harness.give(*flush) == []
    harness = Harness(CollectionState.LIVE, target_fails=OperationRefusedError("no", 1))
    assert harness.give(*flush) == ["Flush"]
    assert harness.recorded[0].operation.refused == "no"
