"""Taking set-aside collections up again: where a run begins so that they lack nothing.

One goes on from where it stood. One that the target lost meanwhile is created again, and
comes from its beginning; so does one in whose place an equal one was made by hand, which is
taken over. What the log no longer holds, and what the target has otherwise, is set aside
again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint
from cdc_actors.errors import CollectionError, RowsLostError, UnclearAnswerError
from cdc_actors.pipeline.definitions import entry_of
from cdc_actors.pipeline.losses import is_kept
from cdc_actors.pipeline.messages import (
    RecordCollectionSetAside,
    RecordOperationApplied,
    RecordOperationStarted,
)
from cdc_actors.source.wal.beginnings import first_places, places
from cdc_actors.tasks import CollectionState, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.source.catalog.client import Catalog, CollectionMeta
    from cdc_actors.source.wal.base import WalReader
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry


@dataclass(frozen=True, slots=True)
class Replay:
    """What a run begins with, and what is to be written down before."""

    spec: RunSpec
    records: tuple[
        RecordOperationStarted | RecordCollectionSetAside | RecordOperationApplied, ...
    ]


def plan_replay(
    spec: RunSpec, run_number: int, wal: WalReader, catalog: Catalog, target: Connection
) -> Replay:
    """Find out where a run begins for the collections that are taken up again.

    Nothing is changed anywhere. The reader's thread.

    Raises:
        CdcError: Log, catalog or target do not answer, or the target refuses the login.
    """
    if not any(entry.replay for entry in spec.entries):
        return Replay(spec, ())
    return _Planning(spec, run_number, wal, catalog, target).plan()


def beginning(
    meta: CollectionMeta, wal: WalReader, requests: str
) -> dict[str, Checkpoint]:
    """Return where a collection stands of which nothing was taken yet.

    ``requests`` is the channel of clients' requests, which is read from the oldest on;
    empty without one.
    """
    starts = first_places(meta, wal)
    if requests and (oldest := wal.oldest(requests)):
        starts[oldest.channel] = Checkpoint(oldest, True, 0)
    return starts


def earliest(
    wal: WalReader, first: Checkpoint | None, second: Checkpoint
) -> Checkpoint:
    """Return where a channel begins so that neither of two checkpoints lacks anything.

    The one with the earlier position may have the later tick: files may reach further
    than where the log goes on from them.
    """
    if first is None:
        return second
    tick = min(first.tick, second.tick)
    if not wal.reached(first.position, second.position):
        return replace(first, tick=tick)
    is_same = wal.reached(second.position, first.position)
    return replace(first if is_same and first.inclusive else second, tick=tick)


class _Planning:
    def __init__(
        self,
        spec: RunSpec,
        run_number: int,
        wal: WalReader,
        catalog: Catalog,
        target: Connection,
    ) -> None:
        self._spec = spec
        self._run_number = run_number
        self._wal = wal
        self._catalog = catalog
        self._target = target
        self._records: list[RecordOperationStarted | RecordCollectionSetAside] = []
        self._lost: set[int] = set()
        self._held: dict[Checkpoint, bool] = {}

    def plan(self) -> Replay:
        entries = tuple(map(self._decide, self._spec.entries))
        aliases = self._spec.aliases.items()
        spec = replace(
            self._spec,
            entries=entries,
            aliases={key: to for key, to in aliases if to not in self._lost},
            checkpoints=self._starts(entries),
        )
        return Replay(spec, tuple(self._records))

    def _decide(self, entry: CollectionEntry) -> CollectionEntry:
        if not entry.replay or entry.state is CollectionState.DROPPED:
            return entry
        try:
            decided = self._from_beginning(entry) if self._is_lost(entry) else entry
            self._insist_on_log(decided)
        except (CollectionError, UnclearAnswerError) as error:
            aside = RecordCollectionSetAside(
                self._run_number, entry, error, entry.stood
            )
            self._records.append(aside)
            return replace(entry, state=CollectionState.SET_ASIDE, replay=False)
        if decided is not entry:
            self._lost.add(entry.collection_id)
            begun = Operation.create_collection(decided)
            self._records.append(RecordOperationStarted(begun))
        return decided

    def _is_lost(self, entry: CollectionEntry) -> bool:
        """Tell whether the target does not have the collection that it had.

        A rename may be half done: then it has one of two names.
        """
        if entry.state is not CollectionState.LIVE:
            return False
        task = self._spec.task
        names = [task.written_name(entry)]
        if entry.renaming is not None:
            names.append(task.target_name(*entry.renaming.new_name))
        if entry.exchange is not None:
            names.append(task.target_name(entry.exchange.database, entry.exchange.name))
        return not any(is_kept(self._target, name, entry) for name in names)

    def _from_beginning(self, entry: CollectionEntry) -> CollectionEntry:
        """Return the collection as nothing of it is at the target.

        It keeps the name that it had there: a rename comes after it, as of any other.
        """
        meta = self._catalog.collection(entry.collection_id)
        if meta is None or meta.dropping:
            return entry
        return replace(
            entry_of(meta),
            database=entry.database,
            name=entry.name,
            state=CollectionState.CREATING,
            stood=beginning(meta, self._wal, self._spec.source.replicate_chan),
            replay=True,
        )

    def _insist_on_log(self, entry: CollectionEntry) -> None:
        gone = [c.position for c in entry.stood.values() if not self._holds(c)]
        if gone:
            name, where = f"{entry.database}.{entry.name}", places(gone)
            raise RowsLostError(_why_lost(entry, name, where))

    def _holds(self, start: Checkpoint) -> bool:
        """Ask once for what many collections share, and not for where the run begins."""
        if start == self._spec.checkpoints.get(start.position.channel):
            return True
        if start not in self._held:
            held = self._wal.holds(start.position, inclusive=start.inclusive)
            self._held[start] = held
        return self._held[start]

    def _starts(self, entries: Iterable[CollectionEntry]) -> dict[str, Checkpoint]:
        """The channel of requests is read from the oldest on if it has no checkpoint.

        So it is for one that is replayed, and stood where none had been read.
        """
        starts = dict(self._spec.checkpoints)
        requests = self._spec.source.replicate_chan
        replayed = [entry for entry in entries if entry.replay]
        for entry in replayed:
            for channel, stood in entry.stood.items():
                known = starts.get(channel)
                if known is not None or channel != requests:
                    starts[channel] = earliest(self._wal, known, stood)
        if requests and not all(requests in entry.stood for entry in replayed):
            oldest = self._wal.oldest(requests)
            starts |= {requests: Checkpoint(oldest, True, 0)} if oldest else {}
        return starts


def _why_lost(entry: CollectionEntry, name: str, where: str) -> str:
    if entry.state is not CollectionState.CREATING:
        return f"the log no longer holds where {name} stood ({where})"
    if entry.snapshot and entry.schema:
        return (
            f"the rows of {name} in files are at the target, but the log no longer holds "
            f"what came after them ({where}): lengthen the retention of the source's "
            "message queue, and bring it anew by `resync`"
        )
    return (
        f"the target does not have what it had of {name}, and the log no longer "
        f"holds its beginning ({where})"
    )
