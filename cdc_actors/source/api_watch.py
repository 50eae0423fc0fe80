"""What happens to a catalog that can only be asked again and again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from cdc_actors.errors import CdcError, TransientError
from cdc_actors.source.catalog.base import CatalogChanges, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS = 1.0
"""How long a look is away from the next one, at least."""

_SHARE = 4
"""How many times as long as a look took: the source is not kept busy by it."""

_STOP_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look shows, each part to be compared; collections by id."""

    databases: Any = None
    collections: dict[int, Any] = field(default_factory=dict)
    aliases: Any = None
    imports: Any = None
    rbac: Any = None


class ApiWatch(Watch):
    """Looks in a thread of its own. At first everything has changed."""

    def __init__(self, look: Callable[[], Seen]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._collections: set[int] = set()
        self._error: CdcError | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="catalog-look", daemon=True
        )
        self._thread.start()

    def changed(self) -> CatalogChanges:
        """Return, at once, what changed since the last call."""
        with self._lock:
            if self._error is not None:
                raise self._error
            changed, self._changed = self._changed, set()
            collections, self._collections = self._collections, set()
        return CatalogChanges(
            databases="databases" in changed,
            collections=frozenset(collections),
            aliases="aliases" in changed,
            imports="imports" in changed,
            rbac="rbac" in changed,
        )

    def close(self) -> None:
        """End the looking. Idempotent."""
        self._stopped.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        before = Seen()
        while not self._stopped.is_set():
            begun = time.monotonic()
            try:
                now = self._look()
            except CdcError as error:
                self._fail(error)
                return
            except Exception as error:  # noqa: BLE001 - must not look like a quiet source
                self._fail(
                    TransientError(f"looking at the source failed with {error!r}")
                )
                return
            self._note(before, now)
            before = now
            took = time.monotonic() - begun
            self._stopped.wait(max(LOOK_SECONDS, _SHARE * took))

    def _note(self, before: Seen, now: Seen) -> None:
        others = [each.name for each in fields(Seen) if each.name != "collections"]
        known = before.collections.keys() | now.collections.keys()
        with self._lock:
            self._changed |= {
                each for each in others if getattr(before, each) != getattr(now, each)
            }
            self._collections |= {
                each
                for each in known
                if before.collections.get(each) != now.collections.get(each)
            }

    def _fail(self, error: CdcError) -> None:
        with self._lock:
            self._error = error
