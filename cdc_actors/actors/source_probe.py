"""The actor that knows whether the source can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.actors import backoff
from cdc_actors.errors import CdcError
from cdc_actors.source.catalog import Catalog
from cdc_actors.source.wal import open_reader
from cdc_actors.target.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import SourceConfig

PROBE_SECONDS = 5.0

_log = structlog.get_logger()


@dataclass(slots=True)
class SourceState:
    """What of the source cannot be reached, and why. Any thread may read it."""

    missing: dict[str, str]


class SourceProbe(pykka.ThreadingActor):
    """Tries the source's API, etcd and message queue again and again."""

    use_daemon_thread = True

    def __init__(self, source: SourceConfig, state: SourceState) -> None:
        super().__init__()
        self._source = source
        self._state = state

    def on_start(self) -> None:
        """Begin to try."""
        self.actor_ref.tell("try")

    def on_receive(self, message: Any) -> None:
        """Try each part of the source once."""
        parts: dict[str, Callable[[], None]] = {
            "source api": self._try_api,
            "source etcd": self._try_etcd,
            "source message queue": self._try_queue,
        }
        found = {name: error for name, part in parts.items() if (error := _why(part))}
        if found != self._state.missing:
            log = _log.warning if found else _log.info
            log("source not reached" if found else "source reached", missing=found)
        self._state.missing = found
        backoff.tell_later(self.actor_ref, message, PROBE_SECONDS)

    def _try_api(self) -> None:
        Connection(self._source.uri, self._source.token, timeout=3).close()

    def _try_etcd(self) -> None:
        catalog = Catalog(self._source.etcd)
        try:
            catalog.collection(0)
        finally:
            catalog.close()

    def _try_queue(self) -> None:
        with open_reader(self._source) as reader:
            reader.newest(self._source.replicate_chan)


def _why(part: Callable[[], None]) -> str | None:
    try:
        part()
    except CdcError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - one odd answer must not end the trying
        return f"unexpected {type(error).__name__}: {error}"
    return None
