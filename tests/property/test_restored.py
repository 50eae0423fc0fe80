"""Whatever happened since a backup, a restored store brings the target to be equal.

The gate takes the same walks each time; others, with ``derandomize`` and ``max_examples``
changed: ``python -m pytest -n 0 FILE --hypothesis-seed N``.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule

from cdc_actors.marks import Mark
from cdc_actors.pipeline.send_horizon import HORIZON_STEP
from tests.property.test_data_plane import Replication


class Restored(Replication):
    """A walk in which the store is what it was at a backup, in the end and before."""

    def __init__(self) -> None:
        super().__init__()
        self.back_up()

    @rule()
    def back_up(self) -> None:
        """Make a backup, whatever is under way; what comes is beyond its horizons."""
        self.backup = self.pipeline.task.backup()
        self.source.now += 2 * HORIZON_STEP

    @rule()
    def restore(self) -> None:
        """Let another process begin with the backup."""
        self.pipeline.restore(self.backup)
        self.recovering(self.pipeline.wait_for_steps)

    def found(self) -> tuple[dict[str, Any], dict[str, set[str]], dict[str, str]]:
        """Leave out what was made since the backup, and is gone from the source again.

        Or has another name there. Nothing tells the restored store of it: it stays.
        """
        rows, partitions, aliases = super().found()
        left = {n for n in rows if n not in self.rows and not self.is_known(n)}
        for name in left:
            del rows[name], partitions[name]
        return (
            rows,
            partitions,
            {alias: name for alias, name in aliases.items() if name not in left},
        )

    def is_known(self, name: str) -> bool:
        """Tell whether the store knows what the target has by a name, by this name."""
        found = self.target.collections.get(("default", name))
        mark = Mark.of(found.properties) if found else None
        if mark is None:
            return True
        entry = self.pipeline.task.task.collections.get(mark.collection_id)
        return entry is not None and entry.name == name

    def come_to_an_end(self) -> None:
        """Come to it, and to it again from the backup."""
        super().come_to_an_end()
        self.restore()
        super().come_to_an_end()


Restored.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
test_restored = Restored.TestCase
