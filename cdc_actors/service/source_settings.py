"""Whether the settings of a source belong together: API, etcd, message queue, channels."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from cdc_actors.errors import CdcError, OperatorError, SourceChangedError
from cdc_actors.masking import mask_urls
from cdc_actors.pipeline.queue_identity import refuse_another_queue
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.versions import has_requests
from cdc_actors.source.wal_choice import open_wal
from cdc_actors.target.connection import Connection
from cdc_actors.target.identity import collection_ids, components

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdc_actors.config import SourceConfig
    from cdc_actors.source.catalog.client import Catalog

_ROWS_CHANNEL = re.compile(r"(.+)-rootcoord-dml_\d+")
"""Milvus's names unless ``msgChannel.chanNamePrefix`` or ``preCreatedTopic`` says else."""


_LOOKS = 3
"""How often it must look as if there were two Milvus: collections come and go."""


class SettingsError(OperatorError):
    """Two settings of the source are those of two Milvus."""


def check_uri(source: SourceConfig) -> bool:
    """Tell whether API and etcd are known to be of one Milvus; False if neither says.

    They have collections in common, or else the same root coordinator: a standalone one
    has the same address in every container network.

    Raises:
        SettingsError: They are of two.
        CdcError: One of them does not answer, or refuses.
    """
    if source.etcd is None:
        return True
    api = Connection(source.uri, source.token, timeout=3, name="the source")
    with closing(api), closing(open_catalog(source)) as catalog:
        root = catalog.root_coordinator()
        roots = {address for kind, address, _ in components(api) if kind == "rootcoord"}
        shared = _share_collections(api, catalog)
    if shared:
        return True
    if shared is not None:
        raise _two_milvus(source, "they have no collection in common")
    if root and roots and root not in roots:
        where = f"their root coordinators are {min(roots)} and {root}"
        raise _two_milvus(source, where)
    return bool(root and roots)


def _share_collections(api: Connection, catalog: Catalog) -> bool | None:
    """Tell whether both have one collection at least; None if one of them has none.

    The API is asked first: what it shows is in etcd then, unless it was just dropped.
    """
    for _ in range(_LOOKS):
        at_api = collection_ids(api)
        in_etcd = set(catalog.snapshot().collections)
        if not at_api or not in_etcd:
            return None
        if at_api & in_etcd:
            return True
    return False


def check_channel(source: SourceConfig) -> bool:
    """Tell whether the channel of clients' requests fits; False while none shows it.

    Raises:
        SettingsError: It is of another Milvus; the message proposes the right one.
        CdcError: Etcd or the queue does not answer, or refuses.
    """
    with closing(open_catalog(source)) as catalog:
        version = catalog.version()
        if not has_requests(version):
            return bool(version)
        channels = {
            channel
            for meta in catalog.snapshot().collections.values()
            for channel in meta.channels
        }
    clusters = _clusters(channels)
    fitting = [f"{each}-replicate-msg" for each in clusters]
    chosen = source.replicate_chan
    if fitting and chosen not in fitting:
        own_name = any(chosen.startswith(f"{each}-") for each in clusters)
        if not own_name or _is_used_instead(fitting[0], source):
            raise SettingsError(
                f"sourceConfig.replicateChan is {chosen}, and this Milvus's channels "
                f"are {min(channels)} and the like: set it to {fitting[0]}, or nothing "
                "that only the log of requests has will come (indexes, loads, flushes)"
            )
    return bool(channels)


def check_queue(source: SourceConfig) -> bool:
    """Tell whether the message queue was looked at; False while there is no collection.

    Raises:
        SettingsError: It is another Milvus's.
        CdcError: Etcd or the queue does not answer, or refuses.
    """
    with closing(open_catalog(source)) as catalog:
        try:
            return refuse_another_queue(source, catalog)
        except SourceChangedError as error:
            raise SettingsError(str(error)) from error


SETTINGS: dict[str, Callable[[SourceConfig], bool]] = {
    "sourceConfig.uri": check_uri,
    "sourceConfig.replicateChan": check_channel,
    "message queue of sourceConfig": check_queue,
}


def refuse_two(check: Callable[[SourceConfig], bool], source: SourceConfig) -> bool:
    """Return what a check tells; False if it has no answer, which is said elsewhere.

    Raises:
        SettingsError: As the check does.
    """
    try:
        return check(source)
    except SettingsError:
        raise
    except CdcError:
        return False


def _two_milvus(source: SourceConfig, how: str) -> SettingsError:
    return SettingsError(
        f"sourceConfig.uri {mask_urls(source.uri)} is not the Milvus of "
        f"sourceConfig.etcd: {how}"
    )


def _clusters(channels: Iterable[str]) -> list[str]:
    """Return what the names of rows' channels begin with; none for names of their own."""
    found = (_ROWS_CHANNEL.fullmatch(channel) for channel in channels)
    return sorted({match[1] for match in found if match})


def _is_used_instead(channel: str, source: SourceConfig) -> bool:
    """Tell whether there are requests in a channel, and none in the configured one."""
    with open_wal(source) as reader:
        chosen = reader.newest(source.replicate_chan)
        return chosen is None and reader.newest(channel) is not None
