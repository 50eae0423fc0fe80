"""A deleted task leaves its target as an ordinary Milvus: without marks and shadows."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import structlog

from cdc_actors.errors import CdcError
from cdc_actors.pipeline.claims import release
from cdc_actors.pipeline.shadows import Shadow
from cdc_actors.target.connection import connect
from cdc_actors.tasks import CollectionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.pipeline.claims import Claimant
    from cdc_actors.tasks import CollectionEntry, TaskSpec

WAIT_SECONDS = 2
"""How long a client that deletes a task waits for it, and a target may take to answer."""

_log = structlog.get_logger()


def release_marks(
    spec: TaskSpec, left: Iterable[CollectionEntry], token: str, claimant: Claimant
) -> None:
    """Remove a task's marks and shadows of collections at its target; raises nothing.

    What takes longer than a client waits goes on without it. A target that is away keeps
    the marks: they hold nobody of the same store once the task is gone.
    """
    marked = [
        entry
        for entry in left
        if entry.schema and entry.state is not CollectionState.DROPPED
    ]
    if marked:
        thread = threading.Thread(
            target=_release_all, args=(spec, marked, token, claimant), daemon=True
        )
        thread.start()
        thread.join(WAIT_SECONDS)


def _release_all(
    spec: TaskSpec, entries: Iterable[CollectionEntry], token: str, claimant: Claimant
) -> None:
    seconds = min(spec.target.connect_timeout, WAIT_SECONDS)
    param = msgspec.structs.replace(spec.target, connect_timeout=seconds)
    try:
        with closing(connect(param, token)) as connection:
            for entry in entries:
                if entry.shadow:
                    mark = claimant.mark(entry)
                    Shadow(connection, spec, entry, mark).abandon()
                name = spec.target_name(entry.database, entry.name)
                release(connection, claimant, name)
    except CdcError as error:
        _log.warning("marks_not_removed", task_id=claimant.task_id, error=str(error))
