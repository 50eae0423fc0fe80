"""Whether API, etcd and channels of a source belong together."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.config import Natsmq, SourceConfig
from cdc_actors.errors import TransientError
from cdc_actors.pipeline.queue_identity import refuse_another_queue
from cdc_actors.service import source_probe_actor, source_settings
from cdc_actors.service.source_probe_actor import Probe, SourceProbe, SourceState
from cdc_actors.service.source_settings import (
    SettingsError,
    check_channel,
    check_queue,
    check_uri,
    refuse_two,
)
from tests.fakes.fake_source import A, FakeSource
from tests.fakes.memory_log import MemoryReader

if TYPE_CHECKING:
    from collections.abc import Collection

HERE, THERE = "10.0.0.1:53100", "10.0.0.2:53100"
REPLICATE = "by-dev-replicate-msg"


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    """Return the source whose etcd and queue are configured."""
    source = FakeSource()
    monkeypatch.setattr(source_settings, "open_catalog", lambda *_: source.catalog)
    monkeypatch.setattr(
        source_settings, "open_wal", lambda *_: MemoryReader(source.log)
    )
    return source


def uri_fits(
    monkeypatch: pytest.MonkeyPatch,
    source: FakeSource,
    ids: Collection[int],
    *roots: str,
) -> bool:
    """Check an API that says these collections and root coordinators."""
    api = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(source_settings, "Connection", lambda *_, **__: api)
    monkeypatch.setattr(source_settings, "collection_ids", lambda _: set(ids))
    found = frozenset(("rootcoord", root, "2026") for root in roots)
    monkeypatch.setattr(source_settings, "components", lambda _: found)
    source.catalog.root = HERE
    return check_uri(SourceConfig())


def test_collections_in_common_are_enough(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the addresses: a coordinator may just have moved."""
    books = source.create("books")
    assert uri_fits(monkeypatch, source, [books.id, 7], THERE)


def test_no_collection_in_common(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the addresses are the same, as in every container network."""
    source.create("books")
    with pytest.raises(SettingsError, match=r"sourceConfig\.uri .* in common"):
        uri_fits(monkeypatch, source, [7], HERE)


def test_collections_that_come_and_go_meanwhile_are_no_difference(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the API shows first may be gone from etcd; it is looked at once more."""
    gone = source.create("gone")
    shown: list[set[int]] = []

    def collection_ids(_: object) -> set[int]:
        """Show what there is, and have it dropped and another one made behind it."""
        seen = set(source.catalog.snapshot().collections)
        if not shown:
            source.drop(gone)
            source.create("books")
        shown.append(seen)
        return seen

    uri_fits(monkeypatch, source, [gone.id], HERE)
    monkeypatch.setattr(source_settings, "collection_ids", collection_ids)
    assert check_uri(SourceConfig())
    assert len(shown) == 2


def test_addresses_tell_where_there_are_no_collections(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address is enough; a server that says nothing is not known."""
    assert uri_fits(monkeypatch, source, [], THERE, HERE)
    assert not uri_fits(monkeypatch, source, [])
    with pytest.raises(SettingsError, match=rf"are {THERE} and {HERE}"):
        uri_fits(monkeypatch, source, [], THERE)


@pytest.mark.parametrize("version", [(), (2, 3, 0), (2, 3, 5), (2, 6, 20)])
def test_a_channel_of_another_cluster(source: FakeSource, version: tuple) -> None:
    """The right one is proposed; before 2.3.2 and from 2.6 on there is none to be wrong."""
    source.catalog.source_version = version
    has_none = version in {(2, 3, 0), (2, 6, 20)}
    config = SourceConfig(replicate_chan="prod-replicate-msg")
    assert check_channel(config) is has_none
    source.create("books")
    if version == (2, 3, 5):
        with pytest.raises(SettingsError, match=f"set it to {REPLICATE}"):
            check_channel(config)
    else:
        assert check_channel(config) is has_none


def test_a_channel_of_a_name_of_its_own(source: FakeSource) -> None:
    """It is wrong once the usual one has what it lacks."""
    source.create("books")
    config = SourceConfig(replicate_chan="by-dev-requests")
    assert check_channel(config)
    source.log.append(REPLICATE, b"a request")
    with pytest.raises(SettingsError, match=f"set it to {REPLICATE}"):
        check_channel(config)
    source.log.append("by-dev-requests", b"a request")
    assert check_channel(config)


def test_topics_that_were_made_before(source: FakeSource) -> None:
    """``preCreatedTopic``: their names tell nothing."""
    source.create("books", "topic-1")
    assert check_channel(SourceConfig(replicate_chan="any"))


def test_the_queue_of_another_milvus(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a wrong setting; nothing is known while there is no collection."""
    ours = SourceConfig(natsmq=Natsmq(address="nats://ours:4222"))
    monkeypatch.setattr(
        source_settings,
        "refuse_another_queue",
        partial(refuse_another_queue, opened=lambda _: MemoryReader(source.log)),
    )
    assert not check_queue(ours)
    source.declare("books")
    source.tick()
    with pytest.raises(SettingsError, match="natsmq is not the message queue of"):
        check_queue(ours)


def test_what_does_not_answer_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """That it is away is said by others."""

    def away(*_: object) -> None:
        raise TransientError("away")

    monkeypatch.setattr(source_settings, "open_catalog", away)
    refuse_two(check_channel, SourceConfig())


def test_the_probe_says_it_until_it_is_settled(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is undecided is looked at again, what is settled is not."""
    monkeypatch.setattr(source_probe_actor.backoff, "send_after", lambda *_: None)
    monkeypatch.setattr(
        source_probe_actor, "SETTINGS", {"sourceConfig.replicateChan": check_channel}
    )
    state = SourceState({})
    wrong = SourceConfig(replicate_chan="prod-replicate-msg")
    clock: Any = None
    probe = SourceProbe(wrong, state, clock)
    monkeypatch.setattr(source_probe_actor, "tried", lambda _: (True, ""))
    probe.on_receive(Probe())
    assert state.missing == {}
    books = source.create("books", A)
    probe.on_receive(Probe())
    assert "set it to" in state.refusal
    source.catalog.remove(books.id)
    source.create("books", "prod-rootcoord-dml_0")
    probe.on_receive(Probe())
    assert state.missing == {}
    source.create("books", A)
    probe.on_receive(Probe())
    assert state.missing == {}
