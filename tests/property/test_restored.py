"""Whatever happened since a backup, a restored store brings the target to be equal."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule

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

    def come_to_an_end(self) -> None:
        """Come to it, and to it again from the backup."""
        super().come_to_an_end()
        self.restore()
        super().come_to_an_end()


Restored.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_restored = Restored.TestCase
