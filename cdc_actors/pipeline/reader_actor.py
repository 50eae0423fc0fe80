"""The actor that reads the source's log for one task."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pykka

from cdc_actors.pipeline.messages import TakeStep
from cdc_actors.pipeline.read_loop import ReadLoop
from cdc_actors.pipeline.sources import open_sources
from cdc_actors.pipeline.waking import Waking
from cdc_actors.pooled_actor import PooledActor

if TYPE_CHECKING:
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.sources import Servers

STOP_SECONDS = 1.0
"""How long appliers are waited for that are in the middle of a request."""


class Reader(PooledActor):
    """Takes one step of its loop a message, and hears between them from the appliers.

    While there is nothing to do it rests, without a thread.

    Everything is opened by the first step, not in ``on_start``: Pykka tells nobody of an
    actor that fails there. A failure of any step ends the run and goes to the task.
    """

    def __init__(self, context: RunContext, spec: RunSpec, servers: Servers) -> None:
        super().__init__()
        self._context = context
        self._spec = spec
        self._servers = servers
        self._open = ExitStack()
        self._loop: ReadLoop | None = None
        self._waking = Waking(self._ask)

    def on_receive(self, message: Any) -> None:
        """Take one step, or hear what an applier did. Runs in one thread at a time."""
        if isinstance(message, TakeStep):
            self._waking.note_step()
            if not self._context.stopping:
                self._context.guard(self._step)
        elif self._loop is not None:
            loop = self._loop
            self._context.guard(lambda: loop.hear(message))
            self._waking.wake()

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
            sources.watch.listen(self._waking.wake)
            self._loop.begin()
        self._loop.step()
        if self._loop.rest(self._waking.wake):
            self._waking.wake_later()
        else:
            self._waking.wake()

    def _ask(self) -> None:
        with suppress(pykka.ActorDeadError):
            self.actor_ref.tell(TakeStep())
