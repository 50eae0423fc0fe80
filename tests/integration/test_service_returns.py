"""After a server is back rows flow at once, however long the next try is away.

With ``-s`` they print how long that took: on a machine with a load of 8 and two cores 1.7 s
for the target, 1.9 s for the queue, 1.6 s for etcd. A source that is killed and started
again (``--thorough``) takes rows before it ticks, so that nobody can read them, itself not
either, until the lease of its dead self is over (``common.session.ttl``, counted from the
start of an etcd that is embedded). Seconds until the row could be read at the source and at
the target: 0.8 and 0.2 with a lease of 3 s, 4.8 and 4.4 with the tests' 10 s, 24.6 and 24.3
with 30 s.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pykka
import pytest
from pymilvus import MilvusClient

from cdc_actors.config import Config, Etcd, Natsmq, SourceConfig
from cdc_actors.peer import Peer
from cdc_actors.service import backoff
from cdc_actors.service.messages import CreateTask, GetTask, Rebuild, Shutdown
from cdc_actors.service.projection import view_of
from cdc_actors.service.source_clock import SourceClock
from cdc_actors.service.stores import Stores
from cdc_actors.service.supervisor_actor import Supervisor
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.tasks import TaskSpec
from cdc_actors.tasks.spec import ConnectParam
from tests.support.books import Books, wait_keys
from tests.support.cdc import wait_until
from tests.support.tasks import CLIENT
from tests.support.ways import PLACES, Ways, ways_between

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

HOUR = 3600.0


@pytest.fixture
def ways(source: EmbeddedMilvus, target_lite: EmbeddedLite) -> Iterator[Ways]:
    """Yield the ways of a service from the source to a Milvus Lite."""
    with ways_between(source, target_lite) as them:
        yield them


@pytest.fixture
def supervisor(
    ways: Ways, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pykka.ActorRef[Supervisor]]:
    """Yield a supervisor whose tasks try again after an hour."""
    monkeypatch.setattr(backoff, "FIRST_DELAY", HOUR)
    monkeypatch.setattr(backoff, "LONGEST_DELAY", HOUR)
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    secrets = SecretBox.open(tmp_path / "cdc.key", {})
    queue = Natsmq(address=ways.queue["natsmq"]["address"])
    etcd = Etcd(address=(ways.etcd_address,))
    source = SourceConfig(uri=ways.uri, etcd=etcd, natsmq=queue)
    stores = Stores(
        log, Checkpoints(log), SendHorizons(log), SegmentsDone(log), secrets
    )
    ref = Supervisor.start(Config(source_config=source), stores, SourceClock())
    ref.ask(Rebuild())
    yield ref
    for task in ref.ask(Shutdown()):
        task.get(timeout=60)
    pykka.ActorRegistry.stop_all()
    log.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return what every look at a peer finds: whether it answers."""
    found: list[bool] = []
    answers = Peer.answers

    def noted(peer: Peer) -> bool:
        found.append(answers(peer))
        return found[-1]

    monkeypatch.setattr(Peer, "answers", noted)
    return found


def test_rows_flow_once_a_server_is_back(
    ways: Ways,
    supervisor: pykka.ActorRef[Supervisor],
    client: MilvusClient,
    lite: MilvusClient,
    looks: list[bool],
) -> None:
    """Each of target, queue and etcd in turn; the waiting ends because it answers."""
    books = Books(client).create()
    task = create_task(supervisor, ways)
    for number, place in enumerate(PLACES):
        ways.proxies[place].cut()
        books.insert([number])
        wait_until(
            lambda: status(supervisor, task) == "retrying", f"{place} is away", 60
        )
        # What is back before it was looked at is nothing new: the next try finds it.
        looks.clear()
        wait_until(lambda: not all(looks), f"{place} is seen to be away", 60)
        ways.proxies[place].heal()
        began = time.monotonic()
        wait_keys(lite, range(number + 1))
        print(f"{place} is back: {time.monotonic() - began:.1f} s")  # noqa: T201
        wait_until(lambda: status(supervisor, task) != "retrying", "it is well", 60)


@pytest.mark.thorough
def test_rows_flow_once_the_source_is_back(
    source: EmbeddedMilvus,
    ways: Ways,
    supervisor: pykka.ActorRef[Supervisor],
    client: MilvusClient,
    lite: MilvusClient,
) -> None:
    """Killed and started again it takes rows; the task has them as soon as itself has."""
    books = Books(client).create()
    task = create_task(supervisor, ways)
    books.insert([0])
    wait_keys(lite, [0])
    source.kill()
    wait_until(lambda: status(supervisor, task) == "retrying", "it is away", 60)
    source.start()
    wait_until(lambda: books.insert([1]) is None, "it takes rows")
    began = time.monotonic()
    with ThreadPoolExecutor() as threads:
        waits = {
            side: threads.submit(seconds_until_there, began, uri)
            for side, uri in (("source", ways.uri), ("target", ways.servers[1].uri))
        }
    took = {side: round(wait.result(), 1) for side, wait in waits.items()}
    print(f"the row can be read after, in seconds: {took}")  # noqa: T201
    wait_until(lambda: status(supervisor, task) != "retrying", "it is well", 60)


def create_task(supervisor: pykka.ActorRef[Supervisor], ways: Ways) -> str:
    """Create a task of every collection; return its id."""
    target = ConnectParam(uri=ways.target_uri, connect_timeout=1)
    spec = TaskSpec(target=target, collection_infos=("*",))
    task: str = supervisor.ask(CreateTask(None, spec, CLIENT)).get(timeout=60)
    return task


def seconds_until_there(began: float, uri: str) -> float:
    """Wait until a server has both books; return the seconds since ``began``."""
    client = MilvusClient(uri, dedicated=True)
    wait_keys(client, [0, 1])
    client.close()
    return time.monotonic() - began


def status(supervisor: pykka.ActorRef[Supervisor], task: str) -> str:
    """Return how the task says it is."""
    return view_of(supervisor.ask(GetTask(task)).snapshot).health.status
