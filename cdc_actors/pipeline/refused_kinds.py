"""Kinds of operations that the target does not do at all, which no row needs.

A managed Milvus may flush nothing, and have no databases, users and roles. That is said
once for each kind, not of each operation, and asked once a run: it may be allowed by then.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.errors import KindRefusedError

_log = structlog.get_logger()


class RefusedKinds:
    """The kinds, of one run, as ``Operation`` names them. Any thread may use it."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """``known`` are those that an earlier run has written down."""
        self._lock = threading.Lock()
        self._known = set(known)
        self._now: set[str] = set()

    def __contains__(self, kind: str) -> bool:
        """Tell whether this run was refused a kind: it need not be asked again."""
        with self._lock:
            return kind in self._now

    def note(self, kind: str, refusal: KindRefusedError) -> bool:
        """Know that a kind is refused; tell whether that is to be written down."""
        with self._lock:
            is_new = kind not in self._known
            if kind not in self._now:
                _log.warning("kind_refused", kind=kind, detail=str(refusal))
            self._known.add(kind)
            self._now.add(kind)
            return is_new

    def allow(self, kind: str) -> bool:
        """Know that a kind is done; tell whether it was written down as refused."""
        with self._lock:
            was_known = kind in self._known
            self._known.discard(kind)
            return was_known
