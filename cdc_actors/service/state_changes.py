"""A log line for each change of state of a collection. The task actor's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.messages import Retried
    from cdc_actors.tasks import CollectionEntry, Task

RETRYING = "retrying"
"""The state that is shown of a collection that is tried again beside the others."""

_WORSE = {"set_aside", RETRYING}
_log = structlog.get_logger()


def log_changes(before: Task, after: Task, collection_ids: Iterable[int]) -> None:
    """Say which of these collections have another state than before."""
    for each in collection_ids:
        entry = after.collections.get(each)
        former = before.collections.get(each)
        old = former.shown_state.value if former else None
        if entry is not None and old != entry.shown_state.value:
            _say(entry, old, entry.shown_state.value, entry.reason)


def log_retried(
    task: Task, before: Mapping[int, Retried], after: Mapping[int, Retried]
) -> None:
    """Say which collections are tried again beside the others, or no longer are.

    Both are as in ``RunProgressed``. What was set aside meanwhile is said elsewhere.
    """
    for each in before.keys() ^ after.keys():
        entry = task.collections.get(each)
        if entry is not None and entry.state.value not in _WORSE:
            state, again = entry.shown_state.value, after.get(each)
            if again is None:
                _say(entry, RETRYING, state, None)
            else:
                _say(entry, state, RETRYING, again.reason)


def _say(entry: CollectionEntry, old: str | None, new: str, reason: str | None) -> None:
    log = _log.warning if new in _WORSE else _log.info
    log(
        "collection_state_changed",
        collection=f"{entry.database}.{entry.name}",
        collection_id=entry.collection_id,
        reason=reason,
        **{"from": old, "to": new},
    )


def log_failed(error: CdcError) -> None:
    """Log that a run failed, with the traceback of what nobody expected."""
    cause = error.__cause__
    is_unexpected = cause is not None and str(error).startswith("unexpected ")
    _log.warning(
        "run_failed",
        error=str(error),
        failure_class=error.failure_class.value,
        exc_info=cause if is_unexpected else None,
    )
