"""A deleted task leaves its target as an ordinary Milvus: without its marks."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import structlog

from cdc_actors.errors import CdcError
from cdc_actors.pipeline.claims import release
from cdc_actors.target.connection import connect
from cdc_actors.tasks import CollectionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.claims import Claimant
    from cdc_actors.tasks import CollectionEntry, ConnectParam, TaskSpec

WAIT_SECONDS = 2
"""How long a client that deletes a task waits for it, and a target may take to answer."""

_log = structlog.get_logger()


def release_marks(
    spec: TaskSpec, left: Iterable[CollectionEntry], token: str, claimant: Claimant
) -> None:
    """Remove a task's marks from collections at its target; raises nothing.

    What takes longer than a client waits goes on without it. A target that is away keeps
    the marks: they hold nobody of the same store once the task is gone.
    """
    marked = [
        spec.target_name(entry.database, entry.name)
        for entry in left
        if entry.schema and entry.state is not CollectionState.DROPPED
    ]
    if marked:
        thread = threading.Thread(
            target=_release_all,
            args=(spec.target, marked, token, claimant),
            daemon=True,
        )
        thread.start()
        thread.join(WAIT_SECONDS)


def _release_all(
    target: ConnectParam, names: Iterable[FullName], token: str, claimant: Claimant
) -> None:
    seconds = min(target.connect_timeout, WAIT_SECONDS)
    param = msgspec.structs.replace(target, connect_timeout=seconds)
    try:
        with closing(connect(param, token)) as connection:
            for name in names:
                release(connection, claimant, name)
    except CdcError as error:
        _log.warning("marks_not_removed", task_id=claimant.task_id, error=str(error))
