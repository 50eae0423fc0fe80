"""Whether a task can begin at the positions it is given, looked at before it is created."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from cdc_actors.changes import collection_of
from cdc_actors.errors import (
    CdcError,
    CollectionError,
    TaskConflictError,
    TransientError,
    UnavailableError,
)
from cdc_actors.pipeline import seeds
from cdc_actors.service.resume_checks import looked
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.wal_choice import open_wal

if TYPE_CHECKING:
    from cdc_actors.config import SourceConfig
    from cdc_actors.tasks.spec import TaskSpec


def refuse_positions(spec: TaskSpec, source: SourceConfig) -> None:
    """Refuse positions from which a task cannot go on. Any thread; takes a few seconds.

    Raises:
        TaskConflictError: The source has no such collection, the selection does not take
            it, one is later than the source's clock, they are not those of all its shards,
            or the log does not hold them.
        UnavailableError: The source does not tell.
    """
    if not spec.positions:
        return
    try:
        looked(lambda: _look(spec, source))
    except CdcError as error:
        if isinstance(error, TransientError):
            raise _unknown(str(error)) from error
        raise TaskConflictError(str(error)) from error
    except TimeoutError as error:
        raise _unknown("the source does not answer") from error


def _look(spec: TaskSpec, source: SourceConfig) -> None:
    shards = {collection_of(each): each for each in spec.positions}
    with closing(open_catalog(source)) as catalog, open_wal(source) as log:
        now = catalog.time()
        for number, shard in shards.items():
            meta = catalog.collection(number)
            if meta is None or meta.dropping or shard not in meta.shards:
                raise CollectionError(
                    f"the source has no collection with the channel {shard}: its "
                    "positions are of another Milvus, or of a collection that was dropped"
                )
            if not spec.selects(meta.database, meta.name):
                raise CollectionError(
                    f"the positions of {shard} are of {meta.database}.{meta.name}, which "
                    "is not selected"
                )
            if spec.positions[shard].timestamp > now:
                raise CollectionError(
                    f"the position of {shard} is later than the source's clock, so that "
                    "rows would be missing: it is of another Milvus, or damaged"
                )
            seeds.starts(meta, spec, log)


def _unknown(why: str) -> UnavailableError:
    return UnavailableError(
        f"whether the log holds the positions cannot be told: {why}"
    )
