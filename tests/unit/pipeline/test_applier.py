"""What an applier is given in an order that no server brings about when it is wanted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import DropCollection, Request
from cdc_actors.pipeline.applier_actor import Applier
from cdc_actors.pipeline.messages import (
    AliasMoved,
    CollectionDropped,
    RecordOperationApplied,
    RecordOperationStarted,
    WorkArrived,
)
from cdc_actors.pipeline.work import CatalogOperation, ForwardRequest
from cdc_actors.pipeline.work_queue import WorkQueue
from cdc_actors.replication.barriers import BarrierOperation
from cdc_actors.tasks import (
    ALTER_ALIAS,
    CREATE_ALIAS,
    DROP_ALIAS,
    DROP_COLLECTION,
    RENAME_COLLECTION,
    CollectionState,
)
from tests.support.tasks import SPEC, entry

if TYPE_CHECKING:
    from cdc_actors.pipeline.work import Work

DROP = BarrierOperation(DropCollection(445, 8, "a"), ())
LATE = [
    CatalogOperation(RENAME_COLLECTION, 5, {"to_database": "default", "to_name": "b"}),
    CatalogOperation(CREATE_ALIAS, 6, {"alias": "a"}),
    ForwardRequest(Request("Flush", 7, "default", ("a",), b""), ()),
]


class Stage:
    """An applier of a collection of the source; what it asks, records and tells is kept."""

    def __init__(self, state: CollectionState) -> None:
        self.asked: list[tuple[str, str]] = []
        self.recorded: list[RecordOperationStarted | RecordOperationApplied] = []
        self.told: list[object] = []
        self._queue = WorkQueue()
        context = SimpleNamespace(
            stopping=False,
            guard=lambda step: step(),
            record=self.recorded.append,
            release=lambda _marks, _rows=0: None,
            budget=SimpleNamespace(work_done=lambda: None),
        )
        reader = SimpleNamespace(tell=self.told.append)
        key = schema_pb2.FieldSchema(name="id", fieldID=100, is_primary_key=True)
        schema = schema_pb2.CollectionSchema(fields=[key]).SerializeToString()
        known = entry(445, state=state, schema=schema)
        target = SimpleNamespace(is_lite=False, call=self._call)
        self._applier = Applier(
            known, context, target, self._queue, reader, SPEC, exists=False
        )

    def _call(self, method: str, request: Any, _database: str) -> None:
        self.asked.append((method, request.alias))

    def give(self, *items: Work) -> list[str]:
        """Let it do some work; return the kinds of what it began and did."""
        for item in items:
            self._queue.put(item)
        self._applier.on_receive(WorkArrived())
        return [each.operation.kind for each in self.recorded]


@pytest.mark.parametrize("state", [CollectionState.LIVE, CollectionState.SET_ASIDE])
def test_nothing_is_done_to_a_collection_that_was_dropped(
    state: CollectionState,
) -> None:
    """What was told before the drop and is given after it leaves no trace."""
    stage = Stage(state)
    assert stage.give(DROP, *LATE) == [DROP_COLLECTION, DROP_COLLECTION]
    assert [type(each) for each in stage.recorded] == [
        RecordOperationStarted,
        RecordOperationApplied,
    ]
    assert stage.told == [CollectionDropped(445), AliasMoved(("default", "a"), None)]
    assert stage.asked == []


@pytest.mark.parametrize("state", [CollectionState.LIVE, CollectionState.SET_ASIDE])
def test_alias_that_is_moved_to_what_was_dropped(state: CollectionState) -> None:
    """It does not go on to stand at the target for what it stood for."""
    stage = Stage(state)
    kinds = stage.give(DROP, CatalogOperation(ALTER_ALIAS, 6, {"alias": "a"}))
    assert kinds == [DROP_COLLECTION, DROP_COLLECTION, DROP_ALIAS]
    assert stage.asked == [("DropAlias", "a")]
    assert stage.told == [CollectionDropped(445), AliasMoved(("default", "a"), None)]
