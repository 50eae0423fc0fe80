"""What each ``request_type`` does: a checked request in, the answer's data out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cdc_actors.store.history import Page, moment_of
from cdc_http import maintenance as upkeep
from cdc_http import requests as wire
from cdc_http import responses as answers
from cdc_http.create import known_task_id, new_task_id, spec_of
from cdc_http.responses import task_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config.auth import Role
    from cdc_actors.tasks.state import Who
    from cdc_http.service import TaskService


class Operation(NamedTuple):
    """One type of request.

    The role it needs, the shape of its ``request_data``, the shape of the answer's
    ``data``, and what makes the one of the other.
    """

    role: Role
    shape: type[wire.Wire]
    answer: type[Any]
    act: Callable[[Any, Who], Any]


class Operations:
    """The request types by name."""

    def __init__(self, service: TaskService, max_name_length: int) -> None:
        self._service = service
        self._max_name_length = max_name_length
        self.by_type = {
            "create": Operation(
                "operator", wire.CreateRequest, answers.Created, self._create
            ),
            "delete": Operation(
                "operator", wire.DeleteRequest, answers.Done, self._delete
            ),
            "get": Operation("viewer", wire.GetRequest, answers.Got, self._get),
            "history": Operation("viewer", wire.HistoryRequest, Page, self._history),
            "list": Operation("viewer", wire.ListRequest, answers.Listed, self._list),
            "maintenance": Operation(
                "operator",
                wire.MaintenanceRequest,
                answers.Maintained,
                self._maintenance,
            ),
            "position": Operation(
                "viewer", wire.PositionRequest, answers.Positions, self._position
            ),
            "pause": Operation("operator", wire.TaskRequest, answers.Done, self._pause),
            "resume": Operation(
                "operator", wire.TaskRequest, answers.Done, self._resume
            ),
        }

    def _create(self, request: wire.CreateRequest, who: Who) -> answers.Created:
        task_id = new_task_id(request.task_id)
        spec = spec_of(request, self._max_name_length)
        return answers.Created(task_id=self._service.create(task_id, spec, who))

    def _list(self, _request: wire.ListRequest, _who: Who) -> answers.Listed:
        return answers.Listed(tasks=[task_object(v) for v in self._service.list()])

    def _get(self, request: wire.GetRequest, _who: Who) -> answers.Got:
        as_of = request.as_of
        moment = moment_of(as_of) if isinstance(as_of, str) else as_of
        view = self._service.get(known_task_id(request.task_id), moment)
        task = task_object(view)
        return answers.Got(manual=task, task=task)

    def _history(self, request: wire.HistoryRequest, _who: Who) -> Page:
        return self._service.history(
            known_task_id(request.task_id), after=request.after, limit=request.limit
        )

    def _position(self, request: wire.PositionRequest, _who: Who) -> answers.Positions:
        return upkeep.positions(self._service.positions(request.task_id))

    def _maintenance(
        self, request: wire.MaintenanceRequest, _who: Who
    ) -> answers.Maintained:
        level = self._service.set_log_level
        state = upkeep.maintain(request.operation, request.params, level)
        return answers.Maintained(state=state)

    def _pause(self, request: wire.TaskRequest, who: Who) -> answers.Done:
        self._service.pause(known_task_id(request.task_id), who)
        return answers.Done()

    def _resume(self, request: wire.TaskRequest, who: Who) -> answers.Done:
        self._service.resume(known_task_id(request.task_id), who)
        return answers.Done()

    def _delete(self, request: wire.DeleteRequest, who: Who) -> answers.Done:
        self._service.delete(
            known_task_id(request.task_id),
            who,
            ignore_not_found=request.ignore_not_found,
        )
        return answers.Done()
