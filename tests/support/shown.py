"""Tasks as the page is to show them, in every state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cdc_actors.service.views import CollectionView, Health, Problems
from cdc_actors.tasks import ConnectParam, TaskSpec
from tests.support.http_service import WHEN, FakeService, task_view

if TYPE_CHECKING:
    from cdc_actors.service.views import HealthStatus, TaskView

STALL = "nothing new has been confirmed for 31 seconds: the target does not answer"
DIFFERS = "default.c1 is set aside: the target's field `vector` has dim 64, not 128"
REASONS: dict[HealthStatus, str] = {
    "stalled": STALL,
    "degraded": DIFFERS,
    "retrying": "the target http://target:19530 cannot be reached: connection refused",
    "failed": "the target refuses the login root: auth check failure",
}


def collections(count: int, *, aside: int = 0) -> tuple[CollectionView, ...]:
    """Return live collections, the first of which are set aside."""
    return tuple(
        CollectionView(
            database="default",
            name=f"c{number}",
            target=("default", f"c{number}"),
            collection_id=445_000 + number,
            state="set_aside" if number <= aside else "live",
            reason=DIFFERS.partition(": ")[2] if number <= aside else None,
        )
        for number in range(1, count + 1)
    )


def shown(
    number: int = 1, status: HealthStatus = "ok", count: int = 3, **changes: Any
) -> TaskView:
    """Return a task of that number and health, with some collections."""
    spec = TaskSpec(
        target=ConnectParam(uri=f"http://target-{number}:19530"),
        token="",
        collection_infos=("*",),
    )
    aside = 1 if status == "degraded" else 0
    problems = Problems(set_aside=aside, since=WHEN, reasons=(DIFFERS,) * aside)
    health = Health(
        status=status, since=WHEN, error=REASONS.get(status), problems=problems
    )
    if status == "retrying":
        next_try = WHEN + timedelta(seconds=30)
        health = replace(health, attempt=3, next_try=next_try)
    paused = status in {"paused", "failed"}
    fields = {
        "health": health,
        "state": "Paused" if paused else "Running",
        "reason": "manually pause through http interface" if paused else None,
        "lag_seconds": None if paused else 0.4 + number / 10,
        "rows_applied": 1234 * number,
        "collections": collections(count, aside=aside),
    }
    return replace(task_view(f"{number:032x}", spec), **(fields | changes))


def serving_tasks(*tasks: TaskView, **more: Any) -> FakeService:
    """Return a service with these tasks."""
    return FakeService(tasks={task.task_id: task for task in tasks}, **more)
