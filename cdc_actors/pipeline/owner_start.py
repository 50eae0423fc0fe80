"""When the process that runs the tasks became the owner of their store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnerStart:
    """Up to when changes may have been sent by an owner before this one.

    A store does not know all that was: it may have been restored from a backup, which is
    older than what its send horizons say now. So whatever the source wrote before this
    owner began may be at the targets. Any thread may use it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._timestamp = 0

    def timestamp(self, source_time: Callable[[], int]) -> int:
        """Return when that was by the source's clock: when it was first asked for.

        ``source_time`` is that of ``RunContext``.

        Raises:
            CdcError: The source does not answer.
        """
        with self._lock:
            self._timestamp = self._timestamp or source_time()
            return self._timestamp
