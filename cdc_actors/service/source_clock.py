"""What time it is at the source, so that lag is measured by the clock that stamps the rows.

Two things tell it. Milvus keeps in etcd up to when it may give timestamps, always some
seconds ahead of its clock: that is rough, and known at once. A tick is read a moment after
it was written, if the reader is at the end of the log: that is exact, but of a backlog
every tick is old. So of the ticks that were read the one that was ahead furthest counts,
unless what etcd says shows that all of them were old.

Everything is kept relative to the monotonic clock, which nobody sets: while the source is
away its time goes on, and when somebody sets the machine's clock no lag appears.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import structlog

DIFFERS_SECONDS = 5.0
"""From which difference on the two clocks are said to differ."""

RESERVED_SECONDS = 3.0
"""How far ahead of its clock Milvus reserves timestamps, at most (``internal/tso``)."""

DRIFT = 0.0005
"""How fast the monotonic clock may run away from the source's, as a part of the time."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by three clocks, in seconds.

    ``wall`` is the machine's and ``source`` the source's, both since 1970, ``monotonic`` is
    that of ``time.monotonic``. ``ahead`` is how far the machine's clock is ahead of the
    source's if that is known and more than some seconds, negative if it is behind, else 0.
    """

    wall: float
    monotonic: float
    source: float
    ahead: float = 0.0

    @property
    def warning(self) -> str:
        """What to tell of the clocks; empty if they agree."""
        if not self.ahead:
            return ""
        side = "ahead of" if self.ahead > 0 else "behind"
        return (
            f"this machine's clock is {abs(self.ahead):.0f} s {side} the source's: lag is "
            "counted by the source's"
        )


class SourceClock:
    """Follows the source's clock. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rough = time.time() - time.monotonic()
        self._ahead = 0.0
        self._reserved = 0.0
        self._exact: float | None = None
        self._exact_at = 0.0

    def note_tick(self, lead: float) -> None:
        """Note by how much a tick was ahead of the monotonic clock when it was read."""
        now = time.monotonic()
        with self._lock:
            self._exact, self._exact_at = max(self._exact_by(now), lead), now

    def note_reserved(self, reserved: float) -> None:
        """Note up to when Milvus may give timestamps, in seconds since 1970.

        Where it stays the same Milvus is down, and nothing follows from it.
        """
        wall, now = time.time(), time.monotonic()
        with self._lock:
            former, self._reserved = self._reserved, reserved
            ahead = clock_lead(reserved, wall)
            if reserved == former or (not former and ahead > 0):
                return
            # Once said it is said until it is clearly over: the measure is a rough one.
            limit = DIFFERS_SECONDS if not self._ahead else DIFFERS_SECONDS / 2
            said, self._ahead = self._ahead, ahead if abs(ahead) > limit else 0.0
            self._rough = wall - now - self._ahead
        if bool(said) != bool(self._ahead):
            log = _log.warning if self._ahead else _log.info
            log("clock_difference_changed", seconds_ahead=round(self._ahead))

    def moment(self) -> Moment:
        """Return this moment."""
        wall, now = time.time(), time.monotonic()
        with self._lock:
            exact, rough = self._exact_by(now), self._rough
            lead = exact if exact > rough - DIFFERS_SECONDS else rough
            return Moment(wall, now, now + lead, self._ahead)

    def _exact_by(self, now: float) -> float:
        if self._exact is None:
            return float("-inf")
        return self._exact - DRIFT * (now - self._exact_at)


def clock_lead(reserved: float, wall: float) -> float:
    """Return how far a clock at ``wall`` is ahead of that of a Milvus that is up.

    ``reserved`` is as in ``note_reserved``; both are in seconds since 1970.
    """
    least, most = wall - reserved, wall - reserved + RESERVED_SECONDS
    return 0.0 if least <= 0 <= most else (least + most) / 2
