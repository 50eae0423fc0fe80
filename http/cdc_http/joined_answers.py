"""Answers about all tasks, where other services on the store have some of them.

Whoever is asked asks the others for theirs, side by side. Of a task that nobody has just
now, or whose service does not answer, it says what the log knows.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from cdc_actors.errors import UnavailableError
from cdc_actors.service.views import LagSamples, Overview, TaskSummary
from cdc_http import joined_lags
from cdc_http.passing_on import CLIENT, answer_of
from cdc_http.responses import ListResponse, task_object
from cdc_http.task_ids import known_task_id

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

    import falcon

    from cdc_actors.service.views import TaskView
    from cdc_actors.store.ownership import Owner
    from cdc_http.service import TaskService

ANSWER_SECONDS = 3.0
"""How long another service may take to tell of its tasks."""

MOST_ASKED = 8
"""How many are asked side by side."""

Answer = dict[str, Any]


class JoinedAnswers:
    """Adds to an answer what others say. Any thread may use it."""

    def __init__(self, service: TaskService, trusted: ssl.SSLContext | None) -> None:
        self._service = service
        self._trusted = trusted

    def join(self, req: falcon.Request, members: Sequence[str], data: Any) -> Any:
        """Return ``data`` with what others have in these members.

        These are lists, but for the samples of lags. As it is, if another service asks: it
        asks the others itself.

        Raises:
            UnavailableError: Neither a service nor the log tells of some tasks.
        """
        if not members or req.get_header(CLIENT) is not None:
            return data
        joined: Answer = msgspec.to_builtins(data)
        answers = self._answers(req)
        told = [*filter(None, answers), joined]
        if not self._service.others.is_cut_off():
            told.reverse()
        if isinstance(data, LagSamples):
            return joined_lags.joined(told)
        for member in members:
            joined[member] = _union(each.get(member, []) for each in told)
        if "tasks" in members:
            shown = _SHOWN[type(data)]
            self._add_unheard(joined["tasks"], shown, all_heard=None not in answers)
            joined["tasks"].sort(key=lambda task: task["created_at"])
        return joined

    def _answers(self, req: falcon.Request) -> list[Answer | None]:
        """Return what the others say, None for one that cannot be asked."""
        others = self._service.others.with_tasks()
        if not others:
            return []
        with ThreadPoolExecutor(min(MOST_ASKED, len(others))) as pool:
            return list(pool.map(lambda owner: self._answer(req, owner), others))

    def _answer(self, req: falcon.Request, owner: Owner) -> Answer | None:
        if not owner.url:
            return None
        with suppress(UnavailableError, msgspec.DecodeError):
            status, body = answer_of(req, owner, self._trusted, ANSWER_SECONDS)
            if status == 200:  # noqa: PLR2004
                data: Answer = msgspec.json.decode(body)["data"]
                return data
        return None

    def _add_unheard(
        self, tasks: list[Answer], shown: Callable[[TaskView], Any], *, all_heard: bool
    ) -> None:
        """Add what only the log has; where it cannot be read all others must have told."""
        heard = {_known(each["task_id"]) for each in tasks}
        try:
            views = self._service.others.unheard(heard)
            tasks.extend(msgspec.to_builtins(shown(view)) for view in views)
        except UnavailableError:
            if not all_heard:
                raise


def _union(told: Iterable[list[Answer]]) -> list[Answer]:
    """Return what is of tasks that none before has told of: some may just be moving."""
    found: list[Answer] = []
    heard: set[str] = set()
    for each in told:
        found += [one for one in each if one["task_id"] not in heard]
        heard.update(one["task_id"] for one in each)
    return found


def _known(given: str) -> str:
    with known_task_id(given) as known:
        return known


def _summary(view: TaskView) -> TaskSummary:
    return TaskSummary(
        task_id=view.spec.task_name or view.task_id,
        uri=view.spec.target.uri,
        state=view.state,
        reason=view.reason,
        created_at=view.created_at,
        last_event=view.as_of or 0,
        health=view.health,
        lag_seconds=None,
        rows_applied=None,
        collections=Counter(each.state for each in view.collections),
        operations_refused=view.refused,
    )


_SHOWN: dict[type, Callable[[TaskView], Any]] = {
    ListResponse: task_object,
    Overview: _summary,
}
