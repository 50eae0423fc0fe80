"""Who has which name at the target: collections and aliases share them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cdc_actors.tasks import DROP_ALIAS, RENAME_COLLECTION
from cdc_actors.tasks.details import AliasDetail, RenameDetail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.collection_table import Collection, CollectionTable
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.pipeline.work import CatalogOperation
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import CollectionEntry, TaskSpec


class TargetNames:
    """The names that one run has at the target. The reader's thread.

    ``_names_under_way`` and ``_aliases_under_way`` are names that a collection is about
    to get as its own, or as an alias: an operation that gives it is under way. One that
    is renamed to and fro may be about to get a name more than once: ``_renames_to``.
    """

    def __init__(
        self,
        spec: TaskSpec,
        reservations: TaskReservations,
        collections: CollectionTable,
    ) -> None:
        self._spec = spec
        self._reservations = reservations
        self._collections = collections
        self._names_under_way: dict[FullName, int] = {}
        self._renames_to: Counter[FullName] = Counter()
        self._aliases_under_way: dict[FullName, int] = {}
        self._aliases: dict[FullName, int] = {}

    def restore(self, aliases: Mapping[FullName, int]) -> None:
        """Know what earlier runs brought to the target: aliases, renames half done."""
        for (_, alias), collection_id in aliases.items():
            if collection := self._collections.get(collection_id):
                name = self.target_name(collection.entry)[0], alias
                self._aliases[name] = collection_id
        for collection in self._collections:
            if begun := collection.entry.renaming:
                name = self._spec.target_name(*begun.new_name)
                self._names_under_way[name] = collection.entry.collection_id

    def target_name(self, entry: CollectionEntry) -> FullName:
        """Return what the target calls a collection."""
        return self._spec.target_name(entry.database, entry.name)

    def named(self, name: FullName) -> list[Collection]:
        """Return the collections that are, or are to be, called so at the target."""
        return [c for c in self._collections if name in self._names_of(c.entry)]

    def _names_of(self, entry: CollectionEntry) -> tuple[FullName, ...]:
        """Return what a collection and its shadow, if it has one, are called."""
        own = self._spec.shadow_names(entry) if entry.shadow else ()
        return self.target_name(entry), *own

    def still_named(self, entry: CollectionEntry, meta: CollectionMeta | None) -> bool:
        """Tell whether the source has a collection, and calls it what the target does."""
        if meta is None or meta.dropping:
            return False
        name = self._spec.target_name(meta.database, meta.name)
        return name == self.target_name(entry)

    def is_shared(self, database: str) -> bool:
        """Tell whether another database's collections are in this one at the target."""
        shared = self._spec.target_database(database)
        entries = [collection.entry for collection in self._collections]
        foreign = [each for each in entries if each.database != database]
        return any(self.target_name(each)[0] == shared for each in foreign)

    def holders(self, entry: CollectionEntry) -> set[int | FullName]:
        """Return the collections, by id, and the alias that have a collection's name.

        One that is about to get the name has it.
        """
        name = self.target_name(entry)
        found: set[int | FullName] = {c.entry.collection_id for c in self.named(name)}
        if name in self._names_under_way:
            found.add(self._names_under_way[name])
        found.discard(entry.collection_id)
        is_alias = name in self._aliases or name in self._aliases_under_way
        return found | {name} if is_alias else found

    def owner(self, holder: int | FullName) -> int | None:
        """Return the collection behind what ``holders`` returned."""
        if isinstance(holder, int):
            return holder
        return self._aliases.get(holder, self._aliases_under_way.get(holder))

    def try_reserve(self, collection: Collection, work: CatalogOperation) -> bool:
        """Reserve the name at the target that a rename gives; tell whether it is free.

        No other collection may have it, nor an alias or another task the new name of a
        collection, nor may an alias or a collection be about to get it. An alias needs no
        reservation, and what gives no name is always free.
        """
        name = self._name_of(collection, work)
        if name is None:
            return True
        own = collection.entry.collection_id
        if (
            name in self._aliases_under_way
            or self._names_under_way.get(name, own) != own
        ):
            return False
        if self.holder_for(collection, work) is not None:
            return False
        if work.kind != RENAME_COLLECTION:
            return True
        return name not in self._aliases and self._reservations.reserve(name) is None

    def holder_for(self, collection: Collection, work: CatalogOperation) -> int | None:
        """Return the other collection that has the name which an operation gives."""
        name = self._name_of(collection, work)
        if name is None or work.kind == DROP_ALIAS:
            return None
        others = [each for each in self.named(name) if each is not collection]
        return others[0].entry.collection_id if others else None

    def held_elsewhere(self, collection: Collection, work: CatalogOperation) -> str:
        """Say which other task has the name that a rename is to give, if one has."""
        name = self._name_of(collection, work)
        task_id = self._reservations.held_by_another(name) if name else None
        if name is None or task_id is None:
            return ""
        return (
            f"{'.'.join(name)} at the target, which a collection of task {task_id} is"
        )

    def is_superseded(self, collection: Collection, work: CatalogOperation) -> bool:
        """Tell whether a newer collection has been given the name meanwhile."""
        holder = self._collections.get(self.holder_for(collection, work) or 0)
        return holder is not None and holder.entry.created > work.timestamp

    def note_under_way(self, collection: Collection, work: CatalogOperation) -> None:
        """Know that an operation that gives a name, or an alias, is under way."""
        name = self._name_of(collection, work)
        if name is not None:
            is_alias = isinstance(work.detail, AliasDetail)
            pending = self._aliases_under_way if is_alias else self._names_under_way
            pending[name] = collection.entry.collection_id
            self._renames_to[name] += not is_alias

    def renamed(self, earlier: CollectionEntry, now: CollectionEntry) -> None:
        """Know that a collection has the name that it was about to get."""
        name = self.target_name(now)
        self._renames_to[name] -= 1
        if self._renames_to[name] <= 0:
            del self._renames_to[name]
            self._names_under_way.pop(name, None)
        self._release(self.target_name(earlier))

    def dropped(self, entry: CollectionEntry) -> None:
        """Leave to others the names of a collection that is dropped."""
        self.withdraw_names(entry.collection_id)
        self._release(self.target_name(entry))

    def withdraw_names(self, collection_id: int) -> None:
        """Know that a collection does not get another name any more."""
        for name in tuple(self._names_under_way):
            self.withdraw_name(collection_id, name)

    def withdraw_name(self, collection_id: int, name: FullName) -> None:
        """Know that a collection does not get a name, if it was about to."""
        if self._names_under_way.get(name) == collection_id:
            del self._names_under_way[name], self._renames_to[name]
            self._release(name)

    def _release(self, name: FullName) -> None:
        """Leave a name to other tasks, unless a collection here has it or waits for it."""
        if not self.named(name) and name not in self._names_under_way:
            self._reservations.release(name)

    def point(self, alias: FullName, collection_id: int | None) -> None:
        """Know what an alias stands for now; None is for nothing."""
        self._aliases_under_way.pop(alias, None)
        if collection_id is None:
            self._aliases.pop(alias, None)
        else:
            self._aliases[alias] = collection_id

    def aliases_of(self, collection_id: int) -> list[FullName]:
        """Return the aliases that stand for a collection, and not soon for another."""
        settled = self._aliases.keys() - self._aliases_under_way.keys()
        return [alias for alias in settled if self._aliases[alias] == collection_id]

    def collection_of_alias(self, database: str, alias: str) -> Collection | None:
        """Return what an alias of a database of the source stands for at the target."""
        for (_, name), owner in self._aliases.items():
            collection = self._collections.get(owner)
            if name == alias and collection and collection.entry.database == database:
                return collection
        return None

    def _name_of(
        self, collection: Collection, work: CatalogOperation
    ) -> FullName | None:
        match work.detail:
            case RenameDetail(new_name):
                return self._spec.target_name(*new_name)
            case AliasDetail(alias):
                return self.target_name(collection.entry)[0], alias
            case _:
                return None
