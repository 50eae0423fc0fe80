"""The end of a process that asked the source's storage."""

from __future__ import annotations

import os
import sys


def end(status: int = 0) -> None:
    """End the process now, if its end would have to wait for files of the source."""
    from cdc_actors.source.storage.files import CALLS  # noqa: PLC0415 - for --help

    if CALLS.under_way:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
