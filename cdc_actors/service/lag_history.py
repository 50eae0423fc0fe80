"""The lag of every task over the last hour, in memory.

The hour is that of the clock, cut into slots, so that those of several services on one
store can be put side by side.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cdc_actors.errors import RequestError
from cdc_actors.service.views import LagSamples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Lags = Mapping[str, float | None]

SAMPLE_SECONDS = 15.0
"""How often the lags are sampled."""

MAX_SAMPLES = 240
"""How many samples are kept: those of one hour."""


class LagHistory:
    """Samples lags in a thread of its own. Any thread may read them."""

    def __init__(self, lags: Callable[[], Lags]) -> None:
        """``lags`` returns those of now by task; if it cannot, there is no sample."""
        self._lags = lags
        self._since = datetime.now(UTC)
        self._samples: Mapping[int, Lags] = {}
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to sample."""
        threading.Thread(target=self._run, name="lag-history", daemon=True).start()

    def stop(self) -> None:
        """Sample no more. May be called again."""
        self._stopping.set()

    def sample(self) -> None:
        """Take the sample of this slot, if there is none yet."""
        number = int(time.time() / SAMPLE_SECONDS)
        kept = self._samples
        if number in kept:
            return
        try:
            lags = self._lags()
        except RequestError:
            return
        if number < max(kept, default=0):
            # The clock was set back: what was before would be behind what is now.
            kept, self._since = {}, datetime.now(UTC)
        left = {i: each for i, each in kept.items() if i > number - MAX_SAMPLES}
        self._samples = {**left, number: lags}

    def after(self, number: int) -> LagSamples:
        """Return the samples that are kept and come behind that number."""
        kept = self._samples
        last = max(kept, default=0)
        numbers = range(max(number + 1, min(kept, default=1)), last + 1)
        found = [kept.get(each, {}) for each in numbers]
        tasks = dict.fromkeys(task for each in found for task in each)
        return LagSamples(
            since=self._since,
            every_seconds=SAMPLE_SECONDS,
            last=last,
            times=[
                datetime.fromtimestamp(each * SAMPLE_SECONDS, UTC) for each in numbers
            ],
            lag_seconds={task: [each.get(task) for each in found] for task in tasks},
        )

    def _run(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS - time.time() % SAMPLE_SECONDS):
            self.sample()
