"""What a reader gives an applier to do, and what actors of one task tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc_actors.replication.barriers import Piece, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import Checkpoint, Definition, Request
    from cdc_actors.errors import CdcError
    from cdc_actors.replication.progress import Mark
    from cdc_actors.tasks import CollectionEntry, FullName, Operation


@dataclass(frozen=True, slots=True)
class Create:
    """Bring the applier's collection into being at the target."""

    definition: Definition
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Ask the target what a client asked of the source."""

    request: Request
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class CreatePartition:
    """Bring a partition into being at the target; the catalog alone tells of it."""

    name: str
    timestamp: int
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """Do at the target what the catalog told of; fields as in ``Operation``."""

    kind: str
    timestamp: int
    detail: dict[str, Any]
    marks: tuple[Mark, ...] = ()


Work = Piece | Step | Create | Repeat | CreatePartition | Told


@dataclass(frozen=True, slots=True)
class WorkArrived:
    """To an applier: its inbox is no longer empty."""


@dataclass(frozen=True, slots=True)
class ReadOn:
    """To a reader, from itself: take the next step."""


@dataclass(frozen=True, slots=True)
class CollectionEnded:
    """To a reader: the collection's drop is done at the target."""

    collection_id: int


@dataclass(frozen=True, slots=True)
class CollectionRenamed:
    """To a reader: the collection has another name, here and at the target."""

    collection_id: int
    database: str
    name: str


@dataclass(frozen=True, slots=True)
class NameKept:
    """To a reader: the target does not give the collection, set aside, another name."""

    collection_id: int


@dataclass(frozen=True, slots=True)
class AliasPointed:
    """To a reader: an alias of the target stands for the collection, or for none."""

    alias: FullName
    collection_id: int | None


@dataclass(frozen=True, slots=True)
class CollectionStopped:
    """To a reader: the collection is set aside; nothing of it is to be sent any more."""

    collection_id: int


@dataclass(frozen=True, slots=True)
class BeginOperation:
    """To a task: write down that an operation begins; answered when that is durable."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class RecordOperation:
    """To a task: write down that an operation is done; answered when that is durable."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class RecordSetAside:
    """To a task: write down that a collection cannot go on, and why."""

    entry: CollectionEntry
    error: CdcError


@dataclass(frozen=True, slots=True)
class ReadingBegins:
    """To a task: channels are read from these checkpoints on; answered when durable."""

    stream: int
    starts: Mapping[str, Checkpoint]
    why: str


@dataclass(frozen=True, slots=True)
class MoveFence:
    """To a task: a channel's changes up to ``sent`` may now reach the target."""

    stream: int
    channel: str
    sent: int


@dataclass(frozen=True, slots=True)
class StreamProgressed:
    """To a task: where the stream is. ``confirmed`` is a hybrid timestamp, or None.

    ``waits`` says by collection id why what the source did to some is not done yet.
    """

    stream: int
    checkpoints: Mapping[str, Checkpoint]
    confirmed: int | None
    rows: int
    behind: bool
    waits: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """To a task: a reader or an applier of the stream cannot go on."""

    stream: int
    error: CdcError
