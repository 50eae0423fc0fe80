"""The right of a task to write a collection of the target; the mark there says whose it is.

Another service may have a task for the same collection, with a store of its own or with
the target's other address. Who finds the mark of a living task does not write. Nor does
who finds that the source's collection is marked as a copy of the target's, or as a copy of
a copy: such rows would go round for ever. Each mark has those of the way its rows come, and
is written anew when that changes.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from cdc_actors.errors import (
    AccessRefusedError,
    CollectionError,
    OperationRefusedError,
)
from cdc_actors.marks import PROPERTY, RIVAL, Mark
from cdc_actors.pipeline import losses
from cdc_actors.pipeline.skipping import schema_there
from cdc_actors.target import collections
from cdc_actors.target.properties import alter_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_actors.changes import FullName
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry

CHECK_SECONDS = 30.0
"""How old what is known of a mark may be before the next write."""

SETTLE_SECONDS = 2.0
"""When a mark that was just written is looked at again: two may have written at once."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Claimant:
    """The task that writes. ``is_written`` tells whether one of its store writes, too.

    Namely the one that a mark names, the collection that it names.
    """

    store: str
    task_id: str
    is_written: Callable[[Mark], bool]

    def mark(self, entry: CollectionEntry) -> Mark:
        """Return what says that a collection is this task's."""
        return Mark(
            store=self.store,
            task=self.task_id,
            collection_id=entry.collection_id,
            source=f"{entry.database}.{entry.name}",
        )

    def is_own(self, found: Mark) -> bool:
        """Tell whether a mark is this task's."""
        return (found.store, found.task) == (self.store, self.task_id)

    def is_others(self, found: Mark | None) -> bool:
        """Tell whether a mark is of another task that is not known to have let go."""
        if found is None or self.is_own(found):
            return False
        return found.store != self.store or self.is_written(found)


class MarkedByOtherError(CollectionError):
    """Another task writes the collection."""


class Claim:
    """What one task has of one collection at the target. Its applier's thread uses it.

    Once ``check`` has been called, ``taken`` is as in ``Mark``, ``rival`` another task
    that wanted the collection meanwhile, and ``marked`` tells that it has the task's mark.

    Methods raise ``TransientError`` and ``AccessRefusedError`` where the target does not
    answer.
    """

    def __init__(
        self,
        claimant: Claimant,
        target: Connection,
        source_marks: Mapping[int, Mark],
        source_time: Callable[[], int],
    ) -> None:
        """``source_marks`` are those of the source's own collections, by id.

        ``source_time`` is that of ``RunContext``.
        """
        self.taken = 0
        self.marked = False
        self.rival: Mark | None = None
        self._claimant = claimant
        self._target = target
        self._source_marks = source_marks
        self._source_time = source_time
        self._due = 0.0
        self._origin: Mark | None = None
        self._renewed: Mark | None = None

    def mark(self, entry: CollectionEntry) -> Mark:
        """Return what the collection is to be marked with."""
        origin = self._source_marks.get(entry.collection_id)
        return msgspec.structs.replace(self._claimant.mark(entry), origin=origin)

    def check(self, entry: CollectionEntry, name: FullName) -> None:
        """See that nobody else writes the collection called ``name``, and mark it.

        Does nothing if that was looked at a while ago, and the source's own mark is what it
        was. One without a mark is free.

        Raises:
            CollectionError: It is another task's, it is not the one that this task has
                made, or the source's collection comes from it.
        """
        origin = self._source_marks.get(entry.collection_id)
        if time.monotonic() < self._due and origin == self._origin:
            return
        self._origin = origin
        wait = CHECK_SECONDS
        try:
            if not self._holds(entry, name) and self._write(entry, name):
                self._holds(entry, name)
                wait = SETTLE_SECONDS
            if self._renewed is not None:
                self._alter(name, self._renewed.to_properties())
        except MarkedByOtherError:
            self._alter(name, self._claimant.mark(entry).to_properties(RIVAL))
            raise
        self._due = time.monotonic() + wait

    def forget_rival(self, name: FullName) -> None:
        """Know that the rival was told of, so that the next one is."""
        self.rival = None
        self._alter(name, {RIVAL: ""})

    def drop_leftover(self, entry: CollectionEntry, name: FullName) -> None:
        """Drop what has the name if the task made it for a collection unknown by now.

        So it is where the store was restored from a backup, and another collection has the
        name at the source since.
        """
        shown = collections.describe(self._target, *name)
        found = shown and _mark_in(shown, name)
        if (
            found is not None
            and self._claimant.is_own(found)
            and found.collection_id != entry.collection_id
            and not self._claimant.is_written(found)
        ):
            _log.warning("leftover_dropped", left_by=str(found))
            collections.drop_collection(self._target, *name)

    def drop(self, entry: CollectionEntry, name: FullName, made: int) -> None:
        """Drop what has the name, for a collection that is brought anew.

        ``made`` is the target's id of what the task has made, 0 if that is not known.

        Raises:
            CollectionError: It has neither the task's mark nor that id.
        """
        shown = collections.describe(self._target, *name)
        if shown is None:
            return
        found = _mark_in(shown, name)
        is_made = found is None and made and shown.collectionID == made
        if not is_made and not (found and found.is_same(self.mark(entry))):
            raise CollectionError(
                f"{'.'.join(name)} at the target is not dropped, as it has no mark of this "
                f"task: drop or rename it there, then `retry` {entry.database}.{entry.name}"
            )
        collections.drop_collection(self._target, *name)

    def is_ours(self, entry: CollectionEntry, name: FullName, *, made: bool) -> bool:
        """Neither of another task nor made by hand in the place of what the task made.

        Unless it is known to be ``made`` it is by its mark, which it was created with: the
        creation may have been done without an answer.
        """
        if not made:
            return is_marked(self._target, self.mark(entry), name)
        try:
            self._holds(entry, name)
        except CollectionError:
            return False
        return not losses.is_another(self._target, name, schema_there(entry))

    def _holds(self, entry: CollectionEntry, name: FullName) -> bool:
        """Tell whether the task's mark is where it can be; raises as ``check`` does.

        One that does not tell the whole way of the rows is to be ``_renewed``.
        """
        self._renewed = None
        shown = collections.describe(self._target, *name)
        if shown is None:
            return True
        found = _mark_in(shown, name)
        if self._claimant.is_others(found):
            raise MarkedByOtherError(
                f"{'.'.join(name)} at the target is written by {found}, and two tasks "
                "would mix their rows: delete one of them. Where that service is gone "
                f'for good, set the property {PROPERTY} of the collection to "" there, '
                "then retry"
            )
        losses.refuse_replaced(shown, entry, name)
        wanted = self.mark(entry)
        self.marked = holds = found is not None and found.is_same(wanted)
        if found is not None and holds:
            rival = _mark_in(shown, name, RIVAL)
            is_known = rival is None or self._claimant.is_own(rival)
            self.taken, self.rival = found.taken, None if is_known else rival
            if (now := wanted.until(shown.collectionID)) and now.origin != found.origin:
                self._renewed = msgspec.structs.replace(now, taken=found.taken)
        way = list(wanted.way())
        for number, mark in enumerate(way[1:], 2):
            if mark.collection_id == shown.collectionID:
                self._refuse_circle(name, way[:number], holds=holds)
                break
        return holds

    def _refuse_circle(self, name: FullName, way: list[Mark], *, holds: bool) -> None:
        """The source's collection is a copy of the very one that is to be its copy.

        ``way`` are the marks of all tasks of the circle, this one's first. Of those that
        began at once and have marked all, each sees the same, and the last by rank ends it.
        """
        wanted, *others = way
        if holds and any(wanted.rank < each.rank for each in others):
            return
        release(self._target, self._claimant, name)
        raise CollectionError(
            f"{wanted.source} is itself written by "
            f"{', and that by '.join(map(str, others))}, which is {'.'.join(name)} at the "
            "target: rows would go round for ever. Delete one of these tasks. Where such a "
            f"service is gone for good, set the property {PROPERTY} of the collection that "
            'it wrote to "", then retry'
        )

    def _write(self, entry: CollectionEntry, name: FullName) -> bool:
        """Mark it; tell whether that was done.

        Nobody knows what others wrote there before: all that the source has may be there.
        """
        self.taken = self._source_time()
        mark = msgspec.structs.replace(self.mark(entry), taken=self.taken)
        return self._alter(name, mark.to_properties())

    def _alter(self, name: FullName, properties: dict[str, str]) -> bool:
        """A target that takes no properties holds no mark."""
        try:
            alter_properties(self._target, *name, properties)
        except (OperationRefusedError, AccessRefusedError) as error:
            _log.warning("mark_refused", error=str(error))
            return False
        return True


def release(target: Connection, claimant: Claimant, name: FullName) -> None:
    """Remove the task's mark from a collection of the target, if it is there.

    And that of the last one who wanted the collection: it may take it now.

    Raises:
        CdcError: The target does not answer, or refuses.
    """
    with suppress(CollectionError):
        shown = collections.describe(target, *name)
        if shown is None:
            return
        found = _mark_in(shown, name)
        if found is not None and claimant.is_own(found):
            given = {pair.key for pair in shown.properties if pair.value}
            marks = given & {PROPERTY, RIVAL}
            alter_properties(target, *name, dict.fromkeys(marks, ""))


def is_marked(target: Connection, mark: Mark, name: FullName) -> bool:
    """Tell whether the target has a collection of that name with a mark like this one.

    Raises:
        CdcError: The target does not answer.
    """
    with suppress(CollectionError):
        shown = collections.describe(target, *name)
        found = shown and _mark_in(shown, name)
        return found is not None and found.is_same(mark)
    return False


def _mark_in(shown: Any, name: FullName, key: str = PROPERTY) -> Mark | None:
    """Return a mark that a described collection has, None if it has none.

    Raises:
        CollectionError: It is not one that this version can read.
    """
    try:
        return Mark.of({pair.key: pair.value for pair in shown.properties}, key)
    except msgspec.MsgspecError as error:
        raise CollectionError(
            f"the property {key} of {'.'.join(name)} at the target cannot be read "
            f"({error}): it is of a newer version, or was set by hand"
        ) from error
