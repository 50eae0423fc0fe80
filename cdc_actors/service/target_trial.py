"""Whether a target can be had: it is connected to before anything is written down."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from cdc_actors.errors import CdcError, TargetRefusedError, UnavailableError
from cdc_actors.target.connection import connect
from cdc_actors.target.identity import (
    OtherMilvusError,
    SameMilvusError,
    refuse_other,
    refuse_source,
)
from cdc_actors.target.standby import StandbyError, refuse_standby
from cdc_actors.tasks import updates

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import SourceConfig
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import Task, TaskSpec

LONGEST_SECONDS = 60
"""How long at most a request waits for its target, whatever the task's own time-out."""

AT_ONCE = 8
"""How many requests may wait for their targets at a time; the API has more threads."""

WAIT_SECONDS = 5.0
"""How long another one waits until it may."""


class TargetTrial:
    """Connects to targets for a source's tasks. Any thread may use it."""

    def __init__(self, source: SourceConfig) -> None:
        self._source = source
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def run(
        self, spec: TaskSpec, check: Callable[[Connection], None] = lambda _: None
    ) -> None:
        """Connect to a target and ask it; ``check`` raises what else is wrong with it.

        Raises:
            TargetRefusedError: It cannot be reached, refuses, is the source, would not
                show what is written to it, or ``check`` says no.
            UnavailableError: Too many wait for their targets.
        """
        if not self._places.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError("too many requests wait for targets, try later")
        try:
            seconds = min(spec.target.connect_timeout, LONGEST_SECONDS)
            param = msgspec.structs.replace(spec.target, connect_timeout=seconds)
            with closing(connect(param, spec.token)) as target:
                refuse_source(target, self._source)
                refuse_standby(target)
                check(target)
        except (SameMilvusError, OtherMilvusError, StandbyError) as error:
            raise TargetRefusedError(str(error)) from error
        except CdcError as error:
            raise TargetRefusedError(f"fail to connect the milvus, {error}") from error
        finally:
            self._places.release()


def refuse_move(target: Connection, task: Task, token: str, *, told: bool) -> None:
    """Refuse another address, unless the target is known or nothing was written to it.

    ``told`` is that the client says it is the same Milvus.

    Raises:
        OtherMilvusError: It is another Milvus, or not known to be the same.
    """
    if target.uri == task.spec.target.uri or not updates.has_written(task):
        return
    earlier = task.spec.target
    known = updates.target_ids(task)
    refuse_other(target, known, lambda: connect(earlier, token), told=told)
