"""What one run of a task begins with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdc_actors.owned_time import FOREVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.config import SourceConfig
    from cdc_actors.owned_time import OwnedTime
    from cdc_actors.pipeline.claims import Claimant
    from cdc_actors.pipeline.owner_start import OwnerStart
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.rbac_rules import RbacRule
    from cdc_actors.tasks import (
        CollectionEntry,
        Operation,
        PastSelection,
        SourceIdentity,
        TaskSpec,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a reader is to do: from where, what, to where.

    What follows the reservations comes from earlier runs. Between a channel's checkpoint
    and its send horizon, changes may be at the target or not. ``unresolved`` are refused
    operations that still matter. ``segments_done`` are those of files, by collection, that
    are at the target. What ``reached`` means is said in ``TaskAttributes``.
    ``owner_start`` is None for a task that this owner of the store has created.
    ``owned`` tells for how long it surely is one.
    """

    source: SourceConfig
    task: TaskSpec
    token: str = field(repr=False)
    claimant: Claimant
    reservations: TaskReservations
    source_identity: SourceIdentity | None
    databases: Mapping[str, bool]
    database_properties: Mapping[str, Mapping[str, str]]
    entries: tuple[CollectionEntry, ...]
    aliases: Mapping[FullName, int]
    rbac_rules: frozenset[RbacRule]
    passwords: Mapping[str, str]
    unresolved: tuple[Operation, ...]
    refused_kinds: frozenset[str]
    reached: Mapping[str, Checkpoint]
    past_selections: tuple[PastSelection, ...]
    former: Mapping[FullName, CollectionEntry]
    checkpoints: Mapping[str, Checkpoint]
    send_horizons: Mapping[str, int]
    owner_start: OwnerStart | None
    segments_done: Mapping[int, frozenset[int]]
    owned: OwnedTime = FOREVER

    def former_of(self, entry: CollectionEntry) -> CollectionEntry | None:
        """Return another collection, which had one's name at the target and left."""
        name = self.task.target_name(entry.database, entry.name)
        found = self.former.get(name)
        is_same = found is None or found.collection_id == entry.collection_id
        return None if is_same else found
