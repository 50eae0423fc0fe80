"""A ``create`` request checked, in milvus-cdc's order and words, and made a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import InvalidRequestError
from cdc_actors.tasks.spec import TaskSpec
from cdc_http.mapping import check_mapping, mapping_of
from cdc_http.positions import empty_positions, positions_of
from cdc_http.requests import MilvusConnectParam
from cdc_http.selection import selection_of
from cdc_http.target_address import target_of
from cdc_http.task_ids import check_name_length, is_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_http.requests import BufferConfig, ChannelInfo, CreateRequest


IGNORE_PARTITION = (
    "milvus_connect_param.ignore_partition has no effect: partitions are replicated"
)


NO_REQUESTS_POSITION = (
    "rpc_channel_info.position has no effect: clients' requests are read as far back as "
    "they are needed, and of collections with positions the catalog tells what came of them"
)


def spec_of(request: CreateRequest, max_name_length: int) -> TaskSpec:
    """Return the task that the request describes.

    Raises:
        InvalidRequestError: A field is missing, wrong, or asks for what this version
            does not do; the message names it.
    """
    _check_downstream(request)
    target, token = target_of(request.milvus_connect_param)
    _check_buffer(request.buffer_config)
    infos, by_database = request.collection_infos, request.db_collections
    selected = selection_of(infos, by_database, max_name_length)
    if request.positions:
        raise InvalidRequestError(
            "this version does not support `positions`, leave it out, or give those of "
            "collections in collection_infos or db_collections"
        )
    spec = TaskSpec(
        target=target,
        token=token,
        enable_user_role=request.extra_info.enable_user_role,
        skip_unsupported_fields=request.extra_info.skip_unsupported_fields,
        disable_auto_start=request.disable_auto_start,
        snapshot=request.snapshot,
        consistency=request.consistency,
        collection_infos=selected[0],
        db_collections=selected[1],
        positions=positions_of(request),
        name_mapping=mapping_of(request.name_mapping, max_name_length),
        task_name=_task_name(request.task_id, max_name_length),
    )
    check_mapping(spec)
    return spec


def check_channel(asked: ChannelInfo, configured: str) -> None:
    """Raise InvalidRequestError if the channel is not the one that is read."""
    if asked.name not in ("", configured):
        raise InvalidRequestError(
            f"rpc_channel_info.name is `{asked.name}`, and the service reads "
            f"`{configured}` (sourceConfig.replicateChan): leave it out, or change the "
            "setting"
        )


def _task_name(task_id: str, limit: int) -> str:
    if not task_id or not is_name(task_id):
        return ""
    check_name_length(task_id, limit)
    return task_id


def warnings(request: CreateRequest) -> Iterator[str]:
    """Yield what is said of fields that have no effect, or another than their name says."""
    if request.milvus_connect_param.ignore_partition:
        yield IGNORE_PARTITION
    if request.rpc_channel_info.position:
        yield NO_REQUESTS_POSITION
    for name in empty_positions(request):
        yield (
            f"the positions of {name} are empty, as if there were none: its rows come from "
            "the log or the source's files, also those that the target may have"
        )
    if request.disable_auto_start:
        yield (
            "disable_auto_start is as in milvus-cdc: the task runs now, and is paused "
            "whenever the service starts"
        )


def _check_downstream(request: CreateRequest) -> None:
    milvus = request.milvus_connect_param != MilvusConnectParam()
    kafka = bool(request.kafka_connect_param.address)
    if milvus and kafka:
        raise InvalidRequestError("don't support milvus and kafka at the same time now")
    if kafka:
        raise InvalidRequestError(
            "this version does not support `kafka_connect_param.address`, "
            "give `milvus_connect_param`"
        )
    if not milvus:
        raise InvalidRequestError("the downstream address is empty")


def _check_buffer(buffer: BufferConfig) -> None:
    # The words are milvus-cdc's: its clients may match on them.
    if buffer.period < 0:
        raise InvalidRequestError("the cache period is less zero")
    if buffer.size < 0:
        raise InvalidRequestError("the cache size is less zero")
