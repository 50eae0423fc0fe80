"""Real servers for the tests, each started when the first test asks for it.

Those that few modules need are stopped after each, the others during tests that do not
need them: an idle Milvus takes a twentieth of a processor, and each worker has two.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import pytest
from pymilvus import MilvusClient, MilvusException
from pymilvus.settings import Config

from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.embedded.server import EmbeddedServer
from cdc_actors.grpc_common import NO_KEEPALIVE
from tests.support.accounts import ROOT
from tests.support.cdc import wait_until
from tests.support.folders import WITHOUT_SERVERS
from tests.support.guarded import GuardedMilvus
from tests.support.kafka import KafkaBroker
from tests.support.pulsar import PulsarBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# How often a client asks whether what it loads is loaded, in seconds.
Config.WaitTimeDurationWhenLoad = 0.05
# It logs a traceback for each answer that a test waits to become another.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


_LASTING = pytest.StashKey[list[tuple[EmbeddedServer, str]]]()
_Server = TypeVar("_Server", bound=EmbeddedServer)


@contextmanager
def lasting(
    config: pytest.Config, server: _Server, name: str = ""
) -> Iterator[_Server]:
    """Run a server as long as the tests, but not during those that do not need it.

    Those are the tests without servers, and, if it has one, those without its name.
    """
    with server:
        config.stash.setdefault(_LASTING, []).append((server, name))
        yield server


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stop what the next test does not need."""
    needs_any = not item.nodeid.startswith(WITHOUT_SERVERS)
    for server, name in item.config.stash.get(_LASTING, []):
        (server.start if needs_any and name in item.nodeid else server.stop)()


@pytest.fixture(scope="session")
def source(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[EmbeddedMilvus]:
    """Yield a Milvus with natsmq, the source of most tests."""
    made = EmbeddedMilvus(tmp_path_factory.mktemp("source"))
    with lasting(pytestconfig, made) as server:
        yield server


@pytest.fixture(scope="module")
def source_rocksmq(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[EmbeddedMilvus]:
    """Yield a Milvus with RocksMQ, which a standalone one has unless told otherwise."""
    folder = tmp_path_factory.mktemp("source-rocksmq")
    with EmbeddedMilvus(folder, mq="rocksmq") as server:
        yield server


@pytest.fixture(scope="session")
def source_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMilvus]:
    """Yield a Milvus with a Kafka, as clusters have it."""
    folder = tmp_path_factory.mktemp("source-kafka")
    with (
        KafkaBroker(folder / "kafka") as broker,
        EmbeddedMilvus(folder / "milvus", mq="kafka", broker=broker.address) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def broker_pulsar(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[PulsarBroker]:
    """Yield a real Pulsar.

    Topics that were truncated keep it busy for ever: most of a processor.
    """
    made = PulsarBroker(tmp_path_factory.mktemp("pulsar"))
    with lasting(pytestconfig, made, "pulsar") as broker:
        yield broker


@pytest.fixture(scope="session")
def source_pulsar(
    tmp_path_factory: pytest.TempPathFactory, broker_pulsar: PulsarBroker
) -> Iterator[EmbeddedMilvus]:
    """Yield a Milvus with a Pulsar, which a cluster has unless told otherwise."""
    folder = tmp_path_factory.mktemp("source-pulsar")
    with EmbeddedMilvus(folder, mq="pulsar", broker=broker_pulsar.address) as server:
        yield server


@pytest.fixture(scope="session")
def target_milvus(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[EmbeddedMilvus]:
    """Yield a second Milvus, as a target; of its queues RocksMQ takes the least."""
    made = EmbeddedMilvus(tmp_path_factory.mktemp("target-milvus"), mq="rocksmq")
    with lasting(pytestconfig, made) as server:
        yield server


@pytest.fixture(scope="module")
def target_guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedMilvus]:
    """Yield a Milvus that asks for a login, as a target."""
    with GuardedMilvus(tmp_path_factory.mktemp("target-guarded")) as server:
        yield server


@pytest.fixture(scope="session")
def target_lite(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[EmbeddedLite]:
    """Yield a Milvus Lite, as a target."""
    made = EmbeddedLite(tmp_path_factory.mktemp("target-lite"))
    with lasting(pytestconfig, made) as server:
        yield server


@pytest.fixture
def emptied() -> Iterator[Callable[[EmbeddedMilvus | EmbeddedLite], MilvusClient]]:
    """Yield what empties a server for a test, and gives a client of it.

    Afterwards it is emptied again: a Milvus that has a few collections takes five times
    as much of a processor as one that has none, as long as the tests go on.
    """
    used: list[EmbeddedMilvus | EmbeddedLite] = []

    def fresh(server: EmbeddedMilvus | EmbeddedLite) -> MilvusClient:
        used.append(server)
        return empty(server)

    yield fresh
    for server in used:
        if server.pid is not None:
            empty(server).close()


def empty(server: EmbeddedMilvus | EmbeddedLite) -> MilvusClient:
    """Drop every database, collection and alias of ``server``; return a client."""
    client = MilvusClient(
        server.uri,
        token=ROOT,
        timeout=30,
        dedicated=True,
        grpc_options=NO_KEEPALIVE,
    )
    for database in client.list_databases():
        _empty_database(server, database)
        if database != "default":
            client.drop_database(database)
    return client


def _empty_database(server: EmbeddedMilvus | EmbeddedLite, database: str) -> None:
    client = MilvusClient(
        server.uri,
        token=ROOT,
        db_name=database,
        timeout=30,
        dedicated=True,
        grpc_options=NO_KEEPALIVE,
    )
    for collection in client.list_collections():
        found = client.list_aliases(collection_name=collection, db_name=database)
        for alias in found["aliases"]:
            client.drop_alias(alias, db_name=database)
        drop(client, collection)
    client.close()


def drop(client: MilvusClient, name: str) -> None:
    """Drop a collection; again, if a Milvus Lite meets the files that it is writing.

    Which of them it had removed by then hangs on the file system: without its schema
    nothing drops the collection any more, and Lite goes on to answer for it.
    """

    def is_gone() -> bool:
        if client.has_collection(name):
            client.drop_collection(name)
        return True

    wait_until(is_gone, f"{name} is dropped")
    with suppress(MilvusException):
        client.describe_collection(name)
        pytest.fail(
            f"Lite has dropped {name} by half: drop it where nobody works on it"
        )
