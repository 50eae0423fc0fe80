"""How fast rows come from the source's files, in how much memory, and what segments cost.

    python -m benchmarks.snapshot --rows 500000

A source and a target are started here. A task with ``"snapshot": "always"`` brings a
collection from files of 64 MB; beside it, in the same run, a bare client sends ready-made
requests, four in flight, to the same target; a process of its own reads the files and
sends nothing; and ``query_iterator`` reads the source, loaded by then. Another collection
has many segments of a few rows. Only shares and the processor's seconds say anything
elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymilvus import DataType, MilvusClient

from benchmarks.comparison import client_of, shifted
from benchmarks.processes import processor_seconds
from benchmarks.replication import (
    DIM,
    IN_FLIGHT,
    SOURCE_ROWS,
    peak_memory,
    rate,
    requests,
    send,
)
from cdc_actors.cli.demo.older import cut, written_until
from cdc_actors.config import Etcd, Storage
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.pipeline.source_files import SourceFiles
from cdc_actors.source.catalog.client import EtcdCatalog
from tests.support.cdc import PROGRAM, Cdc

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_BYTES = 64 << 20
WANTED = {"dataNode": {"segment": {"insertBufSize": FILE_BYTES}}}
SHARDS = 16
"""As many as Milvus 2.3.5 lets a collection have."""

ROWS_A_SEGMENT = 4
ITERATED = 50_000
ITERATOR_ROWS = 5_000
WAIT = 3600
CAUGHT_UP = 2.0
"""The lag below which a task follows the log: some ticks."""

ASK_SECONDS = 0.25
"""How often it is asked whether all is there: each answer takes of the processor, too."""


def create(client: MilvusClient, name: str, shards: int = 1) -> None:
    """Create a collection without an index: nothing is merged."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema, num_shards=shards)


def fill(client: MilvusClient, name: str, rows: int) -> None:
    """Write rows, some at a time."""
    create(client, name)
    for first in range(0, rows, 50 * SOURCE_ROWS):
        count = min(50 * SOURCE_ROWS, rows - first)
        ready = shifted(first, count, DIM)
        for request in (ready := list(ready)):
            request.collection_name = name
        send(client, ready, IN_FLIGHT)


def fill_segments(client: MilvusClient, name: str, segments: int) -> int:
    """Write a few rows to each shard of many partitions; return how many rows."""
    create(client, name, SHARDS)
    count = SHARDS * ROWS_A_SEGMENT
    partitions = segments // SHARDS
    [request] = requests(name, count, count)
    stub = client._get_connection()._stub  # noqa: SLF001 - the barest client there is
    for number in range(partitions):
        client.create_partition(name, f"p{number}")
        request.partition_name = f"p{number}"
        keys = range(number * count, (number + 1) * count)
        request.fields_data[0].scalars.long_data.data[:] = keys
        assert stub.Insert(request).status.code == 0
    return partitions * count


def files_of(source: EmbeddedMilvus) -> SourceFiles:
    """Return the files of a source."""
    etcd = Etcd(address=(source.etcd_address,))
    return SourceFiles(
        Storage(**source.storage), lambda: EtcdCatalog(etcd), lambda: None
    )


def forget(source: EmbeddedMilvus, client: MilvusClient, name: str) -> int:
    """Have all rows in files, and not in the log; return how many segments these are."""
    cut(source.nats_address, written_until(source, name, partial(client.flush, name)))
    files = files_of(source)
    with closing(files.open_catalog()) as catalog:
        meta = catalog.find("default", name)
        assert meta is not None
        stored = files.find(catalog, meta.id)
    assert stored is not None
    return len(stored.listing.segments)


def bare(client: MilvusClient, rows: int) -> float:
    """Send rows with ready-made requests; return the seconds until answered."""
    create(client, "bare")
    seconds = send(client, list(requests("bare", rows, SOURCE_ROWS)), IN_FLIGHT)
    client.drop_collection("bare")
    return seconds


def read(etcd: str, storage: Mapping[str, str], name: str) -> tuple[int, float, float]:
    """Read a collection's files; return rows, seconds and processor seconds."""
    files = SourceFiles(
        Storage(**storage), lambda: EtcdCatalog(Etcd(address=(etcd,))), lambda: None
    )
    begun, before = time.perf_counter(), processor()
    with closing(files.open_catalog()) as catalog:
        meta = catalog.find("default", name)
        assert meta is not None
        stored = files.find(catalog, meta.id)
    assert stored is not None
    rows = sum(
        insert.rows
        for segment in stored.listing.segments
        for insert in stored.reader.inserts(
            segment, stored.listing.checkpoints[segment.shard].timestamp
        )
    )
    return rows, time.perf_counter() - begun, processor() - before


def processor() -> float:
    """Return what this process has had of the processor, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bring(cdc: Cdc, target: str, name: str) -> tuple[dict[str, Any], float, str]:
    """Have a task bring a collection; return what it tells, and processor seconds.

    And what the lag of the log was afterwards.
    """
    assert cdc.process is not None
    before = processor_seconds(cdc.process.pid)
    wanted = {"snapshot": "always", "collection_infos": [{"name": name}]}
    task = cdc.create(target, **wanted)

    def told() -> list[dict[str, Any]]:
        events = cdc.ask("history", task_id=task, limit=1000)["events"]
        return [e["content"] for e in events if e["event"] == "snapshot_completed"]

    deadline = time.monotonic() + WAIT
    while not told():
        assert time.monotonic() < deadline, f"{name} is not brought"
        time.sleep(ASK_SECONDS)
    used = processor_seconds(cdc.process.pid) - before
    [content] = told()
    lag = lag_of(cdc, task)
    cdc.ask("delete", task_id=task)
    return content, used, lag


def lag_of(cdc: Cdc, task: str) -> str:
    """Wait until a task has caught up with the log; return what its lag was before."""
    begun, lags = time.monotonic(), [float("inf")]
    while lags[-1] > CAUGHT_UP:
        assert time.monotonic() < begun + WAIT, "the log is not caught up with"
        lags += filter(None, [cdc.get(task)["lag_seconds"]])
        time.sleep(ASK_SECONDS)
    took = time.monotonic() - begun
    return f"{max(lags[1:]):.1f} s at most, caught up {took:.1f} s after the last row"


def iterate(client: MilvusClient, name: str, rows: int) -> float:
    """Read some rows through the source's API, once it is loaded; return the seconds."""
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_index(name, indexes)
    client.load_collection(name)
    begun = time.perf_counter()
    pages = client.query_iterator(
        name, batch_size=ITERATOR_ROWS, limit=rows, output_fields=["*"]
    )
    found = 0
    while page := pages.next():
        found += len(page)
    assert found == rows, found
    return time.perf_counter() - begun


def speed(
    source: EmbeddedMilvus,
    clients: list[MilvusClient],
    cdc: Cdc,
    target: str,
    rows: int,
) -> None:
    """Print the shares of a collection in large files."""
    fill(clients[0], "large", rows)
    there = forget(source, clients[0], "large")
    print(
        f"{rows:,} rows of dim {DIM} in {there} segments, files of {FILE_BYTES >> 20} MB"
    )
    bares = [bare(clients[1], rows)]
    content, used, lag = bring(cdc, target, "large")
    bares.append(bare(clients[1], rows))
    assert content["rows"] == rows, content
    ours = content["seconds"]
    shares = " ".join(f"{each / ours:.2f}" for each in bares)
    print(f"snapshot        {rate(rows, ours)}, {per_million(used, rows)}")
    print(f"share of a bare client, before and after: {shares}")
    print(f"lag of the log behind it: {lag}")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        given = source.etcd_address, source.storage, "large"
        read_rows, seconds, used = pool.apply(read, given)
    assert read_rows == rows, read_rows
    times = [f"{each / seconds:.1f}" for each in (ours, *bares)]
    print(f"read alone      {rate(rows, seconds)}, {per_million(used, rows)}")
    print(f"  {times[0]} times the snapshot, {' '.join(times[1:])} times a bare client")
    part = min(rows, ITERATED)
    seconds = iterate(clients[0], "large", part)
    print(f"query_iterator  {rate(part, seconds)}")
    print(f"  the snapshot is {rows / ours / (part / seconds):.1f} times that")
    print(f"resident memory of the service at its peak: {peak_memory(cdc)}")


def per_million(seconds: float, rows: int) -> str:
    """Return what a million rows take of a processor."""
    return f"{seconds / rows * 1e6:.1f} s of a processor for a million"


def small(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target: str, segments: int
) -> None:
    """Print what many small segments cost, beside what a collection of one does."""
    used = []
    for name, wanted in (("one", SHARDS), ("small", segments)):
        rows = fill_segments(client, name, wanted)
        there = forget(source, client, name)
        content, processor_seconds, _ = bring(cdc, target, name)
        assert content["rows"] == rows, content
        used.append(processor_seconds)
    each = (used[1] - used[0]) / (there - SHARDS) * 1000
    print(f"{there:,} segments of a few rows: {each:.2f} ms of a processor each")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        given = source.etcd_address, source.storage, "small"
        _, _, read_seconds = pool.apply(read, given)
    print(f"  of which reading {read_seconds / there * 1000:.2f} ms")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--segments", type=int, default=1_000)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedMilvus(Path(name) / "source", wanted=WANTED) as source,
        EmbeddedMilvus(Path(name) / "target") as target,
        Cdc(
            Path(name) / "cdc",
            source,
            settings=f"  storage: {source.storage}\n",
            program=PROGRAM,
        ) as cdc,
    ):
        clients = [client_of(each.uri) for each in (source, target)]
        speed(source, clients, cdc, target.uri, args.rows)
        small(source, clients[0], cdc, target.uri, args.segments)


if __name__ == "__main__":
    main()
