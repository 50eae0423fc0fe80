"""Operations from beside the log, held until the rows before them are on their way.

The replicate channel carries clients' requests in order but no ticks; the catalog tells
what happened and when. An operation of time T is given to its collection once every
channel of the collection is released up to T, so that it stands behind all rows that are
older, and once the name that it needs at the target is free.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cdc_actors.pipeline.work import CatalogOperation
from cdc_actors.tasks import DROP_ALIAS, RENAME_COLLECTION
from cdc_actors.tasks.details import RenameDetail

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Mapping

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.channels import Channels
    from cdc_actors.pipeline.collection import Collection
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.router import Router
    from cdc_actors.pipeline.work import OutOfBandWork


@dataclass(frozen=True, slots=True)
class _Parked:
    """``owner`` is the id of the collection."""

    work: OutOfBandWork
    timestamp: int
    owner: int
    alias: FullName | None

    @property
    def lines(self) -> set[Hashable]:
        """What it stands in line for: operations on one thing are done in order."""
        return {self.owner, self.alias} if self.alias else {self.owner}


class PendingOperations:
    """The operations of one stream that wait for their time. The reader's thread."""

    def __init__(self, context: RunContext, router: Router, channels: Channels) -> None:
        self._context = context
        self._router = router
        self._channels = channels
        self._parked: list[_Parked] = []
        self._untied: set[int] = set()

    def add(
        self,
        work: OutOfBandWork,
        timestamp: int,
        owner: int,
        alias: FullName | None = None,
    ) -> None:
        """Park an operation behind those of its owner or alias that are not newer."""
        parked = _Parked(work, timestamp, owner, alias)
        bisect.insort(self._parked, parked, key=lambda each: each.timestamp)

    def take_back(self, owner: int, kinds: Container[str]) -> None:
        """Forget what the catalog told of a collection and has not been given out."""
        self._parked = [
            each
            for each in self._parked
            if not (
                each.owner == owner
                and isinstance(each.work, CatalogOperation)
                and each.work.kind in kinds
            )
        ]

    def advance(self) -> None:
        """Give out every operation whose time has come, in order for each owner."""
        waiting, self._parked = self._parked, []
        held: set[Hashable] = set()
        for parked in waiting:
            if parked.lines & held or not self._give(parked):
                held |= parked.lines
                self._parked.append(parked)
        self._untie()

    def waits(self) -> dict[int, str]:
        """Return why collections keep their old names for now, by id.

        Another task holds the new name, and nobody but an operator may ever free it.
        """
        found: dict[int, str] = {}
        for owner, held_up in filter(None, map(self._rename_held_up, self._parked)):
            if holder := self._router.names.held_elsewhere(*held_up):
                found.setdefault(owner, f"renamed at the source; waits to be {holder}")
        return found

    def is_due(self, collection: Collection, timestamp: int) -> bool:
        """Tell whether everything up to a time is on its way to the collection."""
        return all(
            self._channels.tick(channel) >= timestamp for channel in collection.channels
        )

    def _give(self, parked: _Parked) -> bool:
        """Hand an operation on if its time has come; tell whether it is settled."""
        work, owner = parked.work, parked.owner
        if self._router.is_gone(owner):
            self._context.release(work.checkpoints)
            return self._lose_alias(parked)
        collection = self._router.get(owner)
        if collection is None or not self.is_due(collection, parked.timestamp):
            return False
        if isinstance(work, CatalogOperation):
            return self._give_told(collection, work)
        self._router.give(collection, work)
        return True

    def _lose_alias(self, parked: _Parked) -> bool:
        """An alias that was moved to a collection which is gone stands for nothing."""
        work, alias = parked.work, parked.alias
        if alias is None or not isinstance(work, CatalogOperation):
            return True
        holder = self._router.names.behind(*alias)
        if holder is None:
            return True
        return self._give_told(holder, replace(work, kind=DROP_ALIAS))

    def _give_told(self, collection: Collection, work: CatalogOperation) -> bool:
        names = self._router.names
        if names.is_outdated(collection, work):
            return True
        free = names.is_free_for(collection, work)
        if free:
            self._untied.discard(collection.entry.collection_id)
            self._router.give_told(collection, work)
        return free

    def _untie(self) -> None:
        """Call one of a ring of collections otherwise for a while.

        Each of them is to have the name of the next, which a restart may find.
        """
        wants = dict(filter(None, map(self._rename_held_up, self._parked)))
        for collection, work in list(wants.values()):
            owner = collection.entry.collection_id
            if owner not in self._untied and self._comes_round(owner, wants):
                self._untied.add(owner)
                database, name = collection.entry.database, collection.entry.name
                detail = RenameDetail((database, f"{name}_{owner}"))
                between = CatalogOperation(RENAME_COLLECTION, work.timestamp, detail)
                self._router.give_told(collection, between)
                return

    def _rename_held_up(
        self, parked: _Parked
    ) -> tuple[int, tuple[Collection, CatalogOperation]] | None:
        """Return the collection and its rename if only a name is missing."""
        work, owner = parked.work, parked.owner
        if not isinstance(work, CatalogOperation) or work.kind != RENAME_COLLECTION:
            return None
        collection = self._router.get(owner)
        if collection is None or not self.is_due(collection, parked.timestamp):
            return None
        return owner, (collection, work)

    def _comes_round(
        self, owner: int, wants: Mapping[int, tuple[Collection, CatalogOperation]]
    ) -> bool:
        at = owner
        for _ in wants:
            holder = self._router.names.holder_for(*wants[at]) if at in wants else None
            if holder is None:
                return False
            at = holder
            if at == owner:
                return True
        return False
