"""The parts of a source, each reached once. For the probe and for ``config check``."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from cdc_actors.changes import physical_seconds
from cdc_actors.errors import CdcError, TransientError
from cdc_actors.masking import mask_urls
from cdc_actors.service.source_clock import (
    DIFFERS_SECONDS,
    RESERVED_SECONDS,
    Moment,
    clock_lead,
)
from cdc_actors.source.catalog.model import END_OF_TIME
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.versions import UnsupportedVersionError
from cdc_actors.source.wal_choice import reach_wal
from cdc_actors.target.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import SourceConfig
    from cdc_actors.service.source_clock import SourceClock
    from cdc_actors.source.catalog.client import Catalog

LOOK_SECONDS = 0.1
"""How often to look whether the source's time goes on."""


def reach_api(source: SourceConfig) -> str:
    """Connect to the source's API; return what is there."""
    connection = Connection(source.uri, source.token, timeout=3, name="the source")
    with closing(connection):
        return f"Milvus {connection.version} at {mask_urls(source.uri)}"


def reach_catalog(source: SourceConfig, clock: SourceClock) -> str:
    """Read a little of the source's catalog; return why its version is refused, if so.

    What it says of the source's time ``clock`` is told.
    """
    with closing(open_catalog(source)) as catalog:
        try:
            catalog.version()
        except UnsupportedVersionError as error:
            return str(error)
        catalog.databases()
        if (reserved := reserved_time(catalog)) is not None:
            clock.note_reserved(reserved)
    return ""


def reserved_time(catalog: Catalog) -> float | None:
    """Return up to when Milvus may give timestamps, in seconds since 1970, if known."""
    reserved = catalog.time()
    return None if reserved == END_OF_TIME else physical_seconds(reserved)


def clock_warning(catalog: Catalog) -> str:
    """Return what to tell of the source's clock and ours; empty if they agree.

    A time that is long ago may be of a Milvus that is down: one that is up goes on.
    """
    reserved = reserved_time(catalog)
    if reserved is None:
        return ""
    deadline = time.monotonic() + RESERVED_SECONDS + 1
    former, ahead = reserved, clock_lead(reserved, time.time())
    while ahead > 0 and reserved == former and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        reserved = reserved_time(catalog) or former
        ahead = clock_lead(reserved, time.time())
    known = reserved != former or ahead < 0
    differs = known and abs(ahead) > DIFFERS_SECONDS
    return Moment(0, 0, 0, ahead).warning if differs else ""


def reach_version(source: SourceConfig) -> str:
    """Return which version the source has, as its catalog says.

    Raises:
        UnsupportedVersionError: It is one that cannot be replicated from.
        TransientError: It does not answer, or nothing of a Milvus runs.
    """
    with closing(open_catalog(source)) as catalog:
        found = catalog.version()
    if not found:
        raise TransientError("not known: by its etcd the source does not run")
    return ".".join(map(str, found))


def reach_queue(source: SourceConfig) -> None:
    """Ask for the source's log, of its message queue or of its streaming nodes."""
    reach_wal(source)


def tried(part: Callable[[], str | None]) -> tuple[bool, str]:
    """Try a part; return whether it went well, and what it or its failure says."""
    try:
        return True, part() or ""
    except CdcError as error:
        return False, str(error)
    except Exception as error:  # noqa: BLE001 - one odd answer must not end the trying
        return False, mask_urls(f"unexpected {type(error).__name__}: {error}")
