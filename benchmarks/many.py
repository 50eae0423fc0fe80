"""What many tasks on one source, or many collections of one task, cost at rest.

    python -m benchmarks.many [--tasks 20 50 200] [--queue natsmq]
    python -m benchmarks.many --collections 10 1000

Each task brings a collection of its own from a real source to one Milvus Lite; or one
task brings all. They are added up to each number; once all are well, what the service's
process takes is measured for a while.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path

from pymilvus import DataType, MilvusClient

from benchmarks.processes import processor_seconds, resident
from benchmarks.replication import QUEUES, open_source
from cdc_actors.embedded.lite import EmbeddedLite
from tests.support.cdc import PROGRAM, Cdc, wait_until

SETTLE = 65.0
"""For a minute it is looked again at what the catalog shows of a new collection."""

MEASURE, WAIT = 30.0, 300.0
SETTINGS = "maxTaskNum: 1000\n"


def add_collection(source: MilvusClient, number: int) -> str:
    """Create a collection at the source; return its name."""
    schema = source.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=8)
    name = f"idle_{number}"
    source.create_collection(name, schema=schema, num_shards=1)
    return name


def add_task(cdc: Cdc, target: str, name: str) -> None:
    """Create a task that brings the collection of that name, or all (``*``)."""
    body = {
        "task_id": uuid.uuid4().hex,
        "milvus_connect_param": {"uri": target},
        "collection_infos": [{"name": name}],
    }
    wait_until(lambda: cdc.request("create", **body)[0] == 200, f"a task of {name}")


def are_well(cdc: Cdc, count: int) -> bool:
    """Tell whether so many tasks run, and lack nothing."""
    tasks = cdc.ask("list")["tasks"]
    return [each["health"]["status"] for each in tasks] == ["ok"] * count


def are_there(target: MilvusClient, count: int) -> bool:
    """Tell whether the target has so many collections."""
    return len(target.list_collections()) == count


def measure(cdc: Cdc, what: str) -> None:
    """Print what the service takes while nothing happens."""
    assert cdc.process is not None
    pid = cdc.process.pid
    time.sleep(SETTLE)
    taken, begun = processor_seconds(pid), time.monotonic()
    time.sleep(MEASURE)
    share = (processor_seconds(pid) - taken) / (time.monotonic() - begun)
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    print(
        f"{what}: {share:6.1%} of a core, {cdc.threads} threads, "
        f"{files} file descriptors, {resident(pid)} MiB",
        flush=True,
    )


def main() -> None:
    """Measure each number of tasks, or of collections."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[20, 50, 200])
    parser.add_argument("--collections", type=int, nargs="+", help="of one task")
    parser.add_argument("--queue", choices=QUEUES, default="natsmq")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = open_source(stack, folder, arguments.queue)
        client = MilvusClient(source.uri, timeout=120, dedicated=True)
        target = stack.enter_context(EmbeddedLite(folder / "target"))
        service = Cdc(folder / "cdc", source, settings=SETTINGS, program=PROGRAM)
        cdc = stack.enter_context(service)
        if arguments.collections:
            measure_collections(cdc, client, target.uri, arguments.collections)
        else:
            measure_tasks(cdc, client, target.uri, arguments.tasks)


def measure_tasks(
    cdc: Cdc, source: MilvusClient, target: str, numbers: list[int]
) -> None:
    """Measure each number of tasks of a collection each."""
    for made, wanted in pairwise([0, *numbers]):
        for number in range(made, wanted):
            add_task(cdc, target, add_collection(source, number))
        wait_until(partial(are_well, cdc, wanted), "all are well", WAIT)
        measure(cdc, f"{wanted:>5} tasks")


def measure_collections(
    cdc: Cdc, source: MilvusClient, target: str, numbers: list[int]
) -> None:
    """Measure each number of collections of one task."""
    add_task(cdc, target, "*")
    there = MilvusClient(target, timeout=120, dedicated=True)
    for made, wanted in pairwise([0, *numbers]):
        for number in range(made, wanted):
            add_collection(source, number)
        wait_until(partial(are_there, there, wanted), "all are there", WAIT)
        wait_until(partial(are_well, cdc, 1), "all are well", WAIT)
        measure(cdc, f"{wanted:>5} collections")


if __name__ == "__main__":
    main()
