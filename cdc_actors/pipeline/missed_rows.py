"""Collections that come to be selected when rows of them were read and not taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline.collection_table import Status

if TYPE_CHECKING:
    from cdc_actors.pipeline.collection_table import CollectionTable
    from cdc_actors.pipeline.subscriptions import Subscriptions
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import TaskSpec


@dataclass(frozen=True, slots=True)
class MissedRows:
    """Tells of the collections of one run. The reader's thread."""

    spec: TaskSpec
    collections: CollectionTable
    subscriptions: Subscriptions

    def __call__(self, meta: CollectionMeta) -> RowsLostError | None:
        """Return why the log does not bring all of a collection; None if it does."""
        status = self.collections.status(meta.id)
        if status is not None and status is not Status.SKIPPED:
            return None
        name = f"{meta.database}.{meta.name}"
        if status is Status.SKIPPED or self._went_by(meta):
            return RowsLostError(
                f"rows of {name} under names that are not selected are not replicated"
            )
        if self.subscriptions.begin_too_late(meta.id):
            return RowsLostError(
                f"the log is read from a place on that is newer than the beginning of "
                f"{name}, which was not selected then: its rows are not replicated"
            )
        return None

    def _went_by(self, meta: CollectionMeta) -> bool:
        """Tell whether earlier runs read rows of a collection under another name.

        A channel may also be beyond the creation: another held it back: see
        ``Adoption.create``.
        """
        read = self.subscriptions.read(meta.channels)
        applied = [self.collections.floors.applied(meta.id, each) for each in read]
        passed = [until for until in applied if until > meta.created]
        everywhere = len(passed) == len(read)
        return bool(passed) and (everywhere or self._was_hidden(meta, max(passed)))

    def _was_hidden(self, meta: CollectionMeta, until: int) -> bool:
        """Tell whether a collection had a name that is not selected."""
        names = [each for each in meta.names if each.since <= until]
        return not all(self.spec.selects(each.database, each.name) for each in names)
