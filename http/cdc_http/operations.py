"""What each ``request_type`` does: a checked request in, the answer's data out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cdc_actors.tasks.history import moment_of
from cdc_http import wire
from cdc_http.answers import task_object
from cdc_http.create import known_task_id, new_task_id, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.tasks.state import Who
    from cdc_http.service import TaskService

    Operation = Callable[[Any, Who], dict[str, Any]]


class Operations:
    """The request types by name, each with the shape of its ``request_data``."""

    def __init__(self, service: TaskService, max_name_length: int) -> None:
        self._service = service
        self._max_name_length = max_name_length
        self.by_type: dict[str, tuple[type[wire.Wire], Operation]] = {
            "create": (wire.CreateRequest, self._create),
            "delete": (wire.DeleteRequest, self._delete),
            "get": (wire.GetRequest, self._get),
            "history": (wire.HistoryRequest, self._history),
            "list": (wire.ListRequest, self._list),
            "pause": (wire.TaskRequest, self._pause),
            "resume": (wire.TaskRequest, self._resume),
        }

    def _create(self, request: wire.CreateRequest, who: Who) -> dict[str, Any]:
        task_id = new_task_id(request.task_id)
        spec = spec_of(request, self._max_name_length)
        return {"task_id": self._service.create(task_id, spec, who)}

    def _list(self, _request: wire.ListRequest, _who: Who) -> dict[str, Any]:
        return {"tasks": [task_object(view) for view in self._service.list()]}

    def _get(self, request: wire.GetRequest, _who: Who) -> dict[str, Any]:
        as_of = request.as_of
        moment = moment_of(as_of) if isinstance(as_of, str) else as_of
        view = self._service.get(known_task_id(request.task_id), moment)
        task = task_object(view)
        # milvus-cdc's manual says Task, its own clients read task.
        return {"Task": task, "task": task}

    def _history(self, request: wire.HistoryRequest, _who: Who) -> dict[str, Any]:
        page = self._service.history(
            known_task_id(request.task_id), after=request.after, limit=request.limit
        )
        return asdict(page)

    def _pause(self, request: wire.TaskRequest, who: Who) -> dict[str, Any]:
        self._service.pause(known_task_id(request.task_id), who)
        return {}

    def _resume(self, request: wire.TaskRequest, who: Who) -> dict[str, Any]:
        self._service.resume(known_task_id(request.task_id), who)
        return {}

    def _delete(self, request: wire.DeleteRequest, who: Who) -> dict[str, Any]:
        self._service.delete(
            known_task_id(request.task_id),
            who,
            ignore_not_found=request.ignore_not_found,
        )
        return {}
