"""Recorded lives of a real 2.6.20 and 3.0.0, from a real etcd to a real target."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pymilvus import MilvusClient

from cdc_actors.config import SourceConfig
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.wal.streaming import stream
from cdc_actors.source.wal_choice import open_wal
from cdc_actors.target.connection import Connection
from tests.fakes.public_source import PublicSource
from tests.fakes.streamed_source import StreamedPipeline
from tests.support.cdc import Cdc, wait_until
from tests.support.recorded_etcd import RecordedEtcd
from tests.support.recorded_life import end, life
from tests.support.recorded_rows import aside, check_all_rows, check_rows
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

VERSION = "2.6.20"
PARTS = 4
"""In how many parts a life is played to a service."""

NEWEST = "3.0.0"
ASIDE = {"auto_dyn", "structs", "every_nullable"}
NAMESPACES = {VERSION: set(), NEWEST: {"ns", "ns_part"}}
"""What is set aside whatever the target is."""


@pytest.fixture
def version(request: pytest.FixtureRequest) -> str:
    """Return which life is played."""
    return getattr(request, "param", VERSION)


@pytest.fixture
def pipeline(
    source: EmbeddedMilvus,
    target: EmbeddedMilvus | EmbeddedLite,
    emptied: Callable[..., MilvusClient],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> Iterator[StreamedPipeline]:
    """Yield a running task of everything; the source's nodes and API are doubles."""
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 600.0)
    spec = msgspec.structs.replace(
        SPEC, collection_infos=(), db_collections={"*": ("*",)}
    )
    emptied(target).close()
    with (
        RecordedEtcd(source.etcd_address, version) as etcd,
        StreamedPipeline(version, spec) as pipeline,
    ):
        pipeline.source.play()
        pipeline.source.nodes.tell_all(etcd)
        config = SourceConfig(etcd=etcd.config)
        pipeline.servers = replace(
            pipeline.servers,
            target=lambda _spec, run: Connection(
                target.uri, "", cancelled=run.cancelled
            ),
            log=lambda _spec, run: open_wal(config, run.prefetch),
            catalog=lambda _spec: EtcdCatalog(etcd.config),
        )
        pipeline.start()
        yield pipeline


def a_part() -> Callable[[object], bool]:
    """Return what tells that a part of a life is over."""
    left = iter(range(len(life(VERSION)) // PARTS, -1, -1))
    return lambda _: next(left) == 0


@pytest.fixture
def by_api() -> Iterator[PublicSource]:
    """Yield a source that has begun, of which a service knows an address alone."""
    source = PublicSource(VERSION, "rocksmq")
    source.play(a_part())
    yield source
    source.nodes.close()
    source.api.close()


@pytest.fixture
def cdc_by_api(by_api: PublicSource, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service that reads it."""
    where = SimpleNamespace(uri=by_api.api.uri, etcd_address="", queue={})
    with Cdc(tmp_path, where) as service:
        yield service


@pytest.mark.shows(
    "2.6.20",
    "RocksMQ",
    "Milvus Lite 3.2.2",
    by="recorded from a real server",
    way="API alone",
)
@pytest.mark.usefixtures("lite")
def test_what_an_api_alone_tells(
    by_api: PublicSource, cdc_by_api: Cdc, target_lite: EmbeddedLite
) -> None:
    """Milvus Lite has every row of what it can hold, and the reason for each other.

    The service is killed, and its task paused, while the source goes on.
    """
    cdc, everything = cdc_by_api, {"*": [{"name": "*"}]}
    task = cdc.create(target_lite.uri, db_collections=everything)
    wait_until(lambda: cdc.get(task)["rows_applied"], "rows arrive")
    by_api.play(a_part())
    cdc.kill()
    by_api.play(a_part())
    cdc.start()
    wait_until(lambda: cdc.get(task)["rows_applied"], "rows arrive")
    cdc.ask("pause", task_id=task)
    assert cdc.get(task)["state"] == "Paused"
    by_api.play()
    cdc.ask("resume", task_id=task)
    cannot = ASIDE | {"arrays", "null_vectors"}
    wait_until(lambda: aside_in(cdc.get(task)).keys() == cannot, "all is told")
    cdc.wait_caught_up(task)
    reasons = aside_in(cdc.get(task))
    assert reasons.keys() == cannot
    assert all(reasons.values())
    assert cdc.get(task)["state"] == "Running"
    check_all_rows(target_lite.uri, VERSION, reasons)


def aside_in(shown: dict[str, Any]) -> dict[str, str]:
    """Return why collections are set aside, by name, in what ``get`` shows of a task."""
    return {
        each["name"]: each["reason"]
        for each in shown["collections"]
        if each["state"] == "set_aside"
    }


@pytest.mark.shows(
    "2.6.20",
    "RocksMQ",
    "Milvus Lite 3.2.2",
    by="recorded from a real server",
    way="streaming nodes",
)
@pytest.mark.shows(
    "3.0.0",
    "RocksMQ",
    "Milvus Lite 3.2.2",
    by="recorded from a real server",
    way="streaming nodes",
)
@pytest.mark.parametrize("version", [VERSION, NEWEST], indirect=True)
@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_what_the_client_left_behind(
    pipeline: StreamedPipeline, target: EmbeddedLite, version: str
) -> None:
    """Milvus Lite has every row of what it can hold, and the reason for each other."""
    reasons = aside(pipeline)
    cannot = {each for each in reasons if each.startswith("arrays")} | {"null_vectors"}
    assert reasons.keys() == ASIDE | NAMESPACES[version] | cannot
    check_all_rows(target.uri, version, reasons)


@pytest.mark.shows(
    "2.6.20",
    "RocksMQ",
    "2.3.5",
    by="recorded from a real server",
    way="streaming nodes",
)
@pytest.mark.parametrize("target", ["milvus"], indirect=True)
def test_what_an_older_target_can_hold(
    pipeline: StreamedPipeline, target: EmbeddedMilvus
) -> None:
    """A 2.3.5 has the rows of it; of the rest it is not asked for anything."""
    reasons = aside(pipeline)
    newer = {"arrays", "every_default", "nullable_default", "bm25", "null_vectors"}
    assert reasons.keys() == ASIDE | newer
    assert all("2.3.5-lite, knows no " in (reasons[name] or "") for name in newer)
    with closing(MilvusClient(target.uri, dedicated=True)) as client:
        indexes = client.prepare_index_params()
        indexes.add_index("v", index_type="FLAT", metric_type="L2")
        client.create_index("every_type", indexes)
        check_rows(client, "every_type", end(VERSION).rows["default", "every_type"])
