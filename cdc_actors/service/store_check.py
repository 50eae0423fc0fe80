"""Whether the store takes writes, found out in the background.

So nobody who asks for the metrics writes anything, or waits for who does.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cdc_actors.errors import CdcError, UnavailableError

if TYPE_CHECKING:
    from cdc_actors.store.event_log import TaskLog

CHECK_SECONDS = 5.0
"""How often the store is asked to take a small write."""


class StoreCheck:
    """Asks again and again, by a thread of its own. Any thread may use it."""

    def __init__(self, log: TaskLog) -> None:
        """Begin with a store that has just been written to."""
        self._log = log
        self._reason = ""
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="store-check", daemon=True).start()

    @property
    def is_well(self) -> bool:
        """Whether the store took the last write."""
        return not self._reason

    def refuse_failing(self) -> None:
        """Raise UnavailableError, in the store's words, if it does not take writes."""
        if reason := self._reason:
            raise UnavailableError(reason)

    def end(self, reason: str) -> None:
        """Ask no more; from now on ``reason`` is why it takes no writes."""
        self._ended.set()
        self._reason = reason

    def _run(self) -> None:
        while not self._ended.wait(CHECK_SECONDS):
            try:
                self._log.check()
                reason = ""
            except CdcError as error:
                reason = str(error)
            if not self._ended.is_set():
                self._reason = reason
