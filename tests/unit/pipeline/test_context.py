"""What the threads of one run share."""

from __future__ import annotations

import threading

import pykka
import structlog
from structlog.contextvars import bound_contextvars, get_contextvars

from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.context import RunContext
from tests.support.tasks import CLAIMANT


def test_log_lines_of_every_thread_say_which_task() -> None:
    """What the task's actor has bound is bound in each step, whichever thread takes it."""
    with bound_contextvars(task_id="abc"):
        context = RunContext(1, pykka.ActorRef, MemoryBudget(1 << 20), CLAIMANT, int)
    seen: list[dict[str, object]] = []

    def take_a_step() -> None:
        structlog.contextvars.bind_contextvars(collection_id=445)
        context.guard(lambda: seen.append(get_contextvars()))

    thread = threading.Thread(target=take_a_step)
    thread.start()
    thread.join()
    assert seen == [{"task_id": "abc", "collection_id": 445}]
