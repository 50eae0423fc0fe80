"""The recorded life of a real 2.5.27, from a real queue and etcd to a real target."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
import pytest
from pymilvus import MilvusClient

from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.target.connection import Connection
from tests.fakes.recorded_source import RecordedPipeline
from tests.support.recorded_etcd import RecordedEtcd
from tests.support.recorded_life import LogRecord, end, life
from tests.support.recorded_rows import aside, check_all_rows, check_rows
from tests.support.rocks_wal import RocksWal
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdc_actors.config import Etcd
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

VERSION = "2.5.27"


@pytest.fixture
def etcd(source: EmbeddedMilvus) -> Iterator[Etcd]:
    """Yield where a real etcd has the catalog as it was in the end."""
    with RecordedEtcd(source.etcd_address, VERSION) as etcd:
        yield etcd.config


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
    request: pytest.FixtureRequest,
) -> Iterator[RecordedPipeline]:
    """Yield a running task of everything; only the source's API is a double."""
    asked = {"collection_infos": (), "db_collections": {"*": ("*",)}}
    spec = msgspec.structs.replace(SPEC, **asked, **getattr(request, "param", {}))
    emptied(target).close()
    with RecordedPipeline(VERSION, spec) as pipeline:
        pipeline.source.play()
        pipeline.servers = replace(
            pipeline.servers,
            target=lambda _spec, run: Connection(
                target.uri, "", cancelled=run.cancelled
            ),
            log=lambda _spec, _run: queue.reader(),
            catalog=lambda _spec: EtcdCatalog(etcd),
        )
        pipeline.start()
        yield pipeline


@pytest.mark.shows(
    "2.5.27", "RocksMQ", "Milvus Lite 3.2.2", by="recorded from a real server"
)
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
    check_all_rows(target.uri, VERSION, reasons)


@pytest.mark.shows("2.5.27", "RocksMQ", "2.3.5", by="recorded from a real server")
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


@pytest.mark.parametrize("pipeline", [{"skip_unsupported_fields": True}], indirect=True)
@pytest.mark.parametrize("target", ["milvus"], indirect=True)
def test_what_an_older_target_can_hold_of_it(
    pipeline: RecordedPipeline, target: EmbeddedMilvus
) -> None:
    """Every collection is there, each row once, without the fields that are shown."""
    reasons = aside(pipeline)
    assert reasons.keys() == {"bm25"}
    assert "field sp" in reasons["bm25"]
    assert "cannot be skipped: the collection has no other vector" in reasons["bm25"]
    entries = pipeline.task.entries
    skipped = {name: each.skipped for name, each in entries.items() if each.skipped}
    assert skipped.keys() == {"every_nullable", "nullable_default"}
    assert {each.kind for each in pipeline.task.task.refusals} == {"AlterDatabase"}
    with closing(MilvusClient(target.uri, dedicated=True)) as client:
        for name, fields in skipped.items():
            described = client.describe_collection(name)["fields"]
            assert not {each["name"] for each in described} & {*fields}
            index(client, name)
            wanted = {
                key: (partition, {f: v for f, v in row.items() if f not in fields})
                for key, (partition, row) in end(VERSION).rows["default", name].items()
            }
            check_rows(client, name, wanted)
            [counted] = client.query(name, output_fields=["count(*)"])
            assert counted["count(*)"] == len(wanted)


def index(client: MilvusClient, name: str) -> None:
    """Index the vectors of a collection, unless they are."""
    indexes = client.prepare_index_params()
    for field in client.describe_collection(name)["fields"]:
        if "dim" in field["params"] and not client.list_indexes(name, field["name"]):
            indexes.add_index(field["name"], index_type="FLAT", metric_type="L2")
    if list(indexes):
        client.create_index(name, indexes)
