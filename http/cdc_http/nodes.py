"""``GET /cdc/nodes``: the services on the store, as each of them knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cdc_http.responses import NodeState, NodesView, NodeView, write_json

if TYPE_CHECKING:
    import falcon

    from cdc_actors.store.ownership import Node
    from cdc_http.service import TaskService

SILENT_SECONDS = 10.0
"""After how long without a word from it a service may be gone."""


class NodesResource:
    """Every service on the store, answered by whichever is asked."""

    methods: ClassVar = ("GET",)
    open: ClassVar = False

    def __init__(self, service: TaskService) -> None:
        self._service = service

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with all of them."""
        data = NodesView(nodes=[_shown(each) for each in self._service.nodes()])
        write_json(resp, 200, {"code": 200, "data": data})


def _shown(node: Node) -> NodeView:
    return NodeView(
        url=node.process.url,
        host=node.process.host,
        pid=node.process.pid,
        since=node.process.since,
        state=_state_of(node),
        silent_seconds=round(node.silent_seconds, 1),
        tasks=node.tasks,
        lag_seconds=node.lag_seconds,
    )


def _state_of(node: Node) -> NodeState:
    if node.silent_seconds > SILENT_SECONDS:
        return "silent"
    return "works" if node.is_owner else "waits"
