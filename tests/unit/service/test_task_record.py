"""What the next run of a task begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.config import SourceConfig
from cdc_actors.pipeline.owner_start import OwnerStart
from cdc_actors.service.stores import Stores
from cdc_actors.service.task_record import TaskRecord
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons
from tests.support.tasks import new_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.tasks import Task

NOBODY: Any = None


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """Yield the stores of an owner that has just begun."""
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    secrets = SecretBox.open(tmp_path / "cdc.key", {})
    yield Stores(log, Checkpoints(log), SendHorizons(log), SegmentsDone(log), secrets)
    log.close()


@pytest.mark.parametrize("is_new", [False, True])
def test_another_owner_had_every_task_but_those_created_since(
    stores: Stores, *, is_new: bool
) -> None:
    """All that the source has may be at the target, unless the task began with us."""
    task: Task = new_task(secret=stores.secrets.encrypt("root:Milvus"))
    record, began = TaskRecord(task, stores), OwnerStart()
    record.save_created()
    if not is_new:
        record = TaskRecord(stores.log.load(task.task_id), stores, began)
    spec = record.run_spec(SourceConfig(), NOBODY)
    assert spec.owner_start is (None if is_new else began)


def test_the_start_of_an_owner_is_asked_for_once() -> None:
    """Later runs of all tasks go by what the source said to the first one."""
    times, began = iter([5, 6]), OwnerStart()
    asked = [began.timestamp(lambda: next(times)) for _ in range(2)]
    assert asked == [5, 5]
