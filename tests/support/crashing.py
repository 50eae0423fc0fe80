"""The service as a program that dies where a test wants it to.

Run like ``python -m cdc_actors``. Everything that the service writes down and everything
that it asks of the target is a point, before it and after it, called for example
``before save Checkpoints`` or ``after call Insert``. Each point that is passed goes to the
file ``points`` in the working directory; at the one that the file ``armed`` names, the
process kills itself. What is asked of the source is none: nothing hangs on it, and some of
it is asked only once.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS = Path("points")
ARMED = Path("armed")


def main() -> None:
    """Become the service, with its points wired."""
    # This folder's modules must not stand for the libraries that they are called after.
    sys.path = [each for each in sys.path if Path(each) != Path(__file__).parent]
    from cdc_actors.cli.main import main as serve  # noqa: PLC0415
    from cdc_actors.store.checkpoints import Checkpoints  # noqa: PLC0415
    from cdc_actors.store.event_log import TaskLog  # noqa: PLC0415
    from cdc_actors.store.send_horizons import SendHorizons  # noqa: PLC0415
    from cdc_actors.target.connection import Connection  # noqa: PLC0415

    wire(TaskLog, "save", lambda task, *_: f"save {events(task)}")
    wire(Checkpoints, "save", lambda *_: "save Checkpoints")
    wire(SendHorizons, "save", lambda *_: "save send horizons")
    wire(Connection, "call", lambda method, *_: f"call {method}")
    wire(Connection, "begin_insert", lambda *_: "begin Insert")
    wire(Connection, "finish", lambda _answer, method: f"answer {method}")
    serve()


def events(task: Any) -> str:
    """Name the events that are about to be written down."""
    return " ".join(
        " ".join([type(event).__name__, getattr(event, "kind", "")]).strip()
        for event in task.pending_events
    )


def wire(owner: type, method: str, name: Callable[..., str]) -> None:
    """Put a point before and one after every call of a method."""
    original = getattr(owner, method)

    @wraps(original)
    def wired(self: Any, *args: Any, **more: Any) -> Any:
        if getattr(self, "_name", "") == "the source":
            return original(self, *args, **more)
        what = name(*args)
        pass_point(f"before {what}")
        answer = original(self, *args, **more)
        pass_point(f"after {what}")
        return answer

    setattr(owner, method, wired)


def pass_point(point: str) -> None:
    """Note a point, and die if it is the one."""
    with POINTS.open("a") as points:
        points.write(point + "\n")
    if ARMED.exists() and ARMED.read_text() == point:
        ARMED.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
