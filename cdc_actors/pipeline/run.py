"""One run of a task: its reader, and how far it has come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.pipeline.context import RunContext
from cdc_actors.pipeline.messages import TakeStep
from cdc_actors.pipeline.reader_actor import Reader
from cdc_actors.pipeline.sources import SERVERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import Checkpoint
    from cdc_actors.memory_budget import MemoryBudget
    from cdc_actors.pipeline.messages import RunProgressed
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.sources import Servers
    from cdc_actors.pipeline.work import AppliedRows

STOP_SECONDS = 1.0
"""How long a run may take to end before it is left behind, its requests cancelled."""

_log = structlog.get_logger()


class Run:
    """Begins when it is made and ends once. The task actor's thread uses it."""

    def __init__(
        self,
        number: int,
        task: pykka.ActorRef[Any],
        spec: RunSpec,
        memory: MemoryBudget,
        servers: Servers = SERVERS,
    ) -> None:
        self.number = number
        self.progress: RunProgressed | None = None
        self._reported_at: float | None = None
        self._context = RunContext(
            number,
            task,
            memory,
            spec.claimant,
            lambda: servers.source_time(spec),
            spec.source.replicate_chan,
            spec.refused_kinds,
        )
        self._reader = Reader.start(self._context, spec, servers)
        self._reader.tell(TakeStep())

    def note(self, progress: RunProgressed) -> None:
        """Keep what it has reported."""
        self.progress = progress
        if self._reported_at is None:
            self._reported_at = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since it first reported: until then it opens its servers."""
        since = self._reported_at
        return 0.0 if since is None else time.monotonic() - since

    @property
    def applied(self) -> AppliedRows:
        """The rows that the target has confirmed."""
        return self._context.applied

    @property
    def applied_by(self) -> Mapping[int, AppliedRows]:
        """The same by collection id."""
        return self._context.applied_by

    def end(self) -> bool:
        """Stop reading and applying; tell whether everything has come to its end."""
        self._context.stop()
        try:
            self._reader.stop(block=True, timeout=STOP_SECONDS)
        except pykka.Timeout:
            _log.warning("run_stop_timed_out", seconds=STOP_SECONDS)
            return False
        finally:
            self._context.close()
        return True

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Return how far the target has come."""
        return self._context.checkpoints()

    def sent(self) -> Mapping[str, int]:
        """Return how far changes have been sent, by channel."""
        return self._context.sent
