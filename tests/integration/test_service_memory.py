"""The memory of the service stays below its ceiling, whatever waits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pymilvus import DataType, MilvusClient

from tests.support.books import TIMEOUT, wait_keys
from tests.support.cdc import PROGRAM, Cdc, wait_until
from tests.support.proxy import TcpProxy

if TYPE_CHECKING:
    from cdc_actors.embedded.milvus import EmbeddedMilvus

MIB = 1 << 20
CEILING = 32 * MIB
BASE = 128 * MIB
"""What the service may take beside rows, over what it takes when it has none: the
allocator's own, protobuf's and gRPC's. It took 61 to 73 where it was measured, and up to
99 at twice the ceiling, for an allocator keeps what it likes; all rows at once, and that
beside them, would be 200 at least."""

TEXTS = 29
LONGEST = 65_535
DIM = 32_768
"""Together a row of 2 MB, about the largest of Milvus 2.3."""

ROWS = 80


def test_target_that_has_stopped_does_not_fill_the_memory(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    client: MilvusClient,
    milvus: MilvusClient,
    tmp_path: Path,
) -> None:
    """Rows of 2 MB for a target that answers nothing stay below the ceiling.

    The way to the target stops, not the target: a Milvus that hangs for so long gives up.
    """
    large(client)
    with (
        TcpProxy(target_milvus.ports["api"]) as way,
        Cdc(
            tmp_path, source, settings=f"maxMemoryBytes: {CEILING}", program=PROGRAM
        ) as cdc,
    ):
        task = cdc.create(f"http://127.0.0.1:{way.port}")
        wait_until(lambda: "large" in milvus.list_collections(), "it is created", 60)
        cdc.wait_caught_up(task)
        before = resident(cdc)
        highest = before
        way.half_open()
        for start in range(0, ROWS, 8):
            client.insert("large", rows(start, start + 8), timeout=TIMEOUT)
            highest = max(highest, resident(cdc))
        wait_until(
            lambda: cdc.get(task)["health"]["status"] == "retrying",
            "the target is missed",
            60,
        )
        highest = max(highest, resident(cdc))
        assert highest - before < CEILING + BASE, f"{highest / MIB:.0f} MiB"
        way.heal()
        wait_keys(milvus, range(ROWS), "large", timeout=240)
        for key in (0, ROWS - 1):
            assert milvus.get("large", key) == client.get("large", key)
        highest = max(highest, resident(cdc))
        assert highest - before < CEILING + BASE, f"{highest / MIB:.0f} MiB"


def large(client: MilvusClient) -> None:
    """Create a collection of rows of 2 MB in two shards."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    for number in range(TEXTS):
        schema.add_field(f"text_{number}", DataType.VARCHAR, max_length=LONGEST)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(
        "large", schema=schema, index_params=indexes, num_shards=2, timeout=TIMEOUT
    )


def rows(start: int, end: int) -> list[dict[str, object]]:
    """Return large rows of these keys."""
    return [
        {"id": key, "vector": [float(key)] * DIM}
        | {f"text_{n}": f"{key} {n} ".ljust(LONGEST, "x") for n in range(TEXTS)}
        for key in range(start, end)
    ]


def resident(cdc: Cdc) -> int:
    """Return the bytes of memory that the service has had at most."""
    assert cdc.process is not None
    status = Path(f"/proc/{cdc.process.pid}/status").read_text("utf-8")
    (line,) = (each for each in status.splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
