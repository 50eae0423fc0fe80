"""The other services on the store, and what only they know."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.errors import UnavailableError, UnknownTaskError
from cdc_actors.service.projection import past_view_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from cdc_actors.config import Config
    from cdc_actors.service.tenure import Ownership
    from cdc_actors.service.views import TaskView
    from cdc_actors.store.ownership import Node, Owner
    from cdc_actors.tasks import Task

UNHEARD = (
    "the service that has the task does not answer, or has no nodeUrl, or none has it "
    "just now"
)
"""What is wrong with a task of which nothing newer than the log is known."""


def node_of(config: Config) -> str:
    """Return what tasks are shown to be of, where several services may have them."""
    if config.meta_store_config.store_type != "postgres":
        return ""
    return config.node_url or f"process {os.getpid()} on host {socket.gethostname()}"


class OtherServices:
    """Asks the store about them. Any thread may use it.

    Methods raise ``UnavailableError`` if the store does not answer, unless they say else.
    """

    def __init__(self, ownership: Callable[[], Ownership]) -> None:
        """``ownership`` raises ``UnavailableError`` before the service has begun."""
        self._ownership = ownership

    def owner_of(self, task_id: str) -> Owner | None:
        """Return which other service is to answer for a task, or for all if it is empty.

        None if that is this service, or unknown.
        """
        try:
            ownership = self._ownership()
        except UnavailableError:
            return None
        return ownership.other_owner(task_id)

    def is_cut_off(self) -> bool:
        """Tell whether this service's own tasks may be of others by now."""
        try:
            return not self._ownership().is_sure
        except UnavailableError:
            return True

    def with_tasks(self) -> Sequence[Owner]:
        """Return those that have some of the tasks while this one has others.

        Those that were there last, while the store does not answer.
        """
        ownership = self._ownership()
        try:
            return ownership.others()
        except UnavailableError:
            return ownership.last_others()

    def nodes(self) -> Sequence[Node]:
        """Return all services on the store, and this one."""
        return self._ownership().nodes()

    def drain(self, node_id: str, *, drains: bool) -> bool:
        """Have a service give its tasks to others, or have tasks; see ``Lease``."""
        return self._ownership().drain(node_id, drains=drains)

    def unheard(self, heard: Collection[str]) -> Iterator[TaskView]:
        """Return the tasks that the log has but for these, as far as it knows them."""
        stores = self._ownership().tenure.stores
        log = stores.log
        if stores.owners is None:
            return
        for task_id in log.alive_ids():
            if task_id in heard:
                continue
            with suppress(UnknownTaskError):
                yield _unheard(log.load(task_id))

    def view(self, task_id: str) -> TaskView:
        """Return a task as far as the log knows it; UnknownTaskError if there is none."""
        return _unheard(self._ownership().tenure.stores.log.load(task_id))


def _unheard(task: Task) -> TaskView:
    view = past_view_of(task)
    return replace(view, health=replace(view.health, status="unknown", error=UNHEARD))
