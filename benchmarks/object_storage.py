"""How fast small files come from an object store that lets each request wait.

    python -m benchmarks.object_storage --segments 200 --delay 0.05

Segments of a few rows, with a file a field, are in an object store of a process of its own
that answers each request after a while. They are read as a snapshot does, which fetches
files before it needs them, and one file after the other; nothing is sent. Only the ratio
says anything elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.config import Storage
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.work_queue import RunBudget
from cdc_actors.source.catalog.model import CollectionMeta, PartitionMeta
from cdc_actors.source.storage.files import Files
from cdc_actors.source.storage.listing import FileSet, Segment, StoredFile
from cdc_actors.source.storage.rows import LATEST, SegmentReader
from tests.support.milvus_files import file_of_rows
from tests.support.object_store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

ROWS = 4
DIM = 128
KEY, VECTOR, TEXT = 100, 101, 102
MEMORY = 256 << 20
"""As much as a service has by itself."""


def serve(told: Connection, files: dict[str, bytes], delay: float) -> None:
    """Be an object store until the process is killed."""
    with ObjectStore() as store:
        store.found = files
        store.before = partial(time.sleep, delay)
        told.send(store.settings)
        told.recv()


@contextmanager
def object_store(files: dict[str, bytes], delay: float) -> Iterator[Storage]:
    """Lend one, in a process of its own; yield how to find it."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=serve, args=(far, files, delay))
    process.start()
    try:
        yield Storage(**near.recv())
    finally:
        process.kill()
        process.join()


def collection() -> CollectionMeta:
    """Return a collection of a key, a vector and a text."""
    key = schema_pb2.FieldSchema(
        fieldID=KEY, name="id", is_primary_key=True, data_type=schema_pb2.Int64
    )
    vector = schema_pb2.FieldSchema(
        fieldID=VECTOR, name="v", data_type=schema_pb2.FloatVector
    )
    vector.type_params.add(key="dim", value=str(DIM))
    text = schema_pb2.FieldSchema(fieldID=TEXT, name="t", data_type=schema_pb2.VarChar)
    schema = schema_pb2.CollectionSchema(name="c", fields=[key, vector, text])
    return CollectionMeta(
        id=1,
        database="default",
        name="c",
        description="",
        created=1,
        available=True,
        dropping=False,
        schema=schema.SerializeToString(),
        shards=("dml_0_1v0",),
        channels=("dml_0",),
        start_positions={},
        shards_num=1,
        consistency_level=0,
        properties={},
        partitions={1: PartitionMeta("_default", 1)},
    )


def made(count: int) -> tuple[list[Segment], dict[str, bytes]]:
    """Return so many segments, as a catalog would have them, and their files."""
    segments, found = [], {}
    for number in range(count):
        files = {}
        for field, body in bodies(number * ROWS).items():
            path = f"insert_log/1/1/{number}/{field}/1"
            found[path] = body
            files[field] = StoredFile(path, ROWS, len(body))
        segments.append(
            Segment(
                id=number,
                partition=1,
                shard="dml_0_1v0",
                sets=(FileSet(files),),
                deletes=(),
            )
        )
    return segments, found


def bodies(first: int) -> dict[int, bytes]:
    """Return the files of one segment by field, row ids and times among them."""
    columns = {
        0: pa.array(range(ROWS), pa.int64()),
        1: pa.array([1] * ROWS, pa.int64()),
        KEY: pa.array(range(first, first + ROWS), pa.int64()),
        VECTOR: pa.array([bytes(4 * DIM)] * ROWS, pa.binary(4 * DIM)),
        TEXT: pa.array([f"row {key}" for key in range(first, first + ROWS)]),
    }
    return {field: file_of_rows(values) for field, values in columns.items()}


def read(reader: SegmentReader, segments: list[Segment]) -> float:
    """Read all rows; return the seconds that it took."""
    begun = time.perf_counter()
    rows = sum(
        insert.rows for each in segments for insert in reader.inserts(each, LATEST)
    )
    assert rows == len(segments) * ROWS, rows
    return time.perf_counter() - begun


def measure(storage: Storage, segments: list[Segment]) -> None:
    """Print how fast the segments are read, with and without fetching them before."""
    files = Files(storage)
    reader = SegmentReader(collection(), files)
    memory = RunBudget(MemoryBudget(MEMORY).quota(1.0))
    ahead = reader.ahead(segments, memory, lambda: None, whole=True)
    with ahead as reader_ahead:
        fetched_before = read(reader_ahead, segments)
    one_by_one = read(reader, segments)
    for what, seconds in (("ahead", fetched_before), ("one by one", one_by_one)):
        print(f"  {what:10}  {seconds / len(segments) * 1000:6.1f} ms a segment")
    print(f"  ahead is {one_by_one / fetched_before:.1f} times as fast")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds")
    args = parser.parse_args()
    segments, files = made(args.segments)
    for delay in (0.0, args.delay):
        print(f"{args.segments} segments, {delay * 1000:.0f} ms more for each request")
        with object_store(files, delay) as storage:
            measure(storage, segments)


if __name__ == "__main__":
    main()
