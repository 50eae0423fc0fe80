"""Whether peers that did not answer do so again: looked at cheaply while tasks wait.

Only the change from no answer to an answer counts: what fails although the peer answers
has another reason, and the growing delay of a retry is right for it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cdc_actors.growing_delay import jitter
from cdc_actors.peer import Peer
from cdc_actors.service import backoff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykka import ActorRef

    from cdc_actors.config import SourceConfig

INTERVAL = 1.0
"""Seconds between two looks at one peer, at least, whoever waits for it."""

SPREAD = 0.5
"""Seconds within which those that wait for one peer are told."""

_MILVUS = "/milvus.proto.milvus.MilvusService/GetVersion"
_ETCD = "/etcdserverpb.Maintenance/Status"
_PORTS: Final = {"nats": 4222, "tls": 4222, "pulsar": 6650, "pulsar+ssl": 6651}


def peers_of(source: SourceConfig, target_uri: str) -> set[Peer]:
    """Return the servers that a run cannot do without."""
    return {
        _peer(target_uri, 19530, _MILVUS),
        *_catalog_peers(source),
        *_queue_peers(source),
    }


def _catalog_peers(source: SourceConfig) -> Iterator[Peer]:
    if source.etcd is None:
        yield _peer(source.uri, 19530, _MILVUS)
        return
    for each in source.etcd.address:
        yield _peer(each, 2379, "" if source.etcd.enable_tls else _ETCD)


def _queue_peers(source: SourceConfig) -> Iterator[Peer]:
    if source.natsmq:
        yield _peer(source.natsmq.address)
    if source.pulsar:
        yield _peer(source.pulsar.address)
    if source.kafka:
        for broker in source.kafka.address.split(","):
            yield _peer(broker.strip(), 9092)


def _peer(address: str, port: int = 0, method: str = "") -> Peer:
    """Return whom the first server of an address means."""
    scheme, _, rest = address.rpartition("://")
    parts = urlsplit(f"//{rest.partition(',')[0]}")
    if scheme == "https":
        port, method = 443, ""
    return Peer(parts.hostname or "", parts.port or _PORTS.get(scheme, port), method)


class PeerWatch:
    """Tells tasks that wait when a peer answers again. One for a process; any thread.

    Each peer that does not answer has a thread while somebody waits for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Peer, dict[ActorRef[Any], object]] = {}
        self._next_look: dict[Peer, float] = {}

    def watch(self, task: ActorRef[Any], message: object, peers: set[Peer]) -> None:
        """Send a task ``message`` once one answers of those that do not now.

        In place of what the task waited for before. Returns at once.
        """
        self.forget(task)
        with self._lock:
            for peer in peers:
                begins = peer not in self._waiting
                self._waiting.setdefault(peer, {})[task] = message
                if begins:
                    threading.Thread(
                        target=self._follow,
                        args=(peer,),
                        name="peer-watch",
                        daemon=True,
                    ).start()

    def forget(self, task: ActorRef[Any]) -> None:
        """Tell a task nothing any more. Idempotent."""
        with self._lock:
            for waiting in self._waiting.values():
                waiting.pop(task, None)

    def _follow(self, peer: Peer) -> None:
        was_away = False
        while self._is_wanted(peer):
            if self._look(peer):
                self._end(peer, tell=was_away)
                return
            was_away = True

    def _is_wanted(self, peer: Peer) -> bool:
        with self._lock:
            if not self._waiting[peer]:
                del self._waiting[peer]
            return peer in self._waiting

    def _look(self, peer: Peer) -> bool:
        time.sleep(max(0.0, self._next_look.get(peer, 0.0) - time.monotonic()))
        self._next_look[peer] = time.monotonic() + INTERVAL * jitter(1.0, 1.2)
        return peer.answers()

    def _end(self, peer: Peer, *, tell: bool) -> None:
        with self._lock:
            waiting = self._waiting.pop(peer)
        for task, message in waiting.items() if tell else ():
            pause = jitter(0.0, SPREAD)
            backoff.send_after(task, message, pause)
