"""Milvus Lite as a server process."""

from __future__ import annotations

import importlib.util
import signal
import sys
from typing import TYPE_CHECKING, ClassVar

from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.server import EmbeddedServer
from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence


class EmbeddedLite(EmbeddedServer):
    """A Milvus Lite server: a target that starts in about a second."""

    name = "Milvus Lite"
    _port_names: ClassVar = ("api",)
    _stop_signal = signal.SIGINT

    def _prepare(self) -> Sequence[str]:
        if importlib.util.find_spec("milvus_lite") is None:
            raise OperatorError("Milvus Lite is not installed: pip install milvus-lite")
        server = [sys.executable, "-m", "milvus_lite", "server"]
        where = ["--host", HOST, "--port", str(self.ports["api"])]
        return [*server, "--data-dir", str(self.folder / "data"), *where]
