"""How fast the event log answers once it is long: pages, starts, saves, verification.

    python -m benchmarks.event_log --events 1000000

Fills an SQLite file with the lives of tasks: most of them deleted, a hundred alive with a
usual life, and one alive that failed and recovered all the time and has a tenth of all
events. Then measures, each as the best of five but for what takes long. On a machine that
has more to do, the time of the processor says more than that of the clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint, Position
from cdc_actors.errors import FailureClass
from cdc_actors.store.audit.verify import verify
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.history import History
from cdc_actors.tasks import ConnectParam, Task, TaskSpec, Who

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHO = Who(kind="supervisor")
SAYS = {"who": WHO, "why": "benchmark"}
ENCRYPTED = "c2VjcmV0"
ALIVE = 100
LIFE = 100
SPEC = TaskSpec(target=ConnectParam(uri="http://target:19530"), collection_infos=("*",))
PLACES = [
    Checkpoint(
        position=Position(f"by-dev-rootcoord-dml_{each}", b"\0" * 8, "12345"),
        inclusive=False,
        tick=450000000000000000 + each,
    )
    for each in range(16)
]


def live(task: Task, events: int) -> Iterator[Task]:
    """Let a task live for about so many events; yield it whenever it is to be saved."""
    while task.version < events:
        task.fail("target away", FailureClass.TRANSIENT, next_try=None, **SAYS)
        task.recover(**SAYS)
        if task.version % 50 < 2:
            task.pause("by hand", PLACES, **SAYS)
            task.resume(**SAYS)
        if task.version % 1000 < 2:
            yield task
    yield task


def create() -> Task:
    """Return a new task."""
    return Task.create(SPEC, secret=ENCRYPTED, **SAYS)


def fill(log: TaskLog, events: int) -> Task:
    """Write about so many events; return the task with the longest life."""
    longest = create()
    for task in live(longest, events // 10):
        log.save(task)
    for _ in range(ALIVE):
        for task in live(create(), LIFE):
            log.save(task)
    left = events - events // 10 - ALIVE * LIFE
    while left > 0:
        task = create()
        for each in live(task, 1000):
            log.save(each)
        task.delete("over", PLACES, **SAYS)
        log.save(task)
        left -= task.version
    return longest


def measure(what: str, action: Callable[[], object], times: int = 5) -> None:
    """Print an action's best times in milliseconds: by the clock, and of the processor."""
    clock = processor = float("inf")
    for _ in range(times):
        began, worked = time.perf_counter(), time.process_time()
        action()
        clock = min(clock, time.perf_counter() - began)
        processor = min(processor, time.process_time() - worked)
    print(f"{what:40} {1000 * clock:12.2f} {1000 * processor:12.2f}", flush=True)


def run(path: str, events: int) -> None:
    """Fill a log and measure."""
    with closing(TaskLog.sqlite(path)) as log:
        began = time.perf_counter()
        task = fill(log, events)
        seconds = time.perf_counter() - began
        print(f"{'milliseconds':40} {'clock':>12} {'processor':>12}")
        history, last, task_id = History(log), task.version, task.task_id
        print(
            f"{events:,} events, the longest life {last:,}, written in {seconds:.0f} s"
        )
        for name, after in (("first", 0), ("middle", last // 2), ("last", last - 100)):
            measure(
                f"page of 100 events, {name}",
                lambda after=after: history.page(task_id, after=after, limit=100),
            )
        middle = history.page(task_id, after=last // 2, limit=1).events[0]
        measure(
            "get as of a time in the middle",
            lambda: history.task(task_id, middle.time),
            1,
        )
        ids = log.alive_ids()
        measure("ids of the tasks alive", log.alive_ids)
        usual = [each for each in ids if each != task_id]
        measure(
            f"load {len(usual)} tasks of {LIFE} events",
            lambda: [log.load(i) for i in usual],
        )
        measure("load the task with the longest life", lambda: log.load(task_id), 1)
        measure("one event saved", lambda: save(log, task))
        measure("verify all of it", lambda: verify(log.database), 1)
    measure("open the log", lambda: TaskLog.sqlite(path).close())
    print(f"{Path(path).stat().st_size / 2**20:.0f} MiB")


def save(log: TaskLog, task: Task) -> None:
    """Save one more event."""
    task.fail("target away", FailureClass.TRANSIENT, next_try=None, **SAYS)
    log.save(task)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(str(Path(folder) / "cdc.db"), arguments.events)


if __name__ == "__main__":
    main()
