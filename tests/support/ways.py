"""The ways that a service goes, each through a proxy that a test can break."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

PLACES = ("target", "queue", "etcd")


@dataclass
class Ways:
    """A source with natsmq and a target behind proxies, one for each place.

    For a ``Cdc`` it stands for the source.
    """

    uri: str
    target_uri: str
    etcd_address: str
    queue: dict[str, dict[str, str]]
    proxies: dict[str, TcpProxy]
    servers: tuple[EmbeddedMilvus, EmbeddedMilvus | EmbeddedLite]


@contextmanager
def ways_between(
    source: EmbeddedMilvus, target: EmbeddedMilvus | EmbeddedLite
) -> Iterator[Ways]:
    """Open the ways from a source to a target."""
    ports = (target.ports["api"], source.ports["nats"], source.ports["etcd"])
    with ExitStack() as stack:
        proxies = {
            place: stack.enter_context(TcpProxy(port))
            for place, port in zip(PLACES, ports, strict=True)
        }
        at = {place: f"127.0.0.1:{proxy.port}" for place, proxy in proxies.items()}
        yield Ways(
            uri=source.uri,
            target_uri=f"http://{at['target']}",
            etcd_address=f"http://{at['etcd']}",
            queue={"natsmq": {"address": f"nats://{at['queue']}"}},
            proxies=proxies,
            servers=(source, target),
        )
