"""Databases that come and go at the target as they do in the source's catalog.

The log tells of them from Milvus 2.3.2 on, and for as long as it is kept also of those
that are long gone; the catalog tells which there are, whatever the version.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.actors.work import RecordOperation
from cdc_actors.changes import hybrid
from cdc_actors.errors import OperatorError
from cdc_actors.target.collections import drop_database, ensure_database
from cdc_actors.tasks import (
    CREATE_DATABASE,
    DEFAULT_DATABASE,
    DROP_DATABASE,
    Operation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.actors.router import Router
    from cdc_actors.actors.stream import Stream
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import TaskSpec


class Databases:
    """Creates and drops the databases of one stream. The reader's thread.

    Only those of which everything is selected. What was done is compared with what there
    is now, so that a restart finds what happened meanwhile.
    """

    def __init__(
        self,
        stream: Stream,
        router: Router,
        target: Connection,
        spec: TaskSpec,
        known: frozenset[str],
    ) -> None:
        """``known`` are those that earlier runs created, and did not drop since."""
        self._stream = stream
        self._router = router
        self._target = target
        self._spec = spec
        self._known = known
        self._there: frozenset[str] = frozenset()
        self._gone: frozenset[str] = frozenset()

    def see(self, found: Iterable[str]) -> None:
        """Know which databases the source has now.

        One that came and went between two looks may have been made with its collections.
        """
        self._there = frozenset(filter(self._is_ours, found))
        made = filter(self._is_ours, self._router.databases())
        self._gone = self._gone.union(self._known, made) - self._there

    def advance(self) -> None:
        """Create what is new, and drop what is gone and has no collections any more."""
        for name in sorted(self._there - self._known):
            self._known |= {name}
            self._do(CREATE_DATABASE, name)
        if self._gone:
            for name in sorted(self._gone - self._router.databases()):
                self._known -= {name}
                self._gone -= {name}
                self._do(DROP_DATABASE, name)

    def _is_ours(self, name: str) -> bool:
        return name != DEFAULT_DATABASE and self._spec.selects_database(name)

    def _do(self, kind: str, name: str) -> None:
        """Do it at the target and write it down; the catalog need not know when it was."""
        there = self._spec.target_database(name)
        detail: dict[str, object] = {"request": {"db_name": there}}
        try:
            if kind == CREATE_DATABASE:
                ensure_database(self._target, there)
            else:
                self._drop(name, there)
        except OperatorError as refusal:
            detail["refused"] = str(refusal)
        operation = Operation(
            kind=kind,
            timestamp=hybrid(time.time()),
            database=name,
            name="",
            detail=detail,
        )
        self._stream.record(RecordOperation(operation))

    def _drop(self, name: str, there: str) -> None:
        """Drop it unless others are there, too.

        It is not even asked for: it could come between the steps of creating the first
        collection that another database has there.
        """
        if self._router.is_shared(name):
            raise OperatorError(
                f"{there} at the target holds collections of other databases, too"
            )
        drop_database(self._target, there)
