"""Reading a channel of the log apart from the run's own way through it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.changes import Tick
from cdc_actors.errors import TransientError
from cdc_actors.source.streamed import decode_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.changes import Change, Position
    from cdc_actors.source.wal.base import WalReader

TICK_SECONDS = 10.0
"""How long a tick of the log is waited for: there are five in a second."""

_POLL_SECONDS = 0.25


def follow(
    log: WalReader, start: Position, check: Callable[[], object]
) -> Iterator[Change | Tick]:
    """Yield what a channel says from a position on, without end.

    ``check``, called now and then, raises an error if the work is to end.

    Raises:
        TransientError: There is no tick any more.
        CdcError: The log does not answer.
    """
    log.subscribe(start.channel, start)
    deadline = time.monotonic() + TICK_SECONDS
    while time.monotonic() < deadline:
        check()
        for change in map(decode_record, log.poll(_POLL_SECONDS)):
            if isinstance(change, Tick):
                deadline = time.monotonic() + TICK_SECONDS
            yield change
    raise TransientError(f"the log has no tick behind {start.channel} {start.text}")
