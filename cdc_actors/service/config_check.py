"""Everything that a configuration names, connected to once: ``config check``."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.errors import PositionLostError, TransientError
from cdc_actors.plurals import counted
from cdc_actors.service.source_checks import (
    clock_warning,
    reach_api,
    reach_queue,
    reach_version,
    tried,
)
from cdc_actors.service.source_settings import (
    check_channel,
    check_queue,
    check_uri,
    refuse_two,
)
from cdc_actors.service.stores import key_path, open_log
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.storage.files import Files
from cdc_actors.source.wal.beginnings import lost_starts
from cdc_actors.source.wal_choice import explain_choice, open_wal
from cdc_actors.store.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from cdc_actors.changes import Position
    from cdc_actors.config import Config, SourceConfig
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.wal import WalReader


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of a configuration: whether it works, and what it or its failure says."""

    part: str
    ok: bool
    words: str


def check(config: Config, without: Collection[str] = ()) -> Iterator[Finding]:
    """Try each part, one after another, but for those ``without``.

    The store and its key are opened as the service opens them, so made if there are none.
    """
    source = config.source_config
    parts: dict[str, Callable[[], str]] = {
        "store": partial(_store, config),
        "source api": partial(_api, source),
        "source version": partial(reach_version, source),
        "etcd" if source.etcd else "catalog": partial(_catalog, source),
        "message queue": partial(_queue, source),
        "channels": partial(_channels, source),
    }
    if source.storage.is_given:
        parts["storage"] = partial(_storage, source)
    for name, part in parts.items():
        if name not in without:
            yield Finding(name, *tried(part))


def _store(config: Config) -> str:
    SecretBox.open(key_path(config), os.environ)
    with closing(open_log(config)) as log:
        log.check()
        tasks = counted(len(log.alive_ids()), "task")
        return f"{config.meta_store_config.store_type}, {tasks}"


def _api(source: SourceConfig) -> str:
    found = reach_api(source)
    refuse_two(check_uri, source)
    return found


def _catalog(source: SourceConfig) -> str:
    with closing(open_catalog(source)) as catalog:
        found = catalog.snapshot()
        warning = clock_warning(catalog)
    count = sum(meta.available for meta in found.collections.values())
    databases = counted(len(found.databases), "database")
    said = f"{counted(count, 'collection')} in {databases}"
    return f"{said}; {warning}" if warning else said


def _queue(source: SourceConfig) -> str:
    reach_queue(source)
    refuse_two(check_queue, source)
    return explain_choice(source)


def _storage(source: SourceConfig) -> str:
    files = Files(source.storage)
    files.check()
    read = files.sample()
    found = f"{read} can be read" if read else "there is no file yet"
    what = "rows that the log no longer holds come from there"
    return f"{source.storage.type}, {what}; {found}"


def _channels(source: SourceConfig) -> str:
    """Tell which collections could be replicated from their beginnings on.

    Raises:
        TransientError: A channel of the catalog is not in the queue.
        PositionLostError: The log does not reach back to a collection's beginning.
        SettingsError: That of clients' requests is another Milvus's.
    """
    fits = refuse_two(check_channel, source)
    with closing(open_catalog(source)) as catalog:
        found = [c for c in catalog.snapshot().collections.values() if c.available]
    channels = sorted({channel for meta in found for channel in meta.start_positions})
    with open_wal(source) as reader:
        missing = [channel for channel in channels if reader.newest(channel) is None]
        if missing:
            raise TransientError(
                f"not in the message queue: {_some(missing)}; is it the queue of "
                "this source?"
            )
        starts = [(meta, _starts(reader, meta)) for meta in found]
        gone = lost_starts(reader, chain.from_iterable(own for _, own in starts))
    lost = [f"{c.database}.{c.name}" for c, own in starts if gone.intersection(own)]
    if lost and source.storage.is_given:
        return (
            f"{len(channels)} in use; the log no longer holds the beginning of "
            f"{_some(lost)}: a new task brings them from the source's files"
        )
    if lost:
        raise PositionLostError(
            f"the log no longer holds the beginning of {_some(lost)}: a new task would "
            "set them aside; sourceConfig.storage has it read the source's files"
        )
    if not found and not fits:
        return "none in use; whether sourceConfig.replicateChan fits is known later"
    return f"{len(channels)} in use; the log holds every collection's beginning"


def _starts(reader: WalReader, meta: CollectionMeta) -> list[Position]:
    return [reader.position(each, id_) for each, id_ in meta.start_positions.items()]


def _some(names: Iterable[str]) -> str:
    """Return the first few of many names."""
    given = list(names)
    more = f" and {len(given) - 5} more" if len(given) > 5 else ""  # noqa: PLR2004
    return ", ".join(given[:5]) + more
