"""How fast the whole way is: backlog, latency, memory, and the way back after a kill.

    python -m benchmarks.replication --target milvus --mq natsmq --rows 500000

A source and a target are started here. Each round writes a backlog at the source while the
task is paused, resumes it, and takes the time until the target has confirmed every row;
beside it a bare client sends ready-made requests, four in flight, to the same target. Only
the shares of one run say anything: absolute figures are the machine's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pymilvus import CollectionSchema, DataType, MilvusClient
from pymilvus.grpc_gen import milvus_pb2

from benchmarks.processes import processor_seconds
from cdc_actors.embedded.kafka import EmbeddedKafka
from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.embedded.pulsar import EmbeddedPulsar
from cdc_actors.grpc_common import NO_KEEPALIVE
from tests.support.cdc import PROGRAM, Cdc, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUEUES = ("natsmq", "rocksmq", "kafka", "pulsar")
DIM = 128
ROW_BYTES = DIM * 4 + 8
IN_FLIGHT = 4
SOURCE_ROWS = 5_000
"""Rows a request, as the source's client writes them."""

LARGE_ROWS = 20_000
"""Rows a request, about as large as the service makes them by joining."""

LATENCY_ROWS = 1_000
LOOK_ROWS = 200
"""How many rows are looked at in one query."""

EARLY = "early"
"""A collection whose rows do not wait for ticks."""

WRITES_A_SECOND = 100


def create(client: MilvusClient, name: str, dim: int = DIM) -> None:
    """Create a collection of an INT64 key and a vector, indexed and loaded."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=dim)
    make(client, name, schema)


def make(client: MilvusClient, name: str, schema: CollectionSchema) -> None:
    """Create a collection with a vector ``v``, indexed and loaded."""
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes)


def requests(name: str, rows: int, size: int, dim: int = DIM) -> Iterator[Any]:
    """Yield ready-made insert requests of ``size`` rows each."""
    vectors = np.random.default_rng(1).random(size * dim, dtype=np.float32)
    for first in range(0, rows, size):
        count = min(size, rows - first)
        request = milvus_pb2.InsertRequest(collection_name=name, num_rows=count)
        keys = request.fields_data.add(
            type=DataType.INT64, field_name="id", field_id=100
        )
        keys.scalars.long_data.data.extend(range(first, first + count))
        column = request.fields_data.add(
            type=DataType.FLOAT_VECTOR, field_name="v", field_id=101
        )
        column.vectors.dim = dim
        column.vectors.float_vector.data.extend(vectors[: count * dim])
        yield request


def send(client: MilvusClient, ready: list[Any], in_flight: int) -> float:
    """Send requests, so many in flight; return the seconds until all are answered."""
    stub = client._get_connection()._stub  # noqa: SLF001 - the barest client there is
    answers: deque[Any] = deque()
    begun = time.perf_counter()
    for request in ready:
        if len(answers) == in_flight:
            check(answers.popleft())
        answers.append(stub.Insert.future(request, timeout=120))
    while answers:
        check(answers.popleft())
    return time.perf_counter() - begun


def check(answer: Any) -> None:
    """Wait for an answer, which must be good."""
    status = answer.result().status
    assert status.code == 0, status


def fill(
    cdc: Cdc,
    task: str,
    source: MilvusClient,
    target: MilvusClient,
    name: str,
    rows: int,
) -> None:
    """Write a backlog for a collection that the target has, while the task is paused."""
    create(source, name)
    wait_until(lambda: target.has_collection(name), "the collection is there")
    wait_until(lambda: is_loaded(target, name), "the collection is loaded")
    cdc.ask("pause", task_id=task)
    send(source, list(requests(name, rows, SOURCE_ROWS)), IN_FLIGHT)


def carry(cdc: Cdc, task: str, rows: int) -> float:
    """Let the service carry the backlog; return the seconds from resume to confirmed."""
    before = cdc.get(task)["rows_applied"]
    begun = time.perf_counter()
    cdc.ask("resume", task_id=task)
    wait_until(
        lambda: cdc.get(task)["rows_applied"] - before >= rows, "rows applied", 600
    )
    return time.perf_counter() - begun


def bare(target: MilvusClient, rows: int, size: int, in_flight: int) -> float:
    """Send as many rows with ready-made requests; return the seconds until answered."""
    create(target, "bare")
    seconds = send(target, list(requests("bare", rows, size)), in_flight)
    target.drop_collection("bare")
    return seconds


def throughput(
    cdc: Cdc, task: str, source: MilvusClient, target: MilvusClient, args: Any
) -> None:
    """Print each round's rates, and the medians of the shares."""
    shares: dict[int, list[float]] = {SOURCE_ROWS: [], LARGE_ROWS: []}
    in_flight = 1 if args.target == "lite" else IN_FLIGHT
    for number in range(args.rounds):
        name = f"backlog_{number}"
        fill(cdc, task, source, target, name, args.rows)
        bares = {SOURCE_ROWS: bare(target, args.rows, SOURCE_ROWS, in_flight)}
        assert cdc.process is not None
        taken = processor_seconds(cdc.process.pid)
        ours = carry(cdc, task, args.rows)
        taken = processor_seconds(cdc.process.pid) - taken
        bares[LARGE_ROWS] = bare(target, args.rows, LARGE_ROWS, in_flight)
        cost = f"{taken / args.rows * 1e6:.2f} processor seconds for a million"
        print(f"round {number + 1}: service      {rate(args.rows, ours)}, {cost}")
        for size, seconds in bares.items():
            shares[size].append(seconds / ours)
            print(f"         bare {size:>6}  {rate(args.rows, seconds)}")
        source.drop_collection(name)
    for size, found in shares.items():
        median = statistics.median(found)
        print(
            f"share of a bare client with {size} rows a request: {median:.2f} (median)"
        )


def rate(rows: int, seconds: float) -> str:
    """Return a rate in rows and megabytes a second."""
    megabytes = rows * ROW_BYTES / 1e6
    return f"{rows / seconds:>10,.0f} rows/s {megabytes / seconds:>8.1f} MB/s"


def latency(source: MilvusClient, target: MilvusClient) -> None:
    """Print how long single rows take from an answer to being readable at the target.

    With the service between the two, by a task that waits for ticks and by one that does
    not, and at the target itself. When the ticks of the two Milvus come, one against the
    other, is settled at their start and moves the service's median by up to 0.3 s: only
    figures of one run can be compared.
    """
    names = {"bare": target, "tick": source, EARLY: source}
    for name, written in names.items():
        create_with_number(written, name)
        wait_until(lambda name=name: target.has_collection(name), f"{name} is there")
        wait_until(lambda name=name: is_loaded(target, name), f"{name} is loaded")
    for kind, (act, has_arrived) in KINDS.items():
        bare: list[float] = []
        for name, written in names.items():
            waits = waits_until_readable(
                target, name, partial(act, written, name), has_arrived
            )
            found = [waits[len(waits) // 2], waits[len(waits) * 99 // 100]]
            bare = bare or found
            p50, p99 = (
                f"{each:.3f} s ({each / by:.2f} of bare)"
                for each, by in zip(found, bare, strict=True)
            )
            print(f"{kind} {name} at {WRITES_A_SECOND}/s: p50 {p50}, p99 {p99}")
    target.drop_collection("bare")


def create_with_number(client: MilvusClient, name: str) -> None:
    """Create a collection whose rows have a number, too."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("n", DataType.INT64)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    make(client, name, schema)


def insert(client: MilvusClient, name: str, key: int) -> None:
    """Insert a row with the number 0."""
    client.insert(name, {"id": key, "n": 0, "v": [0.5] * DIM})


def upsert(client: MilvusClient, name: str, key: int) -> None:
    """Put one with the number 1 in its place."""
    client.upsert(name, {"id": key, "n": 1, "v": [0.5] * DIM})


def delete(client: MilvusClient, name: str, key: int) -> None:
    """Delete it."""
    client.delete(name, ids=[key])


Number = int | None
KINDS: dict[str, tuple[Callable[..., None], Callable[[Number], bool]]] = {
    "insert": (insert, lambda number: number == 0),
    "upsert": (upsert, lambda number: number == 1),
    "delete": (delete, lambda number: number is None),
}
"""What is written, and how the number of a row, None if there is no row, tells of it."""


def waits_until_readable(
    target: MilvusClient,
    name: str,
    act: Callable[[int], None],
    has_arrived: Callable[[Number], bool],
) -> list[float]:
    """Write rows one by one; return how long each took to be readable, sorted."""
    answered: dict[int, float] = {}
    writer = threading.Thread(target=write_steadily, args=(act, answered))
    writer.start()
    seen: dict[int, float] = {}
    oldest = 0
    while oldest < LATENCY_ROWS:
        keys = range(oldest, oldest + LOOK_ROWS)
        written = [key for key in keys if key in answered]
        found = target.query(
            name,
            filter=f"{keys.start} <= id < {keys.stop}",
            output_fields=["n"],
            consistency_level="Bounded",
            limit=LOOK_ROWS,
        )
        now = time.perf_counter()
        numbers = {row["id"]: row["n"] for row in found}
        arrived = (key for key in written if has_arrived(numbers.get(key)))
        for key in arrived:
            seen.setdefault(key, now)
        while oldest in seen:
            oldest += 1
    writer.join()
    return sorted(seen[key] - answered[key] for key in answered)


def is_loaded(client: MilvusClient, name: str) -> bool:
    """Tell whether a collection can be read."""
    return "Loaded" in str(client.get_load_state(name)["state"])


def write_steadily(act: Callable[[int], None], answered: dict[int, float]) -> None:
    """Write one row at a time, evenly, noting when each was answered."""
    begun = time.perf_counter()
    for key in range(LATENCY_ROWS):
        time.sleep(max(0.0, begun + key / WRITES_A_SECOND - time.perf_counter()))
        act(key)
        answered[key] = time.perf_counter()


def recovery(cdc: Cdc, task: str, source: MilvusClient) -> None:
    """Print how long a killed service takes from its start to the first applied row."""
    create(source, "recovery")
    wait_until(lambda: any_named(cdc.get(task), "recovery"), "the collection is known")
    cdc.kill()
    source.insert("recovery", {"id": 1, "v": [0.5] * DIM})
    begun = time.perf_counter()
    cdc.start()
    wait_until(lambda: cdc.get(task)["rows_applied"] > 0, "a row is applied")
    print(f"from start to the first applied row after a kill: {since(begun):.2f} s")


def any_named(task: dict[str, Any], name: str) -> bool:
    """Tell whether a task has a collection of this name."""
    return any(collection["name"] == name for collection in task["collections"])


def since(begun: float) -> float:
    """Return the seconds since then."""
    return time.perf_counter() - begun


def peak_memory(cdc: Cdc) -> str:
    """Return the service's largest resident memory so far (Linux)."""
    assert cdc.process is not None
    status = Path(f"/proc/{cdc.process.pid}/status").read_text()
    kilobytes = int(status.split("VmHWM:")[1].split()[0])
    return f"{kilobytes / 1024:.0f} MiB"


def open_source(
    stack: ExitStack,
    folder: Path,
    mq: str,
    **more: Any,
) -> EmbeddedMilvus:
    """Start a source with this message queue; Kafka and Pulsar need Java and Maven."""
    broker = ""
    if mq == "kafka":
        broker = stack.enter_context(EmbeddedKafka(folder / "broker")).address
    elif mq == "pulsar":
        broker = stack.enter_context(EmbeddedPulsar(folder / "broker")).address
    source = EmbeddedMilvus(folder / "source", mq=mq, broker=broker, **more)
    return stack.enter_context(source)


def options(description: str) -> argparse.ArgumentParser:
    """Return a parser of what is started; ``description`` begins with one line."""
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--target", choices=["milvus", "lite"], default="milvus")
    parser.add_argument("--mq", choices=QUEUES, default="natsmq")
    return parser


class Started(NamedTuple):
    """A service between two Milvus, and clients of these."""

    cdc: Cdc
    source: MilvusClient
    target: MilvusClient
    target_uri: str


@contextmanager
def started(args: Any) -> Iterator[Started]:
    """Start both sides and a service, as ``options`` say; end them on exit."""
    kinds = {"milvus": EmbeddedMilvus, "lite": EmbeddedLite}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = open_source(stack, folder, args.mq)
        target = stack.enter_context(kinds[args.target](folder / "target"))
        cdc = stack.enter_context(Cdc(folder / "cdc", source, program=PROGRAM))
        clients = [
            MilvusClient(
                server.uri, timeout=120, dedicated=True, grpc_options=NO_KEEPALIVE
            )
            for server in (source, target)
        ]
        yield Started(cdc, *clients, target.uri)


def main() -> None:
    """Run every part against one target."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with started(args) as (cdc, source, target, target_uri):
        cdc.create(target_uri, collection_infos=[{"name": EARLY}], consistency="early")
        task = cdc.create(target_uri)
        print(f"{args.mq} to {args.target}, {args.rows:,} rows of dim {DIM}")
        latency(source, target)
        throughput(cdc, task, source, target, args)
        print(f"resident memory of the service at its peak: {peak_memory(cdc)}")
        recovery(cdc, task, source)


if __name__ == "__main__":
    main()
