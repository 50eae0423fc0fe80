"""Who has which name at the target: collections and aliases share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.tasks import DROP_ALIAS, RENAME_COLLECTION
from cdc_actors.tasks.details import AliasDetail, RenameDetail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.collection import Collection
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.pipeline.work import CatalogOperation
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import CollectionEntry, TaskSpec


class TargetNames:
    """The names that one stream has at the target. The reader's thread."""

    def __init__(
        self,
        spec: TaskSpec,
        shared: TaskReservations,
        collections: Mapping[int, Collection],
    ) -> None:
        """``shared`` are all tasks' names, ``collections`` the router's."""
        self._spec = spec
        self._shared = shared
        self._collections = collections
        self._moving: dict[FullName, int] = {}
        self._coming: dict[FullName, int] = {}
        self._aliases: dict[FullName, int] = {}

    def restore(self, aliases: Mapping[FullName, int]) -> None:
        """Know what earlier runs brought to the target: aliases, renames half done."""
        for (_, alias), collection_id in aliases.items():
            if collection := self._collections.get(collection_id):
                there = self.there(collection.entry)[0], alias
                self._aliases[there] = collection_id
        for collection in self._collections.values():
            if begun := collection.entry.renaming:
                there = self._spec.target_name(*begun.new_name)
                self._coming[there] = collection.entry.collection_id

    def there(self, entry: CollectionEntry) -> FullName:
        """Return what the target calls a collection."""
        return self._spec.target_name(entry.database, entry.name)

    def alike(self, entry: CollectionEntry) -> list[CollectionEntry]:
        """Return the collections that are called at the target as this one is to be."""
        others = [collection.entry for collection in self._collections.values()]
        return [each for each in others if self.there(each) == self.there(entry)]

    def stays(self, entry: CollectionEntry, meta: CollectionMeta) -> bool:
        """Tell whether the source still calls a collection what the target does."""
        return self._spec.target_name(meta.database, meta.name) == self.there(entry)

    def holders(self, entry: CollectionEntry) -> set[int | FullName]:
        """Return the collections, by id, and the alias that have a collection's name.

        One that is about to get the name has it.
        """
        found: set[int | FullName] = {each.collection_id for each in self.alike(entry)}
        name = self.there(entry)
        if name in self._coming:
            found.add(self._coming[name])
        found.discard(entry.collection_id)
        return found | {name} if name in {*self._aliases, *self._moving} else found

    def owner(self, holder: int | FullName) -> int | None:
        """Return the collection behind what ``holders`` returned."""
        if isinstance(holder, int):
            return holder
        return self._aliases.get(holder, self._moving.get(holder))

    def is_free_for(self, collection: Collection, work: CatalogOperation) -> bool:
        """Tell whether the name at the target that an operation is about can be had.

        No other collection may have it, nor an alias or another task the new name of a
        collection, nor may an alias or a collection be about to get it.
        """
        name = self._name_of(collection, work)
        if name is None:
            return True
        own = collection.entry.collection_id
        if name in self._moving or self._coming.get(name, own) != own:
            return False
        if self.holder_for(collection, work) is not None:
            return False
        if work.kind != RENAME_COLLECTION:
            return True
        return name not in self._aliases and self._shared.take(name) is None

    def holder_for(self, collection: Collection, work: CatalogOperation) -> int | None:
        """Return the other collection that has the name which an operation gives."""
        name = self._name_of(collection, work)
        if name is None or work.kind == DROP_ALIAS:
            return None
        others = [c.entry for c in self._collections.values() if c is not collection]
        found = [each for each in others if self.there(each) == name]
        return found[0].collection_id if found else None

    def held_elsewhere(self, collection: Collection, work: CatalogOperation) -> str:
        """Say which other task has the name that a rename is to give, if one has."""
        name = self._name_of(collection, work)
        task_id = self._shared.held_by_another(name) if name else None
        if name is None or task_id is None:
            return ""
        return (
            f"{'.'.join(name)} at the target, which a collection of task {task_id} is"
        )

    def is_outdated(self, collection: Collection, work: CatalogOperation) -> bool:
        """Tell whether a newer collection has been given the name meanwhile."""
        holder = self._collections.get(self.holder_for(collection, work) or 0)
        return holder is not None and holder.entry.created > work.timestamp

    def renamed(self, earlier: CollectionEntry, now: CollectionEntry) -> None:
        """Know that a collection has the name that it was about to get."""
        self._coming.pop(self.there(now), None)
        self._let_go(self.there(earlier))

    def ended(self, entry: CollectionEntry) -> None:
        """Leave to others the name of a collection that is dropped."""
        self.kept(entry.collection_id)
        self._let_go(self.there(entry))

    def kept(self, collection_id: int) -> None:
        """Know that a collection gets no other name any more."""
        lost = [name for name, to in self._coming.items() if to == collection_id]
        for name in lost:
            del self._coming[name]
            self._let_go(name)

    def _let_go(self, name: FullName) -> None:
        """Leave a name to other tasks, unless a collection here has it or waits for it."""
        others = [collection.entry for collection in self._collections.values()]
        if all(self.there(each) != name for each in others):
            self._shared.free(name)

    def take(self, collection: Collection, work: CatalogOperation) -> None:
        """Know that an operation that gives a name, or an alias, is under way."""
        name = self._name_of(collection, work)
        if name is not None:
            under_way = (
                self._moving if isinstance(work.detail, AliasDetail) else self._coming
            )
            under_way[name] = collection.entry.collection_id

    def point(self, alias: FullName, collection_id: int | None) -> None:
        """Know what an alias stands for now; None is for nothing."""
        self._moving.pop(alias, None)
        if collection_id is None:
            self._aliases.pop(alias, None)
        else:
            self._aliases[alias] = collection_id

    def aliases_of(self, collection_id: int) -> list[FullName]:
        """Return the aliases that stand for a collection, and not soon for another."""
        standing = self._aliases.keys() - self._moving.keys()
        return [alias for alias in standing if self._aliases[alias] == collection_id]

    def behind(self, database: str, alias: str) -> Collection | None:
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
                return self.there(collection.entry)[0], alias
            case _:
                return None
