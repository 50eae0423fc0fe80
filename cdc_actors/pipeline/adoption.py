"""Which collections of the source's catalog come to be the task's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline.definitions import excluded_entry_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.pipeline.router import Router
    from cdc_actors.pipeline.subscriptions import Subscriptions
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import TaskSpec


class Adoption:
    """Has the channels of selected collections read. The reader's thread.

    The log tells of them a second time; whichever tells first, all channels are read.
    """

    def __init__(
        self, router: Router, subscriptions: Subscriptions, spec: TaskSpec
    ) -> None:
        self._router = router
        self._subscriptions = subscriptions
        self._spec = spec

    def adopt(self, found: Iterable[CollectionMeta], why: str = "") -> None:
        """Read what is new and selected; leave out, visibly, what cannot be had.

        ``why`` as in ``Subscriptions.add``.
        """
        new: dict[int, CollectionMeta] = {}
        for meta in filter(self._is_selected, found):
            if self._router.has_missed(meta):
                name = f"{meta.database}.{meta.name}"
                self._leave_out(
                    meta,
                    RowsLostError(
                        f"rows of {name} under names that are not selected are not "
                        "replicated"
                    ),
                )
            elif not self._router.knows(meta.id):
                new[meta.id] = meta
        for collection_id, error in self._subscriptions.add(new.values(), why).items():
            self._leave_out(new[collection_id], error)

    def _is_selected(self, meta: CollectionMeta) -> bool:
        return meta.available and self._spec.selects(meta.database, meta.name)

    def _leave_out(self, meta: CollectionMeta, error: RowsLostError) -> None:
        self._router.leave_out(excluded_entry_of(meta), error)
