"""A collection that is brought anew beside what the target serves: its shadow.

Rows go into the shadow, from files and then from the log, while readers have the
collection as it was when that began. Once the shadow has all that the source has it takes
the place. First the aliases are moved to it, each in one step. Then the old collection
gets a parting name and the shadow the real one: no Milvus exchanges two names, so that for
a moment nothing has it. The old one is dropped a while later: who has begun to read it
goes on to the end.

What is left to do is seen at the target, so that all of it may be done again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import (
    AccessRefusedError,
    CollectionError,
    OperationRefusedError,
)
from cdc_actors.pipeline.claims import is_marked
from cdc_actors.target import collections, loads, renames, requests
from cdc_actors.target.aliases import aliases_of, set_alias
from cdc_actors.target.proxies import refresh
from cdc_actors.tasks import LOAD_COLLECTION

if TYPE_CHECKING:
    from cdc_actors.changes import FullName
    from cdc_actors.marks import Mark
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, TaskSpec


class Shadow:
    """One collection at the target, and its shadow, if there is one.

    Methods raise ``CdcError`` where the target does not answer, or refuses.
    """

    def __init__(
        self, target: Connection, spec: TaskSpec, entry: CollectionEntry, mark: Mark
    ) -> None:
        """``mark`` is what both have, if they are this task's."""
        self._target = target
        self._mark = mark
        self._served = spec.target_name(entry.database, entry.name)
        self._shadow, self._parting = spec.shadow_names(entry)
        self._loaded = bool(entry.exchange and entry.exchange.detail["loaded"])

    def is_served(self) -> bool:
        """Tell whether there is a collection whose place the shadow is to take.

        Raises:
            CollectionError: What has its name is not this task's.
        """
        if not self._is_there(self._served):
            return False
        if not is_marked(self._target, self._mark, self._served):
            raise CollectionError(
                f"{'.'.join(self._served)} at the target stays, as it has no mark of this "
                f"task: drop or rename it there, then `retry` {self._mark.source}"
            )
        return True

    def check_way(self) -> None:
        """See that a shadow may take the place of what is served, before it is filled.

        Raises:
            CollectionError: Another collection has one of its names, or the task's user may
                not rename.
        """
        served = ".".join(self._served)
        for name in filter(self._is_there, (self._shadow, self._parting)):
            raise CollectionError(
                f"{'.'.join(name)} at the target is another collection, and {served} needs "
                "that name while a shadow takes its place: rename it, at the source if it "
                f"comes from there, then `retry` {self._mark.source}; or `resync` that "
                "without a shadow"
            )
        try:
            renames.check_permission(self._target, self._parting, self._served)
        except AccessRefusedError as refusal:
            raise CollectionError(
                f"no shadow can take the place of {served} at the target: {refusal}. Grant "
                f"it, then `retry` {self._mark.source}; or `resync` that without a shadow"
            ) from refusal

    def abandon(self) -> None:
        """Leave at the target what there would be without a shadow."""
        if self._is_ours(self._parting) and not self._is_there(self._served):
            self._rename(self._parting, self._served)
        if self._is_ours(self._shadow) and self._is_there(self._served):
            self._move_aliases(self._shadow, self._served)
        self._drop(self._shadow)
        self._drop(self._parting)

    def drop_all(self) -> None:
        """Drop the collection with its shadow, as far as they are this task's."""
        for name in (self._served, self._shadow, self._parting):
            self._drop(name)

    def follow(self, moved: Shadow) -> None:
        """Go to another database of the target, where the collection has gone."""
        if self._shadow != moved._shadow and self._is_ours(self._shadow):
            self._rename(self._shadow, moved._shadow)

    def is_served_loaded(self) -> bool:
        """Tell whether readers may have the collection now."""
        return self.is_served() and loads.is_loaded(self._target, *self._served)

    def is_ready(self) -> bool:
        """Tell whether readers of the shadow see all that was written into it.

        It is loaded where the collection is.
        """
        if loads.is_loading(self._target, *self._shadow):
            return False
        if loads.is_loaded(self._target, *self._shadow):
            loads.wait_for_readers(self._target, *self._shadow)
            return True
        if self.is_served_loaded():
            self._load()
            return False
        return True

    def _load(self) -> None:
        try:
            requests.issue(self._target, LOAD_COLLECTION, self._shadow, {})
        except OperationRefusedError as refusal:
            shown, served = ".".join(self._shadow), ".".join(self._served)
            raise CollectionError(
                f"{shown}, which is to take the place of {served} at the target, cannot be "
                f"loaded, as that is: {refusal}. Release {served}, or make an index at the "
                "source, then `retry`"
            ) from refusal

    def take_place(self) -> None:
        """Have readers get the shadow, from the beginning on or from where that ended."""
        if self._is_there(self._shadow) and self.is_served():
            # Aliases and the name are to show the same, whatever is granted.
            renames.check_permission(self._target, self._parting, self._served)
            self._move_aliases(self._served, self._shadow)
            self._rename(self._served, self._parting)
        if self._is_there(self._shadow) or self._is_there(self._served):
            self._rename(self._shadow, self._served)
        if self._is_ours(self._parting):
            self._turn_readers()

    def _turn_readers(self) -> None:
        """Have nobody take an old name for what was replaced, which is to be dropped.

        A Milvus has its proxies forget a name, or an alias, before it means another
        collection: who asks in between keeps the old meaning (2.3.5 ``internal/rootcoord``,
        ``rename_collection_task.go``, ``alter_alias_task.go``). When a property is altered
        they forget the collection afterwards, whatever they call it.
        """
        refresh(self._target, *self._parting)

    def drop_replaced(self) -> None:
        """Drop what the shadow has replaced."""
        self._drop(self._parting)

    def _move_aliases(self, old: FullName, new: FullName) -> None:
        for alias in aliases_of(self._target, *old):
            set_alias(self._target, *new, alias)

    def _rename(self, old: FullName, new: FullName) -> None:
        loaded = self._loaded and new == self._served
        renames.rename_collection(self._target, old, new, loaded=loaded)

    def _drop(self, name: FullName) -> None:
        if self._is_ours(name):
            collections.drop_collection(self._target, *name)

    def _is_ours(self, name: FullName) -> bool:
        return is_marked(self._target, self._mark, name)

    def _is_there(self, name: FullName) -> bool:
        return collections.describe(self._target, *name) is not None
