"""Operations that are not in the log, held until the rows before them are on their way.

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
    from cdc_actors.pipeline.collection_table import Collection
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.router import Router
    from cdc_actors.pipeline.work import OutOfBandWork

    Rename = tuple[Collection, CatalogOperation]


@dataclass(frozen=True, slots=True)
class _Deferred:
    """``owner`` is the id of the collection."""

    work: OutOfBandWork
    timestamp: int
    owner: int
    alias: FullName | None

    @property
    def queues(self) -> set[Hashable]:
        """Where it stands in line: operations on one thing are done in order."""
        return {self.owner, self.alias} if self.alias else {self.owner}


class PendingOperations:
    """The operations of one run that wait for their time. The reader's thread."""

    def __init__(self, context: RunContext, router: Router, channels: Channels) -> None:
        self._context = context
        self._router = router
        self._collections = router.collections
        self._target_names = router.target_names
        self._channels = channels
        self._deferred: list[_Deferred] = []
        self._out_of_cycle: set[int] = set()

    def defer(
        self,
        work: OutOfBandWork,
        timestamp: int,
        owner: int,
        alias: FullName | None = None,
    ) -> None:
        """Hold an operation behind those of its owner or alias that are not newer."""
        deferred = _Deferred(work, timestamp, owner, alias)
        bisect.insort(self._deferred, deferred, key=lambda each: each.timestamp)

    def withdraw(self, owner: int, kinds: Container[str]) -> None:
        """Forget operations of the catalog's on a collection that wait here."""
        self._deferred = [
            each
            for each in self._deferred
            if not (
                each.owner == owner
                and isinstance(each.work, CatalogOperation)
                and each.work.kind in kinds
            )
        ]

    def advance(self) -> None:
        """Give out every operation whose time has come, in order for each owner."""
        waiting, self._deferred = self._deferred, []
        held: set[Hashable] = set()
        for deferred in waiting:
            if held & deferred.queues or not self._give(deferred):
                held |= deferred.queues
                self._deferred.append(deferred)
        self._break_rename_cycle()

    @property
    def is_empty(self) -> bool:
        """Whether none is held here."""
        return not self._deferred

    def concerns(self, owner: int, until: int | None = None) -> bool:
        """Tell whether an operation on a collection is held here.

        Or one that is not newer than ``until``.
        """
        own = (each for each in self._deferred if each.owner == owner)
        return any(until is None or each.timestamp <= until for each in own)

    def waits(self) -> dict[int, str]:
        """Return why collections keep their old names for now, by id.

        Another task holds the new name, and nobody but an operator may ever free it.
        """
        found: dict[int, str] = {}
        for owner, rename in self._held_up_renames():
            if holder := self._target_names.held_elsewhere(*rename):
                found.setdefault(owner, f"renamed at the source; waits to be {holder}")
        return found

    def is_due(self, collection: Collection, timestamp: int) -> bool:
        """Tell whether everything up to a time is on its way to the collection."""
        return all(
            self._channels.tick(channel) >= timestamp for channel in collection.channels
        )

    def _give(self, deferred: _Deferred) -> bool:
        """Hand an operation on if its time has come; tell whether it is settled."""
        work, owner = deferred.work, deferred.owner
        if self._collections.is_ignored(owner):
            self._context.release(work.checkpoints)
            return self._lose_alias(deferred)
        collection = self._collections.get(owner)
        if collection is None or not self.is_due(collection, deferred.timestamp):
            return False
        if isinstance(work, CatalogOperation):
            return self._try_start(collection, work)
        self._router.deliver(collection, work)
        return True

    def _lose_alias(self, deferred: _Deferred) -> bool:
        """An alias that was moved to a collection which is gone stands for nothing."""
        work, alias = deferred.work, deferred.alias
        if alias is None or not isinstance(work, CatalogOperation):
            return True
        collection = self._target_names.collection_of_alias(*alias)
        if collection is None:
            return True
        return self._try_start(collection, replace(work, kind=DROP_ALIAS))

    def _try_start(self, collection: Collection, work: CatalogOperation) -> bool:
        if self._target_names.is_superseded(collection, work):
            return True
        is_free = self._target_names.try_reserve(collection, work)
        if is_free:
            self._out_of_cycle.discard(collection.entry.collection_id)
            self._router.deliver_operation(collection, work)
        return is_free

    def _break_rename_cycle(self) -> None:
        """Call one of a cycle of collections otherwise for a while.

        Each of them waits for the next: for its name, as a restart may find it, or behind
        it in the line of an alias.
        """
        wants = self._last_renames()
        for owner, (collection, work) in wants.items():
            if owner not in self._out_of_cycle and self._is_in_cycle(owner, wants):
                self._out_of_cycle.add(owner)
                database, name = collection.entry.database, collection.entry.name
                detail = RenameDetail((database, f"{name}_{owner}"))
                between = CatalogOperation(RENAME_COLLECTION, work.timestamp, detail)
                self._router.deliver_operation(collection, between)
                return

    def _last_renames(self) -> dict[int, Rename]:
        """Leave of each collection the last of its held up renames only, and return it.

        Another may have the name in between for good: its renames may be done by now.
        """
        held_up = self._held_up_renames()
        wants = dict(held_up)
        passed = [work for owner, (_, work) in held_up if wants[owner][1] is not work]
        self._deferred = [
            each for each in self._deferred if all(each.work is not w for w in passed)
        ]
        return wants

    def _held_up_renames(self) -> list[tuple[int, Rename]]:
        """Return the renames, by collection, to which only a name is missing."""
        found: list[tuple[int, Rename]] = []
        for each in self._deferred:
            work, collection = each.work, self._collections.get(each.owner)
            if not isinstance(work, CatalogOperation) or collection is None:
                continue
            is_rename = work.kind == RENAME_COLLECTION
            if is_rename and self.is_due(collection, each.timestamp):
                found.append((each.owner, (collection, work)))
        return found

    def _is_in_cycle(self, owner: int, wants: Mapping[int, Rename]) -> bool:
        at = owner
        for _ in wants:
            ahead = self._waits_for(at, wants[at]) if at in wants else None
            if ahead is None:
                return False
            at = ahead
            if at == owner:
                return True
        return False

    def _waits_for(self, owner: int, rename: Rename) -> int | None:
        """Return the collection without which another one's rename does not come.

        It has the name, or stands before the other in the line of an alias.
        """
        holder = self._target_names.holder_for(*rename)
        first: dict[FullName, int] = {}
        for each in self._deferred if holder is None else ():
            if each.alias is not None:
                before = first.setdefault(each.alias, each.owner)
                if each.owner == owner and before != owner:
                    return before
        return holder
