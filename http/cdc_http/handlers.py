"""What each ``request_type`` does: a checked request in, the answer's data out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET

from cdc_actors.service.views import LagSamples, Overview
from cdc_actors.store.history import Page, moment_of
from cdc_actors.tasks.state import TaskState
from cdc_http import maintenance
from cdc_http.comparison import ComparisonHandlers, ComparisonResponse
from cdc_http.create import check_channel, spec_of, warnings
from cdc_http.positions import check_position
from cdc_http.requests import (
    AcknowledgeRequest,
    CompareRequest,
    ComparisonQuery,
    CreateRequest,
    DeleteRequest,
    GetRequest,
    HistoryRequest,
    LagSamplesRequest,
    ListRequest,
    MaintenanceRequest,
    OverviewRequest,
    PositionRequest,
    RequestObject,
    ResyncRequest,
    RetryRequest,
    TaskRequest,
    UpdateRequest,
)
from cdc_http.responses import (
    CreateResponse,
    EmptyResponse,
    GetResponse,
    ListResponse,
    MaintenanceResponse,
    PositionResponse,
    ResyncResponse,
    RetryResponse,
    UpdateResponse,
    task_object,
)
from cdc_http.retry import collections_of, full_names, method_of
from cdc_http.task_ids import known_task_id, shown_task_id
from cdc_http.update import STAYS_PAUSED, remarks, updated_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config.auth import Role
    from cdc_actors.tasks.state import Who
    from cdc_http.service import TaskService


class RequestHandler(NamedTuple):
    """One type of request.

    The role it needs, the shape of its ``request_data``, the shape of the answer's
    ``data``, and what makes the one of the other. Then the members of the answer to which
    other services on the store add what they have.
    """

    role: Role
    request: type[RequestObject]
    response: type[Any]
    handle: Callable[[Any, Who], Any]
    joined: tuple[str, ...] = ()


class RequestHandlers:
    """The request types by name."""

    def __init__(
        self, service: TaskService, max_name_length: int, requests_channel: str
    ) -> None:
        self._service = service
        self._requests_channel = requests_channel
        self._max_name_length = max_name_length
        compare = _comparison_handlers(service)
        handlers = self._reading() | self._changing() | compare
        self.by_type = dict(sorted(handlers.items()))

    def _reading(self) -> dict[str, RequestHandler]:
        return {
            "get": RequestHandler("viewer", GetRequest, GetResponse, self._get),
            "history": RequestHandler("viewer", HistoryRequest, Page, self._history),
            "lag_samples": RequestHandler(
                "viewer",
                LagSamplesRequest,
                LagSamples,
                self._lag_samples,
                ("lag_seconds",),
            ),
            "list": RequestHandler(
                "viewer", ListRequest, ListResponse, self._list, ("tasks",)
            ),
            "overview": RequestHandler(
                "viewer", OverviewRequest, Overview, self._overview, ("tasks",)
            ),
            "position": RequestHandler(
                "viewer",
                PositionRequest,
                PositionResponse,
                self._position,
                ("positions", "op_positions"),
            ),
        }

    def _changing(self) -> dict[str, RequestHandler]:
        return {
            "acknowledge": RequestHandler(
                "operator", AcknowledgeRequest, EmptyResponse, self._acknowledge
            ),
            "create": RequestHandler(
                "operator", CreateRequest, CreateResponse, self._create
            ),
            "delete": RequestHandler(
                "operator", DeleteRequest, EmptyResponse, self._delete
            ),
            "maintenance": RequestHandler(
                "operator", MaintenanceRequest, MaintenanceResponse, self._maintenance
            ),
            "pause": RequestHandler(
                "operator", TaskRequest, EmptyResponse, self._pause
            ),
            "resume": RequestHandler(
                "operator", TaskRequest, EmptyResponse, self._resume
            ),
            "resync": RequestHandler(
                "operator", ResyncRequest, ResyncResponse, self._resync
            ),
            "retry": RequestHandler(
                "operator", RetryRequest, RetryResponse, self._retry
            ),
            "update": RequestHandler(
                "operator", UpdateRequest, UpdateResponse, self._update
            ),
        }

    def _create(self, request: CreateRequest, who: Who) -> CreateResponse:
        spec = spec_of(request, self._max_name_length)
        check_channel(request.rpc_channel_info, self._requests_channel)
        check_position(request.rpc_channel_info, self._requests_channel)
        if request.task_id:
            with known_task_id(request.task_id) as known:
                task_id = self._service.create(known, spec, who)
        else:
            task_id = self._service.create(None, spec, who)
        said = [*warnings(request), *self._service.misfits(task_id)]
        shown = shown_task_id(request.task_id or task_id)
        return CreateResponse(task_id=shown, warnings=said or UNSET)

    def _list(self, _request: ListRequest, _who: Who) -> ListResponse:
        return ListResponse(tasks=[task_object(v) for v in self._service.list()])

    def _overview(self, _request: OverviewRequest, _who: Who) -> Overview:
        return self._service.overview()

    def _lag_samples(self, request: LagSamplesRequest, _who: Who) -> LagSamples:
        return self._service.lag_samples(request.after)

    def _get(self, request: GetRequest, _who: Who) -> GetResponse:
        as_of = request.as_of
        moment = moment_of(as_of) if isinstance(as_of, str) else as_of
        with known_task_id(request.task_id) as known:
            task = task_object(self._service.get(known, moment))
        return GetResponse(manual=task, task=task)

    def _history(self, request: HistoryRequest, _who: Who) -> Page:
        with known_task_id(request.task_id) as known:
            page = self._service.history(
                known, after=request.after, limit=request.limit
            )
        return replace(page, task_id=shown_task_id(request.task_id))

    def _position(self, request: PositionRequest, _who: Who) -> PositionResponse:
        if not request.task_id:
            shown = {v.task_id: v.spec.task_name for v in self._service.list()}
            return maintenance.positions(self._service.positions(""), shown)
        with known_task_id(request.task_id) as known:
            found = self._service.positions(known)
        return maintenance.positions(found, {known: shown_task_id(request.task_id)})

    def _maintenance(
        self, request: MaintenanceRequest, _who: Who
    ) -> MaintenanceResponse:
        level = self._service.set_log_level
        state = maintenance.maintain(request.operation, request.params, level)
        return MaintenanceResponse(state=state)

    def _pause(self, request: TaskRequest, who: Who) -> EmptyResponse:
        with known_task_id(request.task_id) as known:
            self._service.pause(known, who)
        return EmptyResponse()

    def _resume(self, request: TaskRequest, who: Who) -> EmptyResponse:
        with known_task_id(request.task_id) as known:
            self._service.resume(known, who)
        return EmptyResponse()

    def _retry(self, request: RetryRequest, who: Who) -> RetryResponse:
        collections = collections_of(request)
        with known_task_id(request.task_id) as known:
            paused = self._service.get(known).state == TaskState.PAUSED
            self._service.retry(known, collections, who)
        return RetryResponse(warnings=[STAYS_PAUSED] if paused else UNSET)

    def _resync(self, request: ResyncRequest, who: Who) -> ResyncResponse:
        collections = full_names(request.collections)
        with known_task_id(request.task_id) as known:
            self._service.resync(known, collections, who, method=method_of(request))
            paused = self._service.get(known).state == TaskState.PAUSED
        return ResyncResponse(warnings=[STAYS_PAUSED] if paused else UNSET)

    def _acknowledge(self, request: AcknowledgeRequest, who: Who) -> EmptyResponse:
        with known_task_id(request.task_id) as known:
            self._service.acknowledge(known, request.kinds, who)
        return EmptyResponse()

    def _update(self, request: UpdateRequest, who: Who) -> UpdateResponse:
        with known_task_id(request.task_id) as known:
            view = self._service.get(known)
            spec = updated_spec(request, view.spec, self._max_name_length)
            changed = self._service.update(
                known, view.spec, spec, who, same_milvus=request.same_milvus
            )
            said = list(remarks(request, view, changed))
            said += self._service.misfits(known) if changed else ()
        return UpdateResponse(
            task_id=shown_task_id(request.task_id),
            changed=list(changed),
            warnings=said or UNSET,
        )

    def _delete(self, request: DeleteRequest, who: Who) -> EmptyResponse:
        with known_task_id(request.task_id) as known:
            self._service.delete(known, who, ignore_not_found=request.ignore_not_found)
        return EmptyResponse()


def _comparison_handlers(service: TaskService) -> dict[str, RequestHandler]:
    handlers = ComparisonHandlers(service)
    return {
        "cancel_comparison": RequestHandler(
            "operator", TaskRequest, EmptyResponse, handlers.cancel
        ),
        "compare": RequestHandler(
            "operator", CompareRequest, ComparisonResponse, handlers.compare
        ),
        "comparison": RequestHandler(
            "viewer", ComparisonQuery, ComparisonResponse, handlers.show
        ),
    }
