"""What the log does not bring, and what this version or the target cannot do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import nats
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from tests.support.books import Books, wait_keys
from tests.support.cdc import wait_until
from tests.support.imports import bulk_import

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.scenario import Scenario

REPLICATE = "by-dev-replicate-msg"


def resync_needed(scenario: Scenario, name: str) -> str | None:
    """Return why rows of a collection are missing."""
    found = scenario.cdc.get(scenario.task)["collections"]
    return next(c["resync_needed"] for c in found if c["name"] == name)


# Milvus looks at its imports every now and then, and there are two.
@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_bulk_import(scenario: Scenario) -> None:
    """Rows that come past the log are missing, and the task says of which collection."""
    books = scenario.begin()
    other = Books(scenario.client, "other").create()
    other.insert(range(2))
    with scenario.meanwhile():
        bulk_import(scenario.source, scenario.client, "books", range(100, 110))
        books.insert(range(10, 12))
    wait_keys(scenario.other, range(12))
    wait_until(lambda: resync_needed(scenario, "books") is not None, "it is noticed")
    assert "a bulk import" in str(resync_needed(scenario, "books"))
    assert resync_needed(scenario, "other") is None
    scenario.restart()
    bulk_import(scenario.source, scenario.client, "books", range(200, 210))
    wait_until(
        lambda: "2 bulk imports" in str(resync_needed(scenario, "books")),
        "the second one is noticed, the first one not again",
    )


async def write(scenario: Scenario, *payloads: bytes) -> None:
    """Write messages into the replicate channel, as a newer Milvus would."""
    async with await nats.connect(scenario.source.nats_address) as client:
        for payload in payloads:
            await client.jetstream().publish(REPLICATE, payload)


async def forget(scenario: Scenario) -> None:
    """Empty the replicate channel: other tests have the same source."""
    async with await nats.connect(scenario.source.nats_address) as client:
        await client.jetstream().purge_stream(REPLICATE)


@pytest.fixture
def channel(scenario: Scenario) -> Iterator[Scenario]:
    """Yield a scenario whose replicate channel a test may write to."""
    yield scenario
    asyncio.run(forget(scenario))


@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_operation_of_an_unknown_kind(channel: Scenario) -> None:
    """It is counted and shown with its kind; what comes behind it is done."""
    scenario = channel
    books = scenario.begin()
    kind = common_pb2.MsgType.Value("TruncateCollection")
    named = milvus_pb2.FlushRequest(base={"msg_type": kind, "timestamp": 1})
    unheard = milvus_pb2.FlushRequest(base={"msg_type": 4242, "timestamp": 2})
    alias = milvus_pb2.CreateAliasRequest(base={"msg_type": 108, "timestamp": 3})
    with scenario.meanwhile():
        messages = (named, unheard, alias)
        payloads = [each.SerializeToString() for each in messages]
        asyncio.run(write(scenario, *payloads))
        scenario.client.release_collection("books")
        scenario.client.load_collection("books")
        books.insert(range(10, 12))
    wait_keys(scenario.other, range(12))
    wait_until(lambda: len(scenario.refusals()) == 2, "both are shown")
    assert scenario.refusals() == ["TruncateCollection", "4242"]
    scenario.restart()
    assert scenario.cdc.get(scenario.task)["operations_refused"]["count"] == 2


def test_operation_that_the_target_refuses(scenario: Scenario) -> None:
    """An alias that is a collection's name at the target is told of; the rest goes on."""
    books = scenario.begin()
    Books(scenario.other, "taken").create(index=False)
    with scenario.meanwhile():
        scenario.client.create_alias("books", "taken")
        scenario.client.create_alias("books", "free")
        books.insert(range(10, 12))
    wait_keys(scenario.other, range(12), "free")
    wait_until(lambda: "CreateAlias" in scenario.refusals(), "it is shown")
