"""Which way the log of a source is read."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cdc_actors.config import Kafka, SourceConfig
from cdc_actors.errors import OperatorError, TransientError
from cdc_actors.source import wal_choice
from cdc_actors.source.versions import UnsupportedVersionError
from cdc_actors.source.wal.streaming.dump_reader import DumpReader
from cdc_actors.source.wal.streaming.node import PLACES
from cdc_actors.source.wal_choice import (
    explain_choice,
    is_streamed,
    open_wal,
    reach_wal,
)
from tests.fakes.fake_etcd import FakeEtcd
from tests.fakes.public_api import PublicApiServer
from tests.fakes.streaming_node import StreamingNodes
from tests.support.recorded_life import messages

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING = SourceConfig()
QUEUE = SourceConfig(kafka=Kafka(address="127.0.0.1:1"))


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> FakeEtcd:
    """Return the etcd that every configuration leads to."""
    etcd = FakeEtcd()
    monkeypatch.setattr(wal_choice, "open_catalog", lambda _: etcd.catalog())
    return etcd


@pytest.fixture
def nodes(etcd: FakeEtcd) -> Iterator[StreamingNodes]:
    """Yield streaming nodes with a channel."""
    with closing(StreamingNodes(etcd)) as nodes:
        nodes.append(messages("2.6.20-writers")[0])
        yield nodes


def run(etcd: FakeEtcd, version: str) -> None:
    """Have the source run."""
    etcd.put("session/rootcoord", f'{{"Version":"{version}"}}'.encode())


@pytest.mark.parametrize("version", ["2.6.20", "3.0.0", "3.0.7"])
@pytest.mark.parametrize("config", [NOTHING, QUEUE], ids=["nothing", "queue"])
def test_a_source_with_streaming_nodes(
    etcd: FakeEtcd, config: SourceConfig, version: str
) -> None:
    """They are read, whatever queue is configured."""
    run(etcd, version)
    with open_wal(config) as reader:
        assert reader.is_streamed
    assert explain_choice(config).startswith("read through the streaming nodes")


def test_an_older_source(etcd: FakeEtcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is read, and must be configured."""
    run(etcd, "2.5.27")
    monkeypatch.setattr(wal_choice, "open_reader", lambda source, _: source)
    assert open_wal(QUEUE) is QUEUE  # type: ignore[comparison-overlap]
    assert explain_choice(QUEUE) == (
        "kafka: Milvus 2.5.27 has no streaming nodes to read from"
    )
    monkeypatch.undo()
    monkeypatch.setattr(wal_choice, "open_catalog", lambda _: etcd.catalog())
    with pytest.raises(OperatorError, match=r"which is needed before Milvus 2\.6"):
        open_wal(NOTHING)


def test_a_source_that_does_not_run(etcd: FakeEtcd) -> None:
    """What its nodes have left in etcd tells."""
    with closing(etcd.catalog()) as catalog:
        assert not is_streamed(catalog)
        etcd.put(f"{PLACES}by-dev-rootcoord-dml_0", b"")
        assert is_streamed(catalog)


def test_a_source_that_cannot_be_read(etcd: FakeEtcd) -> None:
    """One of 2.5 with the log of 2.6, and one that came later."""
    run(etcd, "2.5.27")
    etcd.put("session/streamingnode-1", b"{}")
    with pytest.raises(UnsupportedVersionError, match="the streaming service"):
        open_wal(QUEUE)
    run(etcd, "3.1.0")
    with pytest.raises(UnsupportedVersionError, match=r"2\.2\.16 to 3\.0"):
        open_wal(QUEUE)


def test_whether_nodes_answer(etcd: FakeEtcd, nodes: StreamingNodes) -> None:
    """One that has a channel is asked; without any there is none to ask."""
    run(etcd, "2.6.20")
    reach_wal(NOTHING)
    nodes.stop()
    with pytest.raises(TransientError, match="the node is away"):
        reach_wal(NOTHING)
    etcd.wipe()
    run(etcd, "2.6.20")
    with pytest.raises(TransientError, match="no channel at any node"):
        reach_wal(NOTHING)


def test_a_source_of_which_only_the_api_is_given() -> None:
    """It is read by DumpMessages, which is said, and why."""
    channels = {each.channel for each in messages("2.6.20-writers")}
    etcd = FakeEtcd()
    arguments = etcd.catalog, lambda: etcd.revision, channels
    with closing(PublicApiServer("2.6.20", *arguments)) as server:
        config = SourceConfig(uri=server.uri, etcd=None)
        with open_wal(config) as reader:
            assert isinstance(reader, DumpReader)
        reach_wal(config)
        assert explain_choice(config) == (
            "read through the API alone (DumpMessages), as Milvus 2.6.20 allows: there is "
            "no sourceConfig.etcd.address, which would have its streaming nodes read"
        )
        server.version = "2.6.19"
        with pytest.raises(UnsupportedVersionError, match=r"from 2\.6\.20 on"):
            open_wal(config)
