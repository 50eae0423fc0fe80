"""Which collections come from files although the log could bring them.

A log of many overwrites holds each row as often as it was written, files only once, after
a compaction. What counts is the stretch of the log that files save: from where collections
begin up to where the log goes on behind their files (and, before 2.4, behind the deletes
that may be in none yet). What is behind that is read in any case, rows of growing segments
with it. Where a queue cannot tell how long the stretch is, or the source has not written
down yet what is in files, the log is read.

A channel is read from the earliest beginning of all that comes by it. So collections that
have channels in common, directly or by way of others, are decided on together: either all
of them come from files, or none. Of a channel that is being read already nothing is saved.

Sizes of files are those that the catalog tells: bytes at rest from 2.4 on. Before, that is
so of what a compaction has written; of other files it is what their values take in memory,
about what they take in the log (of 4,000 rows of a 2.3.5: texts of 5,000 equal letters 20.3
MB told, 0.2 MB in files; vectors of dim 128 2.2 and 2.1 MB). So mere compression does not
count there. Where it does, files of texts may be cheaper without any overwriting: so they
are, to read.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.errors import CollectionError, OperatorError
from cdc_actors.source.storage.files import StorageError
from cdc_actors.source.wal.beginnings import lost_starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cdc_actors.changes import Position
    from cdc_actors.pipeline.snapshots import Snapshots
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.source.catalog.client import CollectionMeta

LEAST_SAVED = 64 << 20
"""Bytes of the log that files must save at least: it takes a second or two to read so much,
and so does it to begin with files: listing them, finding where the log goes on."""

LEAST_TIMES = 2
"""How many times as large as the files the log must be: some queues tell sizes roughly, and
what files hold twice, or of rows too new to be taken, is read in vain."""

_NAMED = 5
_log = structlog.get_logger(__name__)


class FileChoice:
    """Chooses between files and the log. The reader's thread.

    ``beginnings`` returns where a collection begins on channels that are not read yet.
    """

    def __init__(
        self,
        sources: Sources,
        snapshots: Snapshots,
        beginnings: Callable[[CollectionMeta], list[Position]],
    ) -> None:
        self._wal = sources.wal
        self._catalog = sources.catalog
        self._files = sources.files
        self._snapshots = snapshots
        self._beginnings = beginnings

    def from_files(
        self, found: Iterable[CollectionMeta]
    ) -> Iterator[tuple[CollectionMeta, str]]:
        """Yield what is to come from files, and why if they are only cheaper.

        Not what the log no longer holds: there is no choice.

        Raises:
            TransientError: Log or catalog do not answer.
        """
        if self._snapshots.preferred:
            yield from ((meta, "") for meta in tuple(found))
        elif self._snapshots.available:
            for group in self._groups(found):
                metas, why = self._cheaper(group)
                yield from ((meta, why) for meta in metas if why)

    def _groups(self, found: Iterable[CollectionMeta]) -> list[list[CollectionMeta]]:
        """Gather the collections that have channels in common."""
        groups: list[tuple[set[str], list[CollectionMeta]]] = []
        for meta in found:
            channels = {start.channel for start in self._beginnings(meta)}
            joined = [each for each in groups if each[0] & channels]
            groups = [each for each in groups if not each[0] & channels]
            metas = [*chain.from_iterable(of for _, of in joined), meta]
            groups.append((channels.union(*(each for each, _ in joined)), metas))
        return [metas for channels, metas in groups if channels]

    def _cheaper(self, group: list[CollectionMeta]) -> tuple[list[CollectionMeta], str]:
        """Return what files are to bring of a group, and why; nothing if the log is to.

        What the log has lost of it comes from files in any case, and is left out.
        """
        begun = {meta.id: self._beginnings(meta) for meta in group}
        if not _is_worth_it(self._bytes(chain.from_iterable(begun.values()), {}), 0):
            return [], ""
        lost = lost_starts(self._wal, chain.from_iterable(begun.values()))
        held = [meta for meta in group if lost.isdisjoint(begun[meta.id])]
        starts = chain.from_iterable(begun[meta.id] for meta in held)
        return held, self._why_cheaper(held, starts) if held else ""

    def _why_cheaper(
        self, group: list[CollectionMeta], begun: Iterable[Position]
    ) -> str:
        """Say why files are to bring a group; nothing if the log is to."""
        said: dict[str, Any] = {
            "collections": [f"{meta.database}.{meta.name}" for meta in group[:_NAMED]]
        }
        try:
            files, goes_on = self._files_of(group)
        except (CollectionError, OperatorError, StorageError) as error:
            _log.info("rows_from_log", **said, files=str(error))
            return ""
        log = self._bytes(begun, goes_on)
        said |= {"log_bytes": log, "file_bytes": files}
        if not _is_worth_it(log, files):
            _log.info("rows_from_log", **said)
            return ""
        _log.info("rows_from_files", **said)
        count = len(group)
        whose = "its files" if count == 1 else f"the files of {count} collections"
        return f"{whose} are cheaper to read: {_mb(files)}, not {_mb(log)} of log"

    def _files_of(
        self, group: Iterable[CollectionMeta]
    ) -> tuple[int | None, dict[str, Position]]:
        """Return the bytes of files, None if unknown, and where the log goes on."""
        self._files.check()
        sizes: list[int | None] = []
        goes_on: list[Position] = []
        for meta in group:
            if (stored := self._files.find(self._catalog, meta.id)) is not None:
                sizes.append(stored.listing.size)
                starts = self._snapshots.starts.find(stored).values()
                goes_on += [each.position for each in starts]
        known = [each for each in sizes if each is not None]
        return (
            sum(known) if len(known) == len(sizes) else None,
            self._earliest(goes_on),
        )

    def _bytes(
        self, begun: Iterable[Position], until: Mapping[str, Position]
    ) -> int | None:
        """Return the bytes of the log from the beginnings on, up to some positions."""
        found = [
            self._wal.bytes_between(start, until.get(channel))
            for channel, start in self._earliest(begun).items()
        ]
        known = [each for each in found if each is not None]
        return sum(known) if len(known) == len(found) else None

    def _earliest(self, positions: Iterable[Position]) -> dict[str, Position]:
        first: dict[str, Position] = {}
        for each in positions:
            if self._wal.reached(first.setdefault(each.channel, each), each):
                first[each.channel] = each
        return first


def _is_worth_it(log: int | None, size: int | None) -> bool:
    if log is None or size is None:
        return False
    return log - size >= LEAST_SAVED and log >= LEAST_TIMES * size


def _mb(size: int | None) -> str:
    return f"{(size or 0) / 1e6:,.1f} MB"
