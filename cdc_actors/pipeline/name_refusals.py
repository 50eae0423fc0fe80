"""Why a collection cannot have the name at the target that it is to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import CollectionError

if TYPE_CHECKING:
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.pipeline.target_names import TargetNames
    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.tasks import CollectionEntry

_KEEPS_NAME = "a collection that the target does not rename or drop"


class NameRefusals:
    """Finds out who keeps a name, here and in other tasks. The reader's thread."""

    def __init__(
        self,
        target_names: TargetNames,
        reservations: TaskReservations,
        catalog: Catalog,
    ) -> None:
        self._target_names = target_names
        self._reservations = reservations
        self._catalog = catalog

    def refusal(self, entry: CollectionEntry) -> CollectionError | None:
        """Return why a collection cannot have its name, None if it can: it is reserved."""
        holder = self._holder(entry)
        return self._error(entry, holder) if holder else None

    def kept(self, entry: CollectionEntry) -> CollectionError:
        """Return the error of one whose name the target does not let go of."""
        return self._error(entry, _KEEPS_NAME)

    def _error(self, entry: CollectionEntry, holder: str) -> CollectionError:
        remedy = "create a task whose name_mapping gives each a name of its own"
        if holder == _KEEPS_NAME:
            remedy = "rename or drop that one at the target"
        name = ".".join(self._target_names.target_name(entry))
        return CollectionError(
            f"{entry.database}.{entry.name} would be {name} at the target, which "
            f"{holder} is: {remedy}"
        )

    def _holder(self, entry: CollectionEntry) -> str | None:
        """Return what keeps the name.

        One that the source has dropped meanwhile, or renamed, only has to be waited for,
        and so has a shadow.
        """
        name = self._target_names.target_name(entry)
        for collection in self._target_names.named(name):
            other = collection.entry
            if collection.keeps_name:
                return _KEEPS_NAME
            is_shadow = self._target_names.target_name(other) != name
            is_same = (other.database, other.name) == (entry.database, entry.name)
            if not is_shadow and not is_same:
                meta = self._catalog.collection(other.collection_id)
                if self._target_names.still_named(other, meta):
                    return f"{other.database}.{other.name}"
        task_id = self._reservations.reserve(name)
        return f"a collection of task {task_id}" if task_id else None
