"""The recorded life of a real 2.5.27, from a real queue and etcd to a real target."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
import pytest
from pymilvus import MilvusClient

from cdc_actors.config import Etcd
from cdc_actors.grpc_common import NO_KEEPALIVE
from cdc_actors.source.catalog.client import Catalog
from cdc_actors.target.connection import Connection
from cdc_actors.tasks import CollectionState
from tests.fakes.recorded_source import RecordedPipeline
from tests.support.cdc import wait_until
from tests.support.recorded_life import CatalogWrite, LogRecord, end, is_same, life
from tests.support.rocks_wal import RocksWal
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdc_actors.changes import Key
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

VERSION = "2.5.27"
ROOT = "recorded"


def put(channel: grpc.Channel, key: str, value: bytes) -> None:
    """Write a pair to etcd."""
    request = b"".join(
        bytes([number << 3 | 2]) + size(each) + each
        for number, each in ((1, key.encode()), (2, value))
    )
    channel.unary_unary("/etcdserverpb.KV/Put")(request, timeout=60)


def size(value: bytes) -> bytes:
    """Return a length as protobuf has it, of less than two million bytes."""
    length = len(value)
    return bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])


@pytest.fixture
def etcd(source: EmbeddedMilvus) -> Etcd:
    """Return where a real etcd has the catalog as it was in the end."""
    written = [step for step in life(VERSION) if isinstance(step, CatalogWrite)]
    last = {step.key: step.value for step in written}
    with grpc.insecure_channel(source.etcd_address.removeprefix("http://")) as channel:
        for key, value in last.items():
            if value is not None:
                put(channel, f"{ROOT}/{key}", value)
    return Etcd(address=(source.etcd_address,), root_path=f"{ROOT}/by-dev")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[RocksWal]:
    """Yield a RocksMQ with the log."""
    wal = RocksWal(tmp_path / "rocksmq")
    records = [step for step in life(VERSION) if isinstance(step, LogRecord)]
    records.sort(key=lambda record: (record.channel, record.id))
    for channel, group in groupby(records, key=lambda record: record.channel):
        wal.append_at(channel, [(each.id, each.payload) for each in group])
    yield wal
    wal.stop()


@pytest.fixture
def pipeline(
    etcd: Etcd,
    queue: RocksWal,
    target: EmbeddedMilvus | EmbeddedLite,
    emptied: Callable[..., MilvusClient],
) -> Iterator[RecordedPipeline]:
    """Yield a running task of everything; only the source's API is a double."""
    spec = msgspec.structs.replace(
        SPEC, collection_infos=(), db_collections={"*": ("*",)}
    )
    emptied(target).close()
    with RecordedPipeline(VERSION, spec) as pipeline:
        pipeline.source.play()
        pipeline.servers = replace(
            pipeline.servers,
            target=lambda _spec, run: Connection(
                target.uri, "", cancelled=run.cancelled
            ),
            log=lambda _spec, _run: queue.reader(),
            catalog=lambda _spec: Catalog(etcd),
        )
        pipeline.start()
        yield pipeline


def is_settled(pipeline: RecordedPipeline) -> bool:
    """Tell whether all of the log is confirmed."""
    assert pipeline.task.failures == []
    return pipeline._is_settled()


def check_rows(
    client: MilvusClient, name: str, wanted: dict[Key, tuple[str, dict[str, Any]]]
) -> None:
    """Check that a collection has the rows that its client gave, and no others."""
    client.load_collection(name)
    found = client.query(name, filter="", limit=1000, output_fields=["*"])
    [key] = {f["name"] for f in client.describe_collection(name)["fields"][:1]}
    rows = {row[key]: row for row in found}
    assert rows.keys() == wanted.keys()
    assert len(rows) == len(found)
    for each, (_, values) in wanted.items():
        row = rows[each]
        assert {f: v for f, v in values.items() if not is_same(v, row.get(f))} == {}, (
            row
        )


def aside(pipeline: RecordedPipeline) -> dict[str, str | None]:
    """Wait until all is confirmed; return why collections are set aside, by name."""
    wait_until(lambda: is_settled(pipeline), "all is confirmed")
    entries = pipeline.task.task.collections.values()
    return {e.name: e.reason for e in entries if e.state is CollectionState.SET_ASIDE}


@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_what_the_client_left_behind(
    pipeline: RecordedPipeline, target: EmbeddedLite
) -> None:
    """Milvus Lite has every row of what it can hold, and the reason for each other."""
    reasons = aside(pipeline)
    assert reasons.keys() == {"arrays", "every_nullable"}
    assert "BinaryVector" in reasons["arrays"]
    assert "'MULTIPOINT ((0 0), (1 1))' does not match" in reasons["every_nullable"]
    assert pipeline.task.task.refused == 0
    for (database, name), wanted in end(VERSION).rows.items():
        if name not in reasons:
            with closing(
                MilvusClient(
                    target.uri,
                    db_name=database,
                    dedicated=True,
                    grpc_options=NO_KEEPALIVE,
                )
            ) as client:
                check_rows(client, name, wanted)


@pytest.mark.parametrize("target", ["milvus"], indirect=True)
def test_what_an_older_target_cannot_hold(
    pipeline: RecordedPipeline, target: EmbeddedMilvus
) -> None:
    """A 2.3.5 is not asked for it: it would create it without, and crash on loading it."""
    reasons = aside(pipeline)
    assert reasons.keys() == {"every_nullable", "nullable_default", "bm25"}
    assert all("Milvus v2.3.5-lite, knows no " in reason for reason in reasons.values())
    [refused] = pipeline.task.task.refusals
    assert (refused.kind, refused.database) == ("AlterDatabase", "db1")
    with closing(MilvusClient(target.uri, dedicated=True)) as client:
        here = {name for database, name in end(VERSION).rows if database == "default"}
        assert set(client.list_collections()) == here - reasons.keys()
        indexes = client.prepare_index_params()
        indexes.add_index("v", index_type="FLAT", metric_type="L2")
        client.create_index("every_default", indexes)
        check_rows(
            client, "every_default", end(VERSION).rows["default", "every_default"]
        )
