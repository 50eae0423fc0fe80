"""What tests of leases wait for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from cdc_actors.store.ownership import Lease


def wait_renewed(lease: Lease) -> None:
    """Wait until the lease ends later than it would have: what is left of it goes down."""
    before = _end(lease)
    wait_until(lambda: _end(lease) > before + 0.5, "it is renewed")


def _end(lease: Lease) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) + lease.term.time_left()
