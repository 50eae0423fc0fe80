"""The log of a source: from its message queue, or from its streaming nodes.

From 2.6 on Milvus has streaming nodes, which hand the log on from whatever queue it is in.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from cdc_actors.source.catalog.client import Catalog
from cdc_actors.source.versions import STREAMS_SINCE
from cdc_actors.source.wal import open_reader, queue_of
from cdc_actors.source.wal.streaming.node import PLACES
from cdc_actors.source.wal.streaming.reader import NodeReader

if TYPE_CHECKING:
    from cdc_actors.config import SourceConfig
    from cdc_actors.memory_budget import Quota
    from cdc_actors.source.wal import WalReader


def is_streamed(catalog: Catalog) -> bool:
    """Tell whether streaming nodes have the log, as they have from 2.6 on.

    Of a source that does not run, whose version is not known, they have left where its
    channels were.

    Raises:
        UnsupportedVersionError: The source is one that cannot be read.
        CdcError: Etcd does not answer, or refuses.
    """
    version = catalog.version()
    if version:
        return version >= STREAMS_SINCE
    return bool(catalog.read_below([PLACES]))


def open_wal(source: SourceConfig, quota: Quota | None = None) -> WalReader:
    """Open the log of the source, the way that its version has.

    ``quota`` is what may be fetched ahead of the service's memory.

    Raises:
        TransientError: Etcd or the message queue cannot be reached.
        OperatorError: One of them refuses the login, the queue is not configured or its
            client library is not installed, or the version cannot be read.
    """
    if not _is_streamed(source):
        return open_reader(source, quota)
    return NodeReader(partial(Catalog, source.etcd), quota)


def reach_wal(source: SourceConfig) -> None:
    """Ask the log for something; raises as ``open_wal`` does."""
    with open_wal(source) as reader:
        if isinstance(reader, NodeReader):
            reader.reach()
        else:
            reader.newest(source.replicate_chan)


def explain_choice(source: SourceConfig) -> str:
    """Return which way the log is read, and why not the other; raises as ``open_wal``."""
    with closing(Catalog(source.etcd)) as catalog:
        if is_streamed(catalog):
            return (
                "read through the streaming nodes, whatever the queue is: Milvus has them "
                "from 2.6 on"
            )
        version = ".".join(map(str, catalog.version()))
    which = f"Milvus {version}" if version else "a Milvus before 2.6"
    return f"{queue_of(source)}: {which} has no streaming nodes to read from"


def _is_streamed(source: SourceConfig) -> bool:
    with closing(Catalog(source.etcd)) as catalog:
        return is_streamed(catalog)
