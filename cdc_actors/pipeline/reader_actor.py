"""The actor that reads the source's log for one task."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pykka

from cdc_actors.pipeline.messages import (
    TakeStep,
)
from cdc_actors.pipeline.read_loop import ReadLoop
from cdc_actors.pipeline.sources import open_sources

if TYPE_CHECKING:
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.sources import Servers

STOP_SECONDS = 1.0
"""How long appliers are waited for that are in the middle of a request."""


class Reader(pykka.ThreadingActor):
    """Takes one step of its loop a message, and hears between them from the appliers.

    Everything is opened by the first step, not in ``on_start``: Pykka tells nobody of an
    actor that fails there. A failure of any step ends the run and goes to the task.
    """

    use_daemon_thread = True

    def __init__(self, context: RunContext, spec: RunSpec, servers: Servers) -> None:
        super().__init__()
        self._context = context
        self._spec = spec
        self._servers = servers
        self._open = ExitStack()
        self._loop: ReadLoop | None = None

    def on_receive(self, message: Any) -> None:
        """Take one step, or hear what an applier did. Runs in the actor's own thread."""
        if isinstance(message, TakeStep):
            if not self._context.stopping and self._context.guard(self._step):
                self.actor_ref.tell(message)
        elif self._loop is not None:
            loop = self._loop
            self._context.guard(lambda: loop.hear(message))

    def on_stop(self) -> None:
        """Let the appliers finish what is under way, then close every connection."""
        self._context.stop()
        # Whoever still refers to this actor must not keep the rows that it had.
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.join(STOP_SECONDS)
        with suppress(Exception):
            self._open.close()

    def _step(self) -> None:
        if self._loop is None:
            sources = self._open.enter_context(
                open_sources(self._spec, self._context, self._servers)
            )
            self._loop = ReadLoop(self._context, sources, self.actor_ref)
            self._loop.begin()
        self._loop.step()
