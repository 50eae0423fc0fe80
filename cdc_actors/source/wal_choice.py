"""The log of a source: from its message queue, its streaming nodes, or its API.

From 2.6 on Milvus has streaming nodes, which hand the log on from whatever queue it is in;
from 2.6.20 on its API does so, too, for those who can reach nothing else.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.public_api import PublicApi
from cdc_actors.source.versions import STREAMS_SINCE
from cdc_actors.source.wal import open_reader, queue_of
from cdc_actors.source.wal.streaming.dump_reader import DumpReader
from cdc_actors.source.wal.streaming.node import PLACES
from cdc_actors.source.wal.streaming.reader import NodeReader, StreamReader

if TYPE_CHECKING:
    from cdc_actors.config import SourceConfig
    from cdc_actors.memory_budget import Quota
    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.source.wal import WalReader


def is_streamed(catalog: Catalog) -> bool:
    """Tell whether the log comes in order, from streaming nodes: it has from 2.6 on.

    Of a source that does not run, whose version is not known, they have left where its
    channels were.

    Raises:
        UnsupportedVersionError: The source is one that cannot be read.
        CdcError: Etcd or the API does not answer, or refuses.
    """
    version = catalog.version()
    if version:
        return version >= STREAMS_SINCE
    return bool(catalog.read_below([PLACES]))


def open_wal(source: SourceConfig, quota: Quota | None = None) -> WalReader:
    """Open the log of the source, the way that its version and the configuration have.

    ``quota`` is what may be fetched ahead of the service's memory.

    Raises:
        TransientError: Etcd, the API or the message queue cannot be reached.
        OperatorError: One of them refuses the login, the queue is not configured or its
            client library is not installed, or the version cannot be read.
    """
    if not _is_streamed(source):
        return open_reader(source, quota)
    if source.etcd is None:
        return DumpReader(PublicApi(source.uri, source.token), quota)
    return NodeReader(partial(open_catalog, source), quota)


def reach_wal(source: SourceConfig) -> None:
    """Ask the log for something; raises as ``open_wal`` does."""
    with open_wal(source) as reader:
        if isinstance(reader, StreamReader):
            reader.reach()
        else:
            reader.newest(source.replicate_chan)


def explain_choice(source: SourceConfig) -> str:
    """Return which way the log is read, and why not another; raises as ``open_wal``."""
    with closing(open_catalog(source)) as catalog:
        streamed, version = is_streamed(catalog), catalog.version()
    shown = ".".join(map(str, version))
    if source.etcd is None:
        return (
            f"read through the API alone (DumpMessages), as Milvus {shown} allows: there "
            "is no sourceConfig.etcd.address, which would have its streaming nodes read"
        )
    if streamed:
        return (
            "read through the streaming nodes, whatever the queue is: Milvus has them "
            "from 2.6 on; not through the API, as there is an etcd, which tells more"
        )
    which = f"Milvus {shown}" if version else "a Milvus before 2.6"
    return f"{queue_of(source)}: {which} has no streaming nodes to read from"


def _is_streamed(source: SourceConfig) -> bool:
    with closing(open_catalog(source)) as catalog:
        return is_streamed(catalog)
