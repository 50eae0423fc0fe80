"""The lag of every task over the last hour, in memory."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cdc_actors.errors import RequestError
from cdc_actors.service.views import LagSamples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SAMPLE_SECONDS = 15.0
"""How often the lags are sampled."""

MAX_SAMPLES = 240
"""How many samples are kept: those of one hour."""


@dataclass(frozen=True, slots=True)
class _Sample:
    number: int
    time: datetime
    lags: Mapping[str, float | None]


class LagHistory:
    """Samples lags in a thread of its own. Any thread may read them."""

    def __init__(self, lags: Callable[[], Mapping[str, float | None]]) -> None:
        """``lags`` returns those of now by task; if it cannot, there is no sample."""
        self._lags = lags
        self._since = datetime.now(UTC)
        self._samples: deque[_Sample] = deque(maxlen=MAX_SAMPLES)
        self._last = 0
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to sample."""
        threading.Thread(target=self._run, name="lag-history", daemon=True).start()

    def stop(self) -> None:
        """Sample no more. May be called again."""
        self._stopping.set()

    def sample(self) -> None:
        """Take a sample now."""
        try:
            lags = self._lags()
        except RequestError:
            return
        self._last += 1
        self._samples.append(_Sample(self._last, datetime.now(UTC), lags))

    def after(self, number: int) -> LagSamples:
        """Return the samples that are kept and come behind that number."""
        kept = list(self._samples)
        found = [each for each in kept if each.number > number]
        tasks = dict.fromkeys(task for each in found for task in each.lags)
        return LagSamples(
            since=self._since,
            every_seconds=SAMPLE_SECONDS,
            last=kept[-1].number if kept else 0,
            times=[each.time for each in found],
            lag_seconds={
                task: [each.lags.get(task) for each in found] for task in tasks
            },
        )

    def _run(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            self.sample()
