"""A real Milvus: standalone, with its embedded etcd and message queue."""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cdc_actors.embedded import settings
from cdc_actors.embedded.binaries import milvus_binaries
from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.server import EmbeddedServer, body_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cdc_actors.embedded.binaries import MilvusBinaries

_ANSWER_TIMEOUT = 2.0


class EmbeddedMilvus(EmbeddedServer):
    """A Milvus from the PyPI package ``milvus``, in one process.

    Args:
        folder: Where data, settings and logs go; made if it does not exist.
        mq: The message queue. ``natsmq`` listens at ``nats_address``; ``rocksmq`` is
            the folder ``rocksmq_path``; ``kafka`` and ``pulsar`` are at ``broker``.
        broker: The address of the broker outside: ``host:port`` of a Kafka, or a URL
            ``pulsar://host:port``.
        channels: What the names of its channels begin with.
        wanted: Settings that differ from its usual ones, laid out as in ``milvus.yaml``.
        binaries: Finds the Milvus; the installed one, 2.3.5, unless told otherwise.
    """

    name = "Milvus"
    _port_names: ClassVar = settings.PORTS

    def __init__(
        self,
        folder: Path,
        *,
        mq: Literal["natsmq", "rocksmq", "kafka", "pulsar"] = "natsmq",
        broker: str = "",
        channels: str = "by-dev",
        wanted: Mapping[str, Any] = MappingProxyType({}),
        binaries: Callable[[], MilvusBinaries] = milvus_binaries,
    ) -> None:
        super().__init__(folder)
        self._mq = mq
        self._broker = broker
        self._channels = channels
        self._wanted = wanted
        self._find = binaries

    @property
    def etcd_address(self) -> str:
        """The address of its etcd, a URL."""
        return f"http://{HOST}:{self.ports['etcd']}"

    @property
    def nats_address(self) -> str:
        """The address of its NATS server, a URL; nothing is there with ``rocksmq``."""
        return f"nats://{HOST}:{self.ports['nats']}"

    @property
    def rocksmq_path(self) -> Path:
        """The folder of its RocksMQ; it is made with ``rocksmq`` only."""
        return self.folder / "rocksmq"

    @property
    def queue(self) -> dict[str, dict[str, str]]:
        """The section of ``sourceConfig`` that names its message queue."""
        if self._mq == "rocksmq":
            return {"rocksmq": {"path": str(self.rocksmq_path)}}
        if self._mq in {"kafka", "pulsar"}:
            return {self._mq: {"address": self._broker}}
        return {"natsmq": {"address": self.nats_address}}

    @property
    def storage(self) -> dict[str, str]:
        """The section of ``sourceConfig`` that names the folder of its files."""
        return {"type": "local", "path": str(self.folder / "data")}

    @property
    def replicate_channel(self) -> str:
        """The channel of its clients' requests."""
        return f"{self._channels}-replicate-msg"

    def _prepare(self) -> Sequence[str]:
        self._binaries = self._find()
        settings.write(
            self.folder,
            template=self._binaries.template,
            ports=self.ports,
            mq=self._mq,
            broker=self._broker,
            channels=self._channels,
            wanted=self._wanted,
        )
        return [str(self._binaries.executable), "run", "standalone"]

    def _environment(self) -> Mapping[str, str]:
        libraries = "DYLD" if sys.platform == "darwin" else "LD"
        return {
            f"{libraries}_LIBRARY_PATH": str(self._binaries.bin),
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self.ports["metrics"]),
            "MILVUSCONF": str(self.folder / "configs"),
            "ETCD_CONFIG_PATH": str(self.folder / "configs" / settings.ETCD_FILE),
        }

    def _is_ready(self) -> bool:
        healthy = body_at(self.ports["metrics"], "/healthz", _ANSWER_TIMEOUT)
        return b"OK" in healthy and super()._is_ready()
