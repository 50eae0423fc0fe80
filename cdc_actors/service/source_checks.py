"""The parts of a source, each reached once. For the probe and for ``config check``."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from cdc_actors.errors import CdcError
from cdc_actors.masking import mask_urls
from cdc_actors.source.catalog.client import Catalog
from cdc_actors.source.versions import UnsupportedVersionError
from cdc_actors.source.wal import open_reader
from cdc_actors.target.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import SourceConfig


def reach_api(source: SourceConfig) -> str:
    """Connect to the source's API; return what is there."""
    connection = Connection(source.uri, source.token, timeout=3, name="the source")
    with closing(connection):
        return f"Milvus {connection.version} at {mask_urls(source.uri)}"


def reach_etcd(source: SourceConfig) -> str:
    """Read a little of the source's catalog; return why its version is refused, if so."""
    with closing(Catalog(source.etcd)) as catalog:
        try:
            catalog.version()
        except UnsupportedVersionError as error:
            return str(error)
        catalog.collection(0)
    return ""


def reach_version(source: SourceConfig) -> str:
    """Return which version the source has, as its etcd says.

    Raises:
        UnsupportedVersionError: It is one that cannot be replicated from.
    """
    try:
        with closing(Catalog(source.etcd)) as catalog:
            return ".".join(map(str, catalog.version())) or "unknown while it is down"
    except UnsupportedVersionError:
        raise
    except CdcError:
        return "unknown"


def reach_queue(source: SourceConfig) -> None:
    """Ask the source's message queue for the channel of clients' requests."""
    with open_reader(source) as reader:
        reader.newest(source.replicate_chan)


def tried(part: Callable[[], str | None]) -> tuple[bool, str]:
    """Try a part; return whether it went well, and what it or its failure says."""
    try:
        return True, part() or ""
    except CdcError as error:
        return False, str(error)
    except Exception as error:  # noqa: BLE001 - one odd answer must not end the trying
        return False, mask_urls(f"unexpected {type(error).__name__}: {error}")
