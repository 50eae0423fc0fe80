"""``/cdc/nodes``: the services on the store, as each of them knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cdc_actors.errors import UnknownNodeError
from cdc_http.request_body import convert, read_json
from cdc_http.requests import DrainRequest
from cdc_http.responses import NodeState, NodesView, NodeView, write_json

if TYPE_CHECKING:
    import falcon

    from cdc_actors.store.ownership import Node
    from cdc_http.auth import Caller
    from cdc_http.service import OtherServices

SILENT_SECONDS = 10.0
"""After how long without a word from it a service may be gone."""


class NodesResource:
    """Every service on the store, answered by whichever is asked."""

    methods: ClassVar = ("GET", "POST")
    open: ClassVar = False

    def __init__(self, others: OtherServices, max_body_bytes: int) -> None:
        self._others = others
        self._max_body_bytes = max_body_bytes

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with all of them."""
        data = NodesView(nodes=[_shown(each) for each in self._others.nodes()])
        write_json(resp, 200, {"code": 200, "data": data})

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Have one give its tasks to others, or have tasks again."""
        body = read_json(req, self._max_body_bytes)
        asked = convert(body, DrainRequest, "fail to decode the request")
        caller: Caller = req.context.caller
        caller.check("operator", "a request to drain a service")
        if not self._others.drain(asked.node_id, drains=asked.drain):
            raise UnknownNodeError(
                f"there is no service {asked.node_id} that others could work for, GET "
                "/cdc/nodes lists those on the store"
            )
        self.on_get(req, resp)


def _shown(node: Node) -> NodeView:
    return NodeView(
        node_id=node.node_id,
        url=node.process.url,
        host=node.process.host,
        pid=node.process.pid,
        since=node.process.since,
        state=_state_of(node),
        silent_seconds=round(node.silent_seconds, 1),
        tasks=node.tasks,
        load=node.load,
        lag_seconds=node.lag_seconds,
    )


def _state_of(node: Node) -> NodeState:
    if node.silent_seconds > SILENT_SECONDS:
        return "silent"
    return "drains" if node.drains else "works"
