"""Where everything that is true of the tasks is kept, as the configuration says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cdc_actors.owned_time import FOREVER
from cdc_actors.pipeline.owner_start import OwnerStart
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons

if TYPE_CHECKING:
    from cdc_actors.config import Config
    from cdc_actors.owned_time import OwnedTime
    from cdc_actors.store.fence import Fence
    from cdc_actors.store.ownership import Lease


@dataclass(frozen=True, slots=True)
class Stores:
    """Event log, checkpoints and send horizons, and the key to the log's secrets.

    Opened by an owner when it begins to be one. Any thread may use it. ``log.close`` closes
    the database, which is one for all. ``owned`` tells for how long the owner surely is
    one.
    """

    log: TaskLog
    checkpoints: Checkpoints
    send_horizons: SendHorizons
    segments_done: SegmentsDone
    secrets: SecretBox
    owned: OwnedTime = FOREVER
    owner_start: OwnerStart = field(default_factory=OwnerStart)

    @classmethod
    def open(cls, config: Config, lease: Lease) -> Self:
        """Open what is configured, with its lease; what is not there yet is made.

        Raises:
            OperatorError: The log or the key to its secrets cannot be used.
            UnavailableError: The log does not answer.
        """
        secrets = SecretBox.open(key_path(config), os.environ)
        log = open_log(config, lease.fence)
        return cls(
            log,
            Checkpoints(log),
            SendHorizons(log),
            SegmentsDone(log),
            secrets,
            lease,
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
