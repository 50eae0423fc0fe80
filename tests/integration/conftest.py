"""An empty source, empty targets, and a service between them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from tests.support.away import AWAY
from tests.support.cdc import Cdc
from tests.support.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

# Of a scenario's four combinations: each state and each target are in one of these two.
_ORDINARY = (("up", "lite"), ("down", "milvus"))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave a scenario one of its combinations, unless a test chooses its own.

    Which one its name says, so that of many tests half have each. The others are thorough.
    """
    chosen = any(
        mark.args[0] == "scenario" for mark in item.iter_markers("parametrize")
    )
    params = getattr(getattr(item, "callspec", None), "params", {})
    combination = params.get("scenario"), params.get("target")
    if chosen or None in combination:
        return
    name = getattr(item, "originalname", item.name)
    if combination != _ORDINARY[crc32(name.encode()) % len(_ORDINARY)]:
        item.add_marker("thorough")


@pytest.fixture
def client(source: EmbeddedMilvus, emptied) -> Iterator[MilvusClient]:
    """Yield a client of an empty source."""
    client = emptied(source)
    yield client
    client.close()


@pytest.fixture
def lite(target_lite: EmbeddedLite, emptied) -> Iterator[MilvusClient]:
    """Yield a client of an empty Milvus Lite."""
    client = emptied(target_lite)
    yield client
    client.close()


@pytest.fixture
def milvus(target_milvus: EmbeddedMilvus, emptied) -> Iterator[MilvusClient]:
    """Yield a client of an empty Milvus that is a target."""
    client = emptied(target_milvus)
    yield client
    client.close()


@pytest.fixture
def cdc(source: EmbeddedMilvus, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service of the test's own."""
    with Cdc(tmp_path, source) as service:
        yield service


@pytest.fixture(params=["milvus", "lite"])
def target(request: pytest.FixtureRequest) -> EmbeddedMilvus | EmbeddedLite:
    """Return a target: a Milvus, then a Milvus Lite."""
    server: EmbeddedMilvus | EmbeddedLite = request.getfixturevalue(
        f"target_{request.param}"
    )
    return server


@pytest.fixture(params=["up", "down"])
def scenario(
    request: pytest.FixtureRequest,
    source: EmbeddedMilvus,
    target: EmbeddedMilvus | EmbeddedLite,
    emptied,
    cdc: Cdc,
) -> Iterator[Scenario]:
    """Yield the stage of one operation, with the service up, then down meanwhile."""
    clients = emptied(source), emptied(target)
    yield Scenario(source, target, clients, cdc, down=request.param == "down")
    for client in clients:
        client.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.thorough)])
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service whose source is away, on each store: it still keeps its tasks."""
    store = None
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        store = json.dumps({"storeType": "postgres", "postgres": {"url": url}})
    with Cdc(tmp_path / "alone", AWAY, store=store) as service:
        yield service
