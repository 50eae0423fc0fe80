"""What an applier is given in an order that no server brings about when it is wanted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.actors.applier import Applier
from cdc_actors.actors.inbox import Inbox
from cdc_actors.actors.work import (
    AliasPointed,
    BeginOperation,
    CollectionEnded,
    RecordOperation,
    Repeat,
    Told,
    WorkArrived,
)
from cdc_actors.changes import DropCollection, Request
from cdc_actors.replication.barriers import Step
from cdc_actors.tasks import (
    CREATE_ALIAS,
    DROP_COLLECTION,
    RENAME_COLLECTION,
    CollectionState,
)
from tests.support.tasks import SPEC, entry

LATE = [
    Told(RENAME_COLLECTION, 5, {"to_database": "default", "to_name": "b"}),
    Told(CREATE_ALIAS, 6, {"alias": "a"}),
    Repeat(Request("Flush", 7, "default", ("a",), b""), ()),
]


@pytest.mark.parametrize("state", [CollectionState.LIVE, CollectionState.SET_ASIDE])
def test_nothing_is_done_to_a_collection_that_was_dropped(
    state: CollectionState,
) -> None:
    """What was told before the drop and is given after it leaves no trace."""
    recorded, told, inbox = [], [], Inbox()
    stream = SimpleNamespace(
        stopping=False,
        guard=lambda step: step(),
        record=recorded.append,
        release=lambda _marks, _rows=0: None,
        budget=SimpleNamespace(let_go=lambda _size: None),
    )
    reader = SimpleNamespace(tell=told.append)
    key = schema_pb2.FieldSchema(name="id", fieldID=100, is_primary_key=True)
    schema = schema_pb2.CollectionSchema(fields=[key]).SerializeToString()
    known = entry(445, state=state, schema=schema)
    target = SimpleNamespace(is_lite=False)
    applier = Applier(known, stream, target, inbox, reader, SPEC, exists=False)
    for item in (Step(DropCollection(445, 8, "a"), ()), *LATE):
        inbox.put(item)
    applier.on_receive(WorkArrived())
    assert [type(each) for each in recorded] == [BeginOperation, RecordOperation]
    assert {each.operation.kind for each in recorded} == {DROP_COLLECTION}
    assert told == [CollectionEnded(445), AliasPointed(("default", "a"), None)]
