"""The actor that knows whether the source can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.errors import CdcError
from cdc_actors.service import backoff
from cdc_actors.service.source_checks import (
    reach_api,
    reach_catalog,
    reach_queue,
    tried,
)
from cdc_actors.service.source_settings import SETTINGS, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import SourceConfig
    from cdc_actors.service.source_clock import SourceClock

PROBE_SECONDS = 5.0

VERSION = "source version"
ETCD, CATALOG = "source etcd", "source catalog"
"""What the catalog is read from is called so, and, where the API is that, so."""

_REFUSALS = (VERSION, *SETTINGS)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Probe:
    """To the probe, from itself: try each part of the source once."""


@dataclass(slots=True)
class SourceState:
    """What of the source cannot be reached, and why. Any thread may read it."""

    missing: dict[str, str]

    @property
    def lacks_catalog(self) -> bool:
        """Whether nothing can be asked about what the source has."""
        return not {CATALOG, ETCD}.isdisjoint(self.missing)

    @property
    def refusal(self) -> str:
        """Why nothing can ever be replicated from the source, if that is known."""
        return next(
            (self.missing[each] for each in _REFUSALS if each in self.missing), ""
        )


class SourceProbe(pykka.ThreadingActor):
    """Tries the source's API, catalog and message queue again and again."""

    use_daemon_thread = True

    def __init__(
        self, source: SourceConfig, state: SourceState, clock: SourceClock
    ) -> None:
        super().__init__()
        self._source = source
        self._state = state
        self._settled: set[str] = set()
        self._catalog = CATALOG if source.etcd is None else ETCD
        self._parts: dict[str, Callable[[SourceConfig], str | None]] = {
            "source api": reach_api,
            self._catalog: partial(reach_catalog, clock=clock),
            "source message queue": reach_queue,
        }

    def on_start(self) -> None:
        """Begin to try."""
        self.actor_ref.tell(Probe())

    def on_receive(self, message: Any) -> None:
        """Try each part of the source once."""
        tries = {
            name: tried(partial(part, self._source))
            for name, part in self._parts.items()
        }
        found = {name: words for name, (reached, words) in tries.items() if not reached}
        reached, refusal = tries[self._catalog]
        if reached and refusal:
            found[VERSION] = refusal
        found |= {} if found else self._wrong_settings()
        if found != self._state.missing:
            log = _log.warning if found else _log.info
            log("source_unreachable" if found else "source_reached", missing=found)
        self._state.missing = found
        backoff.send_after(self.actor_ref, message, PROBE_SECONDS)

    def _wrong_settings(self) -> dict[str, str]:
        """Return what is wrong with settings that were not found right before."""
        wrong: dict[str, str] = {}
        for name, check in SETTINGS.items():
            if name in self._settled:
                continue
            try:
                if check(self._source):
                    self._settled.add(name)
            except SettingsError as error:
                wrong[name] = str(error)
            except CdcError as error:
                _log.debug("setting_not_checked", setting=name, error=str(error))
        return wrong
