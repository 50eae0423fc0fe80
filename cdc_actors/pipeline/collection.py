"""One collection of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.work_queue import WorkQueue

if TYPE_CHECKING:
    from pykka import ActorRef

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.work import Work
    from cdc_actors.replication.barriers import ShardBarriers
    from cdc_actors.tasks import CollectionEntry


@dataclass(slots=True, eq=False)
class Collection:
    """What is known of it, what waits for it, and its applier once there is work.

    ``channels`` are the physical channels of its shards. The reader's thread.
    """

    entry: CollectionEntry
    lanes: ShardBarriers
    exists: bool
    waits_for: set[int | FullName] = field(default_factory=set)
    backlog: list[Work] = field(default_factory=list)
    queue: WorkQueue = field(default_factory=WorkQueue)
    applier: ActorRef[Any] | None = None
    channels: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.channels = channels_of(self.entry.shards)
