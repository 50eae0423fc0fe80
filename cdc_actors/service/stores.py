"""Where everything that is true of the tasks is kept, as the configuration says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cdc_actors.owned_time import FOREVER
from cdc_actors.pipeline.reservations import NameReservations
from cdc_actors.service.key_check import refuse_other_key
from cdc_actors.service.neighbours import Neighbours
from cdc_actors.service.stored_names import StoredNames
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.comparisons import ComparisonRows
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.leases import opening
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.store.task_owners import TaskOwners

if TYPE_CHECKING:
    from cdc_actors.config import Config
    from cdc_actors.owned_time import OwnedTime
    from cdc_actors.store.fence import Fence
    from cdc_actors.store.ownership import Lease


@dataclass(frozen=True, slots=True)
class Stores:
    """Event log, checkpoints and send horizons, and the key to the log's secrets.

    Opened when the lease was taken. Any thread may use it. ``log.close`` closes the
    database, which is one for all. ``owned`` tells for how long the lease surely lasts.
    ``names`` are those that tasks hold at their targets. Where several services share the
    store, ``owners`` says which has which task, and ``neighbours`` what tasks there are.
    """

    log: TaskLog
    checkpoints: Checkpoints
    send_horizons: SendHorizons
    segments_done: SegmentsDone
    secrets: SecretBox
    owned: OwnedTime = FOREVER
    names: NameReservations = field(default_factory=NameReservations)
    owners: TaskOwners | None = None
    neighbours: Neighbours | None = None

    @classmethod
    def open(cls, config: Config, lease: Lease) -> Self:
        """Open what is configured, with its lease; what is not there yet is made.

        Raises:
            OperatorError: The log or the key to its secrets cannot be used.
            UnavailableError: The log does not answer.
        """
        secrets = SecretBox.open(key_path(config), os.environ)
        with opening(config.meta_store_config, lease.fence):
            log = open_log(config, lease.fence)
            try:
                rows = Checkpoints(log), SendHorizons(log), SegmentsDone(log)
                ComparisonRows(log)
                if lease.fence is not None:
                    refuse_other_key(log.database, secrets)
            except BaseException:
                log.close()
                raise
        stores = cls(log, *rows, secrets, lease.term)
        if lease.fence is None:
            return stores
        names = StoredNames(log.database)
        return replace(
            stores,
            names=names,
            owners=TaskOwners(log.database, lease.fence.token),
            neighbours=Neighbours(log, names),
        )


def open_log(config: Config, fence: Fence | None = None) -> TaskLog:
    """Open the configured event log; an owner, who writes, has a ``fence``."""
    store = config.meta_store_config
    if store.store_type == "postgres":
        return TaskLog.postgres(store.postgres.url, fence)
    return TaskLog.sqlite(store.sqlite.path)


def key_path(config: Config) -> Path:
    """Return where the key to the log's secrets is, unless the environment has it."""
    store = config.meta_store_config
    if store.store_type == "postgres":
        return Path("cdc-actors.key")
    return Path(store.sqlite.path).with_suffix(".key")
