"""Recorded lives of a real 2.6.20 and 3.0.0, from a real etcd to a real target."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from pymilvus import MilvusClient

from cdc_actors.config import SourceConfig
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.wal.streaming import stream
from cdc_actors.source.wal_choice import open_wal
from cdc_actors.target.connection import Connection
from tests.fakes.public_source import PublicPipeline
from tests.fakes.streamed_source import StreamedPipeline
from tests.support.recorded_etcd import RecordedEtcd
from tests.support.recorded_life import end
from tests.support.recorded_rows import aside, check_all_rows, check_rows
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

VERSION = "2.6.20"
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


@pytest.fixture
def by_api(
    target: EmbeddedLite,
    emptied: Callable[..., MilvusClient],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[PublicPipeline]:
    """Yield a running task of everything, to which the source is an address alone."""
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 600.0)
    spec = msgspec.structs.replace(
        SPEC, collection_infos=(), db_collections={"*": ("*",)}
    )
    emptied(target).close()
    with PublicPipeline(VERSION, spec) as pipeline:
        pipeline.source.play()
        config = SourceConfig(uri=pipeline.source.api.uri, etcd=None)
        pipeline.servers = replace(
            pipeline.servers,
            target=lambda _spec, run: Connection(
                target.uri, "", cancelled=run.cancelled
            ),
            log=lambda _spec, run: open_wal(config, run.prefetch),
            catalog=lambda _spec: open_catalog(config),
        )
        pipeline.start()
        yield pipeline


@pytest.mark.shows(
    "2.6.20",
    "RocksMQ",
    "Milvus Lite 3.2.2",
    by="recorded from a real server",
    way="API alone",
)
@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_what_an_api_alone_tells(by_api: PublicPipeline, target: EmbeddedLite) -> None:
    """Milvus Lite has every row of what it can hold, and the reason for each other."""
    reasons = aside(by_api)
    assert reasons.keys() == ASIDE | {"arrays", "null_vectors"}
    check_all_rows(target.uri, VERSION, reasons)


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
