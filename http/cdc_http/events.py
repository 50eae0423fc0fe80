"""``GET /cdc/tasks/{task_id}/events``: the history of a task, also as it grows."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import falcon
import msgspec

from cdc_actors.errors import RequestError, UnavailableError
from cdc_http.request_body import convert
from cdc_http.requests import EventsQuery
from cdc_http.responses import write_json
from cdc_http.server import STOPPING
from cdc_http.task_ids import known_task_id, shown_task_id

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from cdc_actors.store.history import Page
    from cdc_http.service import TaskService

NDJSON = "application/x-ndjson"

MAX_EVENT_STREAMS = 4
"""How many may follow at a time: each keeps one of the server's threads."""

POLL_SECONDS = 0.5
"""How often a follower looks for new events. An empty line says that there are none."""


class EventsResource:
    """The events of one task as one JSON answer, or as a line of JSON for each."""

    methods: ClassVar = ("GET",)
    open: ClassVar = False
    of_owner: ClassVar = True

    def __init__(self, service: TaskService) -> None:
        self._service = service
        self._streams = threading.BoundedSemaphore(MAX_EVENT_STREAMS)

    def on_get(self, req: falcon.Request, resp: falcon.Response, task_id: str) -> None:
        """Answer with a page of events, or follow them."""
        query = convert(req.params, EventsQuery, "fail to decode the query", text=True)
        with known_task_id(task_id) as known:
            page = self._service.history(known, after=query.after, limit=query.limit)
        if query.follow:
            self._follow(req, resp, page, query.after)
        elif req.client_prefers((falcon.MEDIA_JSON, NDJSON)) == NDJSON:
            resp.content_type = NDJSON
            resp.data = _lines(page)
        else:
            shown = replace(page, task_id=shown_task_id(task_id))
            write_json(resp, 200, {"code": 200, "data": shown})

    def _follow(
        self, req: falcon.Request, resp: falcon.Response, page: Page, after: int
    ) -> None:
        if not self._streams.acquire(blocking=False):
            raise UnavailableError(
                f"{MAX_EVENT_STREAMS} clients follow already, try later"
            )
        stopping = req.env.get(STOPPING) or threading.Event()
        resp.content_type = NDJSON
        resp.stream = _EventStream(
            self._followed(page, after, stopping), self._streams.release
        )

    def _followed(
        self, page: Page, after: int, stopping: threading.Event
    ) -> Generator[bytes]:
        """Yield lines until the task is deleted, the client is gone or the server stops.

        If the log does not answer, the stream ends, and the client asks again.
        """
        while True:
            yield _lines(page) or b"\n"
            if page.events:
                after = page.events[-1].number
                if page.events[-1].event == "deleted":
                    return
            if stopping.wait(0 if page.more else POLL_SECONDS):
                return
            try:
                page = self._service.history(page.task_id, after=after, limit=100)
            except RequestError:
                return


class _EventStream:
    """An answer without an end. The server closes it, also where it never began."""

    def __init__(self, lines: Generator[bytes], release: Callable[[], None]) -> None:
        self._lines = lines
        self._release = release

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def close(self) -> None:
        """Let somebody else follow."""
        self._lines.close()
        self._release()


def _lines(page: Page) -> bytes:
    return b"".join(msgspec.json.encode(each) + b"\n" for each in page.events)
