"""What single-row requests cost the service: inserts, deletes of one key, upserts.

    python -m benchmarks.small_rows --mq natsmq --against /path/to/another/checkout

A backlog of one row a request is written at a source. Then a service that runs already is
given a task for it, once for each kind and round, and what its process took of the
processors is divided by the records. With ``--against``, the service of another checkout
carries the very same log in turn: only figures of one run can be compared. Of all rounds
the best counts, less what a task of a few rows takes of the processors.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict, deque
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2

from benchmarks.processes import processor_seconds
from benchmarks.replication import QUEUES, create, open_source, requests
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.grpc_common import NO_KEEPALIVE
from tests.support.cdc import PROGRAM, Cdc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DIM = 8
IN_FLIGHT = 200
"""Requests of the writer: as many clients of one row each."""

WARM = "warm"
WARM_ROWS = 10
"""A small collection, which shows what a task costs whatever it carries."""

LOOK_SECONDS = 0.5
GIVE_UP_SECONDS = 600.0


class Kind(NamedTuple):
    """What is written: a gRPC method, its request of a key, and what comes of it.

    ``filled`` tells whether the rows are there before, ``records`` how many a request
    makes in the log, ``applied`` how many rows.
    """

    method: str
    request: Callable[[str, int], Any]
    filled: bool
    records: int


def insert(name: str, key: int, message: Any = milvus_pb2.InsertRequest) -> Any:
    """Return a request of one row."""
    [made] = requests(name, 1, 1, DIM)
    made.fields_data[0].scalars.long_data.data[0] = key
    return message(
        collection_name=name, num_rows=1, hash_keys=[0], fields_data=made.fields_data
    )


def delete(name: str, key: int) -> Any:
    """Return a request to delete one row."""
    return milvus_pb2.DeleteRequest(collection_name=name, expr=f"id in [{key}]")


KINDS = {
    "insert": Kind("Insert", insert, filled=False, records=1),
    "delete": Kind("Delete", delete, filled=True, records=1),
    "upsert": Kind(
        "Upsert",
        partial(insert, message=milvus_pb2.UpsertRequest),
        filled=True,
        records=2,
    ),
}


def write(source: MilvusClient, name: str, kind: Kind, rows: int) -> None:
    """Write a backlog of a collection that has the kind's name."""
    create(source, name, DIM)
    stub = source._get_connection()._stub  # noqa: SLF001 - the barest client there is
    if kind.filled:
        send(stub.Insert, requests(name, rows, rows, DIM), 1)
    one_by_one = (kind.request(name, key) for key in range(rows))
    begun = time.perf_counter()
    send(getattr(stub, kind.method), one_by_one, IN_FLIGHT)
    print(f"{name}: {rows:,} requests written in {time.perf_counter() - begun:.0f} s")


def send(method: Any, made: Iterator[Any], in_flight: int) -> None:
    """Send requests, so many in flight, until all are answered well."""
    answers: deque[Any] = deque()
    for request in made:
        if len(answers) == in_flight:
            check(answers.popleft())
        answers.append(method.future(request, timeout=120))
    while answers:
        check(answers.popleft())


def check(answer: Any) -> None:
    """Wait for an answer, which must be good."""
    status = answer.result().status
    assert status.code == 0, status


def carry(
    cdc: Cdc, target: EmbeddedMilvus, name: str, kind: Kind, rows: int
) -> tuple[float, float]:
    """Let a new task carry a backlog; return the seconds, and those of processors."""
    expected = rows * (kind.records + kind.filled)
    assert cdc.process is not None
    before, begun = processor_seconds(cdc.process.pid), time.perf_counter()
    task = cdc.create(target.uri, collection_infos=[{"name": name}])
    while cdc.get(task)["rows_applied"] < expected:
        assert time.perf_counter() - begun < GIVE_UP_SECONDS, cdc.get(task)
        time.sleep(
            LOOK_SECONDS
        )  # Each look costs the service a thousandth of a second.
    took = time.perf_counter() - begun, processor_seconds(cdc.process.pid) - before
    cdc.ask("delete", task_id=task)
    return took


def programs(against: Path | None) -> dict[str, Sequence[str]]:
    """Return what Python runs of each checkout."""
    if against is None:
        return {"this": PROGRAM}
    paths = [str(against), str(against / "http")]
    code = (
        f"import runpy, sys; sys.path[:0] = {paths}; "
        "runpy.run_module('cdc_actors', run_name='__main__', alter_sys=True)"
    )
    return {"against": ("-c", code), "this": PROGRAM}


def measure(folder: Path, args: argparse.Namespace, stack: ExitStack) -> None:
    """Write each kind's backlog, and let each checkout's service carry it in turn."""
    source = open_source(stack, folder, args.mq)
    target = stack.enter_context(EmbeddedMilvus(folder / "target"))
    written, read = (
        MilvusClient(each.uri, timeout=120, dedicated=True, grpc_options=NO_KEEPALIVE)
        for each in (source, target)
    )
    kinds = {WARM: KINDS["insert"]} | {each: KINDS[each] for each in args.kinds}
    rows = {name: WARM_ROWS if name == WARM else args.rows for name in kinds}
    for name, kind in kinds.items():
        write(written, name, kind, rows[name])
    services = {
        checkout: stack.enter_context(Cdc(folder / checkout, source, program=program))
        for checkout, program in programs(args.against).items()
    }
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for name, kind in [(WARM, kinds[WARM]), *(args.rounds * [*kinds.items()])]:
        for checkout, cdc in services.items():
            took = carry(cdc, target, name, kind, rows[name])
            found[name, checkout].append(took)
            read.drop_collection(name)
    for (name, checkout), all_took in found.items():
        if name == WARM:
            continue
        records = rows[name] * kinds[name].records
        seconds, processor = map(min, zip(*all_took, strict=True))
        processor -= min(took for _, took in found[WARM, checkout])
        print(
            f"{args.mq} {name:<6} {checkout:<7} {records / seconds:>9,.0f} records/s "
            f"{processor / records * 1e6:>6.1f} processor s for a million records"
        )


def main() -> None:
    """Measure one queue."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--mq", choices=QUEUES, default="natsmq")
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--against", type=Path, help="the folder of another checkout")
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measure(folder, args, stack)


if __name__ == "__main__":
    main()
