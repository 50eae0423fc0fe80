"""Deletes that many segments have in common, read once.

From 2.4 on Milvus writes deletes into segments of their own until it merges them: each
concerns all segments of a shard, or those of one partition there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.source.storage.ahead import Memory
    from cdc_actors.source.storage.deletes import LastDeletes
    from cdc_actors.source.storage.listing import StoredFile

    _Files: TypeAlias = tuple[StoredFile, ...]

MEMORY_SHARE = 0.125
"""How much of the service's memory they may take. What does not fit is read again."""


class SharedDeletes:
    """Keeps what ``read`` has returned. One thread uses it, and closes it.

    ``read`` returns what some files say was last deleted until a hybrid timestamp.
    """

    def __init__(
        self, read: Callable[[_Files, int], LastDeletes], memory: Memory
    ) -> None:
        self._read = read
        self._most = int(memory.limit * MEMORY_SHARE)
        self._memory = memory.hold(0)
        self._kept: dict[tuple[_Files, int], LastDeletes] = {}

    def last(self, files: _Files, until: int) -> LastDeletes:
        """Return what files say was last deleted until then; raises as ``read`` does."""
        if (kept := self._kept.get((files, until))) is not None:
            return kept
        found = self._read(files, until)
        if found.size <= self._most:
            if self._memory.size + found.size > self._most:
                self.close()
            self._kept[files, until] = found
            self._memory.resize(self._memory.size + found.size)
        return found

    def close(self) -> None:
        """Keep nothing. Idempotent."""
        self._kept.clear()
        self._memory.release()
