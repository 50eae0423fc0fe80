"""What a task is: the attributes that its events set, and their types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.errors import FailureClass
    from cdc_actors.rbac_rules import RbacRule
    from cdc_actors.tasks.model import CollectionEntry, Import, Operation
    from cdc_actors.tasks.spec import PastSelection, TaskSpec
    from cdc_actors.tasks.unresolved import Unresolved


class TaskState(StrEnum):
    """What a task is meant to do. Whether it moves is its health, not its state."""

    RUNNING = "Running"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a task does not move.

    ``attempt`` counts the failures since ``since``, the first of them; ``next_try`` is
    None if nothing is tried again by itself.
    """

    error: str
    failure_class: FailureClass
    attempt: int
    next_try: datetime | None
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who asked for something: a client of the API, or the service itself.

    ``token_name`` is the name of an API token, never the token.
    """

    kind: Literal["client", "supervisor"]
    address: str | None = None
    token_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceIdentity:
    """Which Milvus a task replicates.

    ``created`` is when it was set up, as its catalog says: the creation time of its
    database ``default``, in nanoseconds since 1970. It stays over restarts and upgrades
    (seen from 2.2.16 and 2.3.0 to 2.3.5), and no two have the same but copies of one
    etcd. ``address`` is where its API was when the task first read it, for people only.
    """

    created: int
    address: str

    def __str__(self) -> str:
        """Return what tells it from others, for people."""
        return (
            f"Milvus set up at {set_up_at(self.created)}, which was at {self.address}"
        )


SUPERVISOR = Who(kind="supervisor")
"""The service itself, who asks for what no client asked for."""


def set_up_at(created: int) -> str:
    """Return a time in nanoseconds since 1970 as ISO 8601."""
    return datetime.fromtimestamp(created / 1e9, UTC).isoformat(timespec="milliseconds")


class TaskAttributes:
    """What events change in a task. ``Task`` adds the commands that trigger them.

    ``secret`` is the target's token, encrypted. ``databases`` says of each database by
    name whether its creation at the target is done, ``database_properties`` what each was
    given. ``state_since`` is when the task last was created, paused, resumed, updated, or
    recovered. ``collections`` are by id and include dropped ones, ``aliases`` are the ids
    of collections by database and alias.
    ``source_identity`` is None until a run has read the source, and for tasks of versions
    that did not note it. ``rbac_rules`` are rules of users, roles and grants at the
    target, ``passwords`` are fingerprints by user. Of ``refused`` operations ``refusals``
    are the newest, and ``unresolved`` those that still matter; ``acknowledged`` would
    matter if nobody had accepted them. ``refused_kinds`` are those of which the target does
    none, each with the operation that told. ``claims`` are the newest of another task on a
    collection, by its id. ``reached`` says by channel
    what every collection has that was not itself replayed since: channels may have been
    set back for one that was.
    ``past_selections`` are those before updates, oldest first. ``former`` are collections
    that left the task by an update, by the names under which the target may have them.
    ``early_imports`` are bulk imports by collection and id that were seen before the
    target had the collection.
    """

    spec: TaskSpec
    secret: str
    state: TaskState
    state_since: datetime
    deleted: bool
    reason: str | None
    source_identity: SourceIdentity | None
    failure: Failure | None
    databases: dict[str, bool]
    database_properties: dict[str, dict[str, str]]
    collections: dict[int, CollectionEntry]
    aliases: dict[tuple[str, str], int]
    rbac_rules: frozenset[RbacRule]
    passwords: dict[str, str]
    refusals: tuple[Operation, ...]
    refused: int
    unresolved: Unresolved
    acknowledged: Unresolved
    refused_kinds: dict[str, Operation]
    claims: dict[int, Operation]
    reached: dict[str, Checkpoint]
    past_selections: tuple[PastSelection, ...]
    former: dict[FullName, CollectionEntry]
    early_imports: dict[int, dict[int, Import]]
