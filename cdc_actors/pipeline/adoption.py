"""Which collections of the source come to be the task's, and which do not.

The catalog and the log both tell of a new collection; whichever tells first, all of its
channels are read from their beginnings on. It comes into being at the target where the log
says CreateCollection and the catalog knows it: Milvus (2.3.5) also logs creations that fail
or find it there already. By the time a tick has covered the message, the catalog has it if
it ever will: ticks wait for the DDL before them (rootcoord, ddl min timestamp).

A collection whose catalog entry is gone was dropped since; nothing of it is taken.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cdc_actors.errors import (
    CollectionError,
    FailureClass,
    PassedOverError,
    RowsLostError,
    TransientError,
)
from cdc_actors.pipeline.collection_table import Status
from cdc_actors.pipeline.creations import written_down
from cdc_actors.pipeline.definitions import (
    definition_of,
    entry_of,
    excluded_entry_of,
    renamed_away,
    written_elsewhere,
)
from cdc_actors.pipeline.file_choice import FileChoice
from cdc_actors.pipeline.missed_rows import MissedRows
from cdc_actors.pipeline.name_refusals import NameRefusals
from cdc_actors.pipeline.replay import beginning
from cdc_actors.pipeline.snapshot_starts import refuse_lost
from cdc_actors.pipeline.snapshot_worker import OF_ONE_COLLECTION
from cdc_actors.pipeline.work import CreateCollectionWork
from cdc_actors.source.wal.beginnings import not_held
from cdc_actors.tasks import CollectionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdc_actors.changes import DropPartition
    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.collection_table import Collection, CollectionTable
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.snapshots import Snapshots
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.pipeline.subscriptions import Subscriptions
    from cdc_actors.pipeline.target_names import TargetNames
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import CollectionEntry

_STATUS = {
    CollectionState.DROPPING: Status.DROPPING,
    CollectionState.SET_ASIDE: Status.SUSPENDED,
}

Creation = tuple["Collection", CreateCollectionWork]
"""A collection that the target is to create, and as what."""


class Adoption:
    """Decides about each collection that comes to be known. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        spec: RunSpec,
        sources: Sources,
        collections: CollectionTable,
        target_names: TargetNames,
        subscriptions: Subscriptions,
        snapshots: Snapshots,
    ) -> None:
        self._context = context
        self._spec = spec.task
        self._past_selections = spec.past_selections
        self._former_of = spec.former_of
        self._catalog = sources.catalog
        self._wal = sources.wal
        self._requests = spec.source.replicate_chan
        self._stood = {e.collection_id: e.stood for e in spec.entries}
        self._collections = collections
        self._target_names = target_names
        self._names = NameRefusals(target_names, spec.reservations, sources.catalog)
        self._subscriptions = subscriptions
        self._missed = MissedRows(self._spec, collections, subscriptions)
        self.snapshots = snapshots
        self._file_choice = FileChoice(sources, snapshots, subscriptions.beginnings)

    def restore(self, entry: CollectionEntry) -> Creation | None:
        """Know a collection from an earlier run; its channels are subscribed already.

        One that may exist at the target or not is created again, unless the source has
        dropped it since: then it is dropped.
        """
        if self._begins_anew(entry) or self._comes_from_files(entry):
            return None
        if entry.state is CollectionState.DROPPED or not entry.schema:
            self._collections.restore_ignored(entry)
            return None
        if entry.state is not CollectionState.CREATING:
            status = _STATUS.get(entry.state, Status.LIVE)
            self._add(entry, exists=True, status=status)
            return None
        meta = self._catalog.collection(entry.collection_id)
        if meta is None or meta.dropping:
            self._add(entry, exists=True, status=Status.DROPPING)
            return None
        begun = entry_of(meta).properties
        live = replace(entry, state=CollectionState.LIVE, properties=begun)
        return self._create(live, meta)

    def adopt(self, found: Iterable[CollectionMeta], why: str = "") -> None:
        """Read what is new and selected; exclude, visibly, what cannot be had.

        ``why`` as in ``Subscriptions.add``.
        """
        new: dict[int, CollectionMeta] = {}
        for meta in filter(self._is_selected, found):
            if self._passed_over(meta):
                self._exclude_passed_over(meta, why)
            elif missed := self._missed(meta):
                self._take_from_files(meta, missed, why)
            elif self._collections.status(meta.id) is not None:
                continue
            elif refusal := written_elsewhere(meta):
                self._collections.exclude(excluded_entry_of(meta), refusal)
            elif self._spec.positions_of(meta.shards):
                self._take(meta, partial(self.snapshots.plan_seeded, meta), why)
            else:
                new[meta.id] = meta
        for meta, cheaper in self._file_choice.from_files(new.values()):
            if entry := self._planned(meta, cheaper):
                del new[meta.id]
                self._bring(entry, again=False, why=why)
        for collection_id, lost in self._subscriptions.add(new.values(), why).items():
            self._take_from_files(new[collection_id], lost, why)

    def create(self, collection_id: int, told: int) -> Creation | None:
        """Decide about a collection that the log tells of, at a time, and is not known.

        The first channel that says CreateCollection counts. After a restart one may have it
        behind its checkpoint while another has not said it yet: then first rows count.

        Raises:
            TransientError: The source is still creating it.
        """
        meta = written_down(
            self._catalog, collection_id, told, self._wal, self._context
        )
        if meta is None or meta.dropping:
            self._collections.end(collection_id)
            return None
        if not meta.available:
            raise TransientError(f"the source is still creating {meta.name}")
        if not self._spec.selects(meta.database, meta.name):
            if stood := self._stood.get(meta.id):
                left = renamed_away(meta)
                self._collections.exclude(excluded_entry_of(meta), left, stood)
            else:
                self._collections.skip(collection_id)
            return None
        if not self._begins(meta, f"collection {meta.name} is new"):
            return None
        entry = replace(entry_of(meta), stood=self._stood.get(meta.id, {}))
        if refusal := self._names.refusal(entry):
            self._collections.exclude(entry, refusal)
            return None
        return self._create(entry, meta)

    def _begins(self, meta: CollectionMeta, why: str) -> bool:
        """Tell whether the log brings a collection from its beginning on.

        If it does not, that is dealt with. ``why`` as in ``Subscriptions.add``.
        """
        if self._passed_over(meta):
            self._exclude_passed_over(meta, why)
        elif missed := self._missed(meta):
            self._take_from_files(meta, missed, why)
        elif refusal := written_elsewhere(meta):
            self._collections.exclude(excluded_entry_of(meta), refusal)
        elif lost := self._subscriptions.add([meta], why):
            self._take_from_files(meta, lost[meta.id], why)
        else:
            return True
        return False

    def exclude_unnamed(self, entry: CollectionEntry) -> None:
        """Exclude a collection whose name at the target another one goes on to have."""
        self._collections.exclude(entry, self._names.kept(entry))

    def is_said_again(self, drop: DropPartition) -> bool:
        """Tell whether the partition of that name is another one, made before the drop.

        A Milvus that was restarted (2.3.5) may say a drop again, with a new time.
        """
        meta = self._catalog.collection(drop.collection)
        return meta is not None and any(
            each.name == drop.partition and each.created <= drop.timestamp
            for number, each in meta.partitions.items()
            if number != drop.partition_id
        )

    def follow_files(self) -> None:
        """Bring what has its name by now; set aside what files cannot bring."""
        self.snapshots.bring_waiting()
        for entry, error in self.snapshots.take_failed():
            self._context.record_set_aside(entry, error, entry.stood)
            if collection := self._collections.get(entry.collection_id):
                collection.entry = _aside(collection.entry)

    def _take_from_files(
        self, meta: CollectionMeta, lost: RowsLostError, why: str = ""
    ) -> None:
        """Bring from files what the log no longer holds; ``why`` as in ``adopt``."""
        self._take(meta, partial(self.snapshots.plan, meta, lost), why)

    def _take(
        self, meta: CollectionMeta, plan: Callable[[], CollectionEntry], why: str
    ) -> None:
        """Bring a collection as it is planned; exclude it where that cannot be."""
        wanted = entry_of(meta)
        if refusal := self._names.refusal(wanted):
            self._collections.exclude(wanted, refusal)
            return
        self._context.note_source_mark(meta)
        try:
            entry = plan()
        except CollectionError as error:
            self._collections.exclude(excluded_entry_of(meta), error)
        else:
            self._bring(entry, again=False, why=why)

    def _planned(self, meta: CollectionMeta, cheaper: str) -> CollectionEntry | None:
        """Return what files are to bring although the log could; None if they cannot."""
        if self._names.refusal(entry_of(meta)):
            return None
        self._context.note_source_mark(meta)
        try:
            return self.snapshots.plan(meta, RowsLostError(), cheaper)
        except CollectionError:
            return None

    def _bring(self, entry: CollectionEntry, *, again: bool, why: str = "") -> None:
        """Have the channels of a collection read, and its files as soon as it has a name.

        ``again`` as in ``Snapshots.bring``, ``why`` as in ``Subscriptions.add``.
        """
        self._subscriptions.begin(entry.collection_id, entry.stood, why)
        waits_for = self._add(entry, exists=True, status=Status.SUSPENDED).waits_for
        # A rename that an earlier run has begun is finished first.
        if entry.renaming is None:
            self.snapshots.bring(entry, again=again, waits_for=waits_for)

    def _restore_snapshot(self, entry: CollectionEntry) -> None:
        """Go on with the files of a collection, unless the source has dropped it."""
        meta = self._catalog.collection(entry.collection_id)
        if meta is None or meta.dropping:
            self._add(entry, exists=True, status=Status.DROPPING)
            return
        self._context.note_source_mark(meta)
        try:
            name = f"{entry.database}.{entry.name}"
            refuse_lost(self._wal, name, entry.stood.values())
        except CollectionError as error:
            self._set_aside(entry, error)
            return
        # An earlier run may have ended before it had written down where they begin.
        self._bring(entry, again=True)

    def _begin_resync(self, entry: CollectionEntry) -> None:
        """Begin to bring a collection anew, or say why it cannot be."""
        meta = self._catalog.collection(entry.collection_id)
        if meta is None or meta.dropping:
            self.snapshots.finish_drop(entry)
            self._collections.end(entry.collection_id)
            return
        self._context.note_source_mark(meta)
        try:
            wanted = entry if entry.schema else entry_of(meta)
            if refusal := written_elsewhere(meta) or self._names.refusal(wanted):
                raise refusal
            anew = self.snapshots.plan_anew(meta, entry)
        except OF_ONE_COLLECTION as error:
            self._set_aside(entry, error)
            return
        self._bring(anew, again=False)

    def _set_aside(self, entry: CollectionEntry, error: CdcError) -> None:
        """Know a collection as set aside; one without schema was never made."""
        self._context.record_set_aside(entry, error, entry.stood)
        if entry.schema:
            self._add(_aside(entry), exists=True, status=Status.SUSPENDED)
        else:
            self._collections.restore_ignored(_aside(entry))

    def _comes_from_files(self, entry: CollectionEntry) -> bool:
        """Have files bring, or go on to bring, what the log lacks; tell if they do."""
        if entry.state is CollectionState.SNAPSHOT:
            begin = self._restore_snapshot if entry.stood else self._begin_resync
            begin(entry)
            return True
        return self._is_lost(entry) and self._restore_lost(entry)

    def _is_lost(self, entry: CollectionEntry) -> bool:
        """Tell whether nothing of a collection came to the target: the log lacked it."""
        is_lost = entry.failure_class is FailureClass.POSITION_LOST
        is_bare = not entry.schema and entry.resync is None
        return is_lost and is_bare and self.snapshots.available

    def _restore_lost(self, entry: CollectionEntry) -> bool:
        """Have files bring what was set aside when there were none to read."""
        meta = self._catalog.collection(entry.collection_id)
        if meta is None or not self._is_selected(meta):
            return False
        self._take_from_files(meta, RowsLostError(entry.reason or ""))
        return True

    def _create(self, entry: CollectionEntry, meta: CollectionMeta) -> Creation:
        self._context.note_source_mark(meta)
        wanted = definition_of(meta, self._spec.written_name(entry))
        work = CreateCollectionWork(wanted, former=self._former_of(entry))
        return self._add(entry, exists=False), work

    def _add(
        self, entry: CollectionEntry, *, exists: bool, status: Status = Status.LIVE
    ) -> Collection:
        waits_for = self._target_names.holders(entry)
        return self._collections.add(entry, waits_for, exists=exists, status=status)

    def _begins_anew(self, entry: CollectionEntry) -> bool:
        """Tell whether a collection is replayed that the target was never asked for.

        The log tells of its creation once more.
        """
        if entry.schema or entry.state is not CollectionState.CREATING:
            return False
        meta = self._catalog.collection(entry.collection_id)
        return meta is not None and not meta.dropping

    def _is_selected(self, meta: CollectionMeta) -> bool:
        return meta.available and self._spec.selects(meta.database, meta.name)

    def _passed_over(self, meta: CollectionMeta) -> bool:
        """Tell whether a collection is new to the selection, and older than what was read.

        What clients asked for it is in a channel that all collections share.
        """
        if self._stood.get(meta.id) or self._collections.status(meta.id) is not None:
            return False
        channels = {*meta.channels, self._requests}
        return any(
            past.passed_over((meta.database, meta.name), meta.created, channels)
            for past in self._past_selections
        )

    def _exclude_passed_over(self, meta: CollectionMeta, why: str) -> None:
        """Exclude a collection that can still be read from its beginning.

        ``why`` as in ``adopt``.
        """
        name = f"{meta.database}.{meta.name}"
        error = PassedOverError(
            f"rows of {name} were read before an update selected it: `retry` has it read "
            "from its beginning"
        )
        stood = beginning(meta, self._wal, self._requests)
        if self.snapshots.available and not_held(self._wal, stood.values()):
            lost = RowsLostError(f"the log no longer holds the beginning of {name}")
            self._take_from_files(meta, lost, why)
            return
        self._collections.exclude(excluded_entry_of(meta), error, stood)


def _aside(entry: CollectionEntry) -> CollectionEntry:
    return replace(entry, state=CollectionState.SET_ASIDE)
