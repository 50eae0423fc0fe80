"""An ``update`` request checked as a ``create`` is, and made what the task is to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from cdc_actors.errors import InvalidRequestError
from cdc_actors.tasks.spec import SELECTION
from cdc_actors.tasks.state import TaskState
from cdc_http.create import IGNORE_PARTITION
from cdc_http.mapping import check_mapping, mapping_of
from cdc_http.requests import DialConfig, MilvusConnectParam
from cdc_http.selection import positions_given, selection_of
from cdc_http.target_address import target_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdc_actors.service.views import TaskView
    from cdc_actors.tasks.spec import ConnectParam, TaskSpec
    from cdc_http.requests import ConnectChanges, UpdateRequest


STAYS_PAUSED = "the task is paused, and stays so until it is resumed"


def updated_spec(request: UpdateRequest, now: TaskSpec, limit: int) -> TaskSpec:
    """Return what the task that is ``now`` is to be; with a token if there is a new one.

    Raises:
        InvalidRequestError: A field is wrong; the message names it.
    """
    target, token = target_of(_merged(request.milvus_connect_param, now.target))
    spec = msgspec.structs.replace(now, target=target, token=token)
    spec = _reselected(request, spec, limit)
    if request.name_mapping is not UNSET:
        mapping = mapping_of(request.name_mapping, limit)
        spec = msgspec.structs.replace(spec, name_mapping=mapping)
    if request.consistency is not UNSET:
        spec = msgspec.structs.replace(spec, consistency=request.consistency)
    skip = request.extra_info.skip_unsupported_fields
    if skip is not UNSET:
        spec = msgspec.structs.replace(spec, skip_unsupported_fields=skip)
    check_mapping(spec)
    return spec


def remarks(
    request: UpdateRequest, view: TaskView, changed: Sequence[str]
) -> Iterator[str]:
    """Yield what is said of an update that was done; ``view`` is the task before."""
    if view.state == TaskState.PAUSED and changed:
        yield STAYS_PAUSED
    if SELECTION in changed:
        yield (
            "a collection that is new to the selection takes over the rows that the "
            "target has under its name, unless they are of another one that the task "
            "replicated: drop there what is not to stay, before it comes"
        )
    if request.milvus_connect_param.ignore_partition:
        yield IGNORE_PARTITION


def _reselected(request: UpdateRequest, spec: TaskSpec, limit: int) -> TaskSpec:
    """Return ``spec`` with another selection; one that takes the same is none."""
    if request.collection_infos is UNSET and request.db_collections is UNSET:
        return spec
    infos = [] if request.collection_infos is UNSET else request.collection_infos
    by_database = {} if request.db_collections is UNSET else request.db_collections
    selected = selection_of(infos, by_database, limit)
    for name in positions_given(infos, by_database):
        raise InvalidRequestError(f"`{name}` is of `create` alone, leave it out")
    chosen = msgspec.structs.replace(
        spec, collection_infos=selected[0], db_collections=selected[1]
    )
    return spec if set(chosen.selectors) == set(spec.selectors) else chosen


def _merged(given: ConnectChanges, now: ConnectParam) -> MilvusConnectParam:
    """Return the whole of what a ``create`` would have been given.

    A way to the target without TLS has none of the TLS settings of one with.
    """
    members = {name: getattr(given, name) for name in given.__struct_fields__}
    changed: dict[str, Any] = {name: value for name, value in members.items() if value}
    if not given.host:
        changed.setdefault("uri", now.uri)
    if given.dial_config is UNSET:
        secure = given.enable_tls or changed.get("uri", "").startswith("https")
        changed["dial_config"] = _dial_of(now) if secure else DialConfig()
    changed.setdefault("connect_timeout", now.connect_timeout)
    return MilvusConnectParam(**changed)


def _dial_of(now: ConnectParam) -> DialConfig:
    names = set(DialConfig.__struct_fields__) & set(now.__struct_fields__)
    return DialConfig(**{name: getattr(now, name) for name in names})
