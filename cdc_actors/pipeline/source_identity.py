"""Whether the source is the Milvus that a task replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import SourceChangedError
from cdc_actors.masking import mask_urls
from cdc_actors.tasks import CollectionState, SourceIdentity
from cdc_actors.tasks.state import set_up_at

if TYPE_CHECKING:
    from cdc_actors.config import SourceConfig
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.source.catalog.client import Catalog

_REMEDY = (
    "nothing was read or written, and the checkpoints are kept: point sourceConfig back "
    "at the task's source, then resume; if that was wiped, delete the task and create it "
    "anew"
)


def identify_source(spec: RunSpec, catalog: Catalog) -> SourceIdentity:
    """Return which Milvus the source is. The reader's thread, before anything else.

    A task of a version that noted no source takes the first one that has any of the
    collections it brought; one that has brought none takes any.

    Raises:
        SourceChangedError: It is not the task's.
    """
    found = identity_of(spec.source, catalog)
    if spec.source_identity is None:
        _refuse_unfamiliar(spec, catalog, found)
    else:
        refuse_another(spec.source_identity, found)
    return found


def identity_of(source: SourceConfig, catalog: Catalog) -> SourceIdentity:
    """Return which Milvus a configuration leads to now."""
    return SourceIdentity(created=catalog.created(), address=mask_urls(source.uri))


def refuse_another(known: SourceIdentity, found: SourceIdentity) -> None:
    """Raise SourceChangedError if the source that is found is not the one known."""
    if known.created != found.created:
        raise SourceChangedError(
            f"the task replicates the {known}; what sourceConfig leads to now was "
            f"set up at {set_up_at(found.created)}: {_REMEDY}"
        )


def _refuse_unfamiliar(spec: RunSpec, catalog: Catalog, found: SourceIdentity) -> None:
    brought = [
        entry.collection_id
        for entry in spec.entries
        if entry.state is not CollectionState.DROPPED
    ]
    if brought and not catalog.collections(brought):
        raise SourceChangedError(
            f"none of the {len(brought)} collections of the task is at what "
            "sourceConfig leads to now, which was set up at "
            f"{set_up_at(found.created)}: {_REMEDY}"
        )
