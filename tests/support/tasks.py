"""Building blocks for tests of tasks."""

from __future__ import annotations

from cdc_actors.changes import Checkpoint, Position
from cdc_actors.pipeline.claims import Claimant
from cdc_actors.tasks import CollectionEntry, ConnectParam, Task, TaskSpec, Who

CLIENT = Who(kind="client", address="192.0.2.7", token_name="ops")
SUPERVISOR = Who(kind="supervisor")
CLAIMANT = Claimant("5107e", "7a5c", lambda _task: False)
SPEC = TaskSpec(
    target=ConnectParam(uri="http://target:19530"),
    token="root:Milvus",
    collection_infos=("*",),
)


def new_task(**changes) -> Task:
    """Return a task that is not saved yet."""
    return Task.create(
        **({"spec": SPEC, "secret": "c2VjcmV0", "who": CLIENT, "why": "test"} | changes)
    )


def checkpoint(channel: str = "by-dev-rootcoord-dml_0", tick: int = 7) -> Checkpoint:
    """Return a checkpoint whose position follows from its tick."""
    position = Position(channel, tick.to_bytes(8, "little"), str(tick))
    return Checkpoint(position=position, inclusive=False, tick=tick)


def entry(collection_id: int = 445, **changes) -> CollectionEntry:
    """Return a live collection."""
    fields = {
        "collection_id": collection_id,
        "database": "default",
        "name": f"c{collection_id}",
        "schema": b"\x0a\x01c\xff",
        "shards": (f"by-dev-rootcoord-dml_0_{collection_id}v0",),
        "created": 1000,
    }
    return CollectionEntry(**(fields | changes))
