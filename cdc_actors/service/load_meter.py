"""How much work each task of this service is: what services share out evenly.

A task that runs counts 1, as it costs something though nothing comes, and 1 more for each
megabyte a second that is applied; one that is paused counts 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.tasks import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cdc_actors.service.snapshot import Observation, TaskSnapshot
    from cdc_actors.store.task_owners import Claimed

MEASURE_SECONDS = 15.0
"""How long is measured, so that a burst counts little."""

STAY_SECONDS = 60.0
"""How long a task that has moved stays, though its load has changed meanwhile."""

CHANGED_PART = 0.2
"""By how much of itself a load has changed that is worth telling of."""

_BYTES = 1e6


class LoadMeter:
    """Knows what was told of the loads, and what has changed. One thread uses it.

    Times are in seconds of one clock that only goes forward.
    """

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._stays_until: dict[str, float] = {}
        self._marks: dict[str, tuple[float, int]] = {}
        self._measured_at = -MEASURE_SECONDS

    def note_claimed(self, claimed: Claimed, now: float) -> None:
        """Know a task that is ours from now on, with the load that it had elsewhere."""
        self._told[claimed.task_id] = claimed.load
        if claimed.was_moved:
            self._stays_until[claimed.task_id] = now + STAY_SECONDS

    def is_due(self, now: float) -> bool:
        """Tell whether it is time to measure."""
        return now >= self._measured_at + MEASURE_SECONDS

    def measure(self, seen: Iterable[Observation], now: float) -> dict[str, float]:
        """Look at all tasks of this service; return the loads that others should know.

        These count once they are told: see ``note_told``.
        """
        self._measured_at = now
        snapshots = {each.snapshot.task.task_id: each.snapshot for each in seen}
        changed = dict(self._changed(snapshots, now))
        self._marks = {i: (now, _applied(each)) for i, each in snapshots.items()}
        self._told = {i: load for i, load in self._told.items() if i in snapshots}
        self._stays_until = {i: t for i, t in self._stays_until.items() if t > now}
        return changed

    def note_told(self, loads: Mapping[str, float]) -> None:
        """Know that the store has these."""
        self._told.update(loads)

    def told(self, task_id: str) -> float:
        """Return what the store has for a task."""
        return self._told.get(task_id, 1.0)

    def stays(self, task_id: str, now: float) -> bool:
        """Tell whether a task has just moved, and is not to move again."""
        return self._stays_until.get(task_id, now) > now

    def _changed(
        self, snapshots: Mapping[str, TaskSnapshot], now: float
    ) -> Iterator[tuple[str, float]]:
        for task_id, snapshot in snapshots.items():
            told = self.told(task_id)
            load = self._load(snapshot, told, now)
            if not load == told == 0 and abs(load - told) >= CHANGED_PART * told:
                yield task_id, load

    def _load(self, snapshot: TaskSnapshot, told: float, now: float) -> float:
        if snapshot.state is not TaskState.RUNNING:
            return 0.0
        since, before = self._marks.get(snapshot.task.task_id, (now, 0))
        applied = _applied(snapshot) - before
        if since == now or applied < 0:
            # Not known for long enough, or counted anew since.
            return told or 1.0
        load = 1.0 + applied / _BYTES / (now - since)
        return (told + load) / 2 if told else load


def _applied(snapshot: TaskSnapshot) -> int:
    return snapshot.applied.inserted_bytes + snapshot.applied.deleted_bytes
