"""How fast two Milvus are compared, and in how much memory.

    python -m benchmarks.comparison --rows 1000000
    python -m benchmarks.comparison --rows 10000000 --dim 8

Two Milvus are started here, with the same rows and one that differs. A process of its own
compares them and tells the seconds, its processor seconds, and by how much its memory had
grown after each tenth of the rows, at its peak so far; and how much more the two servers
held at their peaks than before. Beside it, in the same run, a bare client reads the rows of
both sides, page by page, and looks at nothing. Only the share says anything elsewhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2

from benchmarks.replication import DIM, IN_FLIGHT, SOURCE_ROWS, create, requests, send
from cdc_actors.compare import compare
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.grpc_common import NO_KEEPALIVE

NAME = "compared"
PAGE_ROWS = 8_000
DIFFERS = 7


def client_of(uri: str) -> MilvusClient:
    """Return a client of a server."""
    return MilvusClient(uri, timeout=120, dedicated=True, grpc_options=NO_KEEPALIVE)


def fill(uri: str, rows: int, dim: int, *, changed: bool) -> None:
    """Write the rows; one of them is another where ``changed``."""
    with closing(client_of(uri)) as client:
        create(client, NAME, dim)
        for first in range(0, rows, 50 * SOURCE_ROWS):
            count = min(50 * SOURCE_ROWS, rows - first)
            send(client, list(shifted(first, count, dim)), IN_FLIGHT)
        if changed:
            client.upsert(NAME, [{"id": DIFFERS, "v": [0.5] * dim}])
        client.flush(NAME)


def shifted(first: int, rows: int, dim: int) -> list[milvus_pb2.InsertRequest]:
    """Return insert requests whose keys begin at ``first``."""
    found = list(requests(NAME, rows, SOURCE_ROWS, dim))
    for request in found:
        keys = request.fields_data[0].scalars.long_data.data
        keys[:] = [key + first for key in keys]
    return found


def read_all(uri: str) -> None:
    """Read every row in pages by key."""
    with closing(client_of(uri)) as client:
        stub = client._get_connection()._stub  # noqa: SLF001 - the barest client there is
        last, found = -1, True
        while found:
            request = milvus_pb2.QueryRequest(
                collection_name=NAME,
                expr=f"id > {last}",
                output_fields=["*"],
                consistency_level=4,
                guarantee_timestamp=1,
            )
            request.query_params.add(key="limit", value=str(PAGE_ROWS))
            fields = stub.Query(request, timeout=120).fields_data
            keys = next((f for f in fields if f.field_name == "id"), None)
            found = keys is not None and len(keys.scalars.long_data.data) > 0
            if found:
                last = keys.scalars.long_data.data[-1]


def read_both(uris: list[str]) -> float:
    """Read both sides at once; return the seconds."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read_all, uris))
    return time.perf_counter() - begun


def memory_of(name: str, pid: int | str = "self") -> float:
    """Return one line of a process's status in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(each for each in lines if each.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def forget_peak(pid: int) -> float:
    """Have a process's peak count anew; return what it holds, in MiB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_of("VmRSS", pid)


def measured(uris: list[str], rows: int) -> tuple[float, float, dict[int, float], int]:
    """Compare; return seconds, processor seconds, memory, differences.

    Memory is the MiB that it grew by at its peak, by the tenths of the rows done by then.
    """
    memory = memory_of("VmRSS")
    grown: dict[int, float] = {}

    def note(_name: str, done: int) -> None:
        grown[done * 10 // rows] = memory_of("VmHWM") - memory

    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    report = compare(uris[0], "", uris[1], "", progress=note)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, processor, grown, report.collections[0].differences


def grown_by(held: list[float], peaks: list[float]) -> str:
    """Return by how much each server has grown."""
    both = zip(held, peaks, strict=True)
    return " / ".join(
        f"{peak - before:.0f} beside {before:.0f}" for before, peak in both
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=DIM)
    args = parser.parse_args()
    rows = args.rows
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedMilvus(Path(folder) / "source") as source,
        EmbeddedMilvus(Path(folder) / "target") as target,
    ):
        uris = [source.uri, target.uri]
        for uri in uris:
            fill(uri, rows, args.dim, changed=uri == target.uri)
        pids = [each.pid for each in (source, target) if each.pid]
        held = [forget_peak(pid) for pid in pids]
        spawned = multiprocessing.get_context("spawn")
        with spawned.Pool(1) as pool:
            seconds, processor, grown, found = pool.apply(measured, [uris, rows])
        peaks = [memory_of("VmHWM", pid) for pid in pids]
        held_bare = [forget_peak(pid) for pid in pids]
        bare = read_both(uris)
        peaks_bare = [memory_of("VmHWM", pid) for pid in pids]
    assert found == 1, found
    print(
        f"compared    {rows / seconds:10,.0f} rows/s, share of a bare reader "
        f"{bare / seconds:.2f}"
    )
    print(f"processor   {processor / rows * 1e6:10.1f} s for a million rows")
    told = " ".join(f"{grown[tenth]:.0f}" for tenth in sorted(grown))
    print(f"memory      {told} MiB more at its peak, after 0 to 10 tenths of the rows")
    print(f"servers     {grown_by(held, peaks)} MiB more, source / target")
    print(
        f"            {grown_by(held_bare, peaks_bare)} with the bare reader, afterwards"
    )


if __name__ == "__main__":
    main()
