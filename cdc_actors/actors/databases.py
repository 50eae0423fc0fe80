"""Databases that come and go at the target as the source's clients asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc_actors.actors.work import RecordOperation
from cdc_actors.errors import OperatorError
from cdc_actors.target import requests
from cdc_actors.tasks import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.actors.router import Router
    from cdc_actors.actors.stream import Stream
    from cdc_actors.changes import Request
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import TaskSpec

OF_DATABASES = frozenset({"CreateDatabase", "DropDatabase"})


class Databases:
    """Creates and drops the databases of one stream. The reader's thread."""

    def __init__(
        self,
        stream: Stream,
        router: Router,
        target: Connection,
        spec: TaskSpec,
        existing: Iterable[str],
    ) -> None:
        """``existing`` are those that the source had when the catalog was listed."""
        self._stream = stream
        self._router = router
        self._target = target
        self._spec = spec
        self._existing = frozenset(existing)

    def concerns(self, request: Request, *, behind: bool) -> bool:
        """Tell whether a database is to be created or dropped here, too.

        Of what was asked before the catalog was listed only that matters which it bears
        out: a database may have been dropped, or created again, since.
        """
        exists = request.database in self._existing
        outdated = behind and exists != (request.kind == "CreateDatabase")
        return not outdated and self._spec.selects_database(request.database)

    def give(self, work: Any) -> bool:
        """Do it if its time has come; tell whether it is settled.

        A database is dropped once its collections are, unless it is in use again.
        """
        request: Request = work.request
        if request.kind == "DropDatabase":
            created = self._router.creations(request.database)
            if any(timestamp > request.timestamp for timestamp in created):
                self._stream.release(work.marks)
                return True
            if created:
                return False
        self._stream.record(RecordOperation(self._done(request)))
        self._stream.release(work.marks)
        return True

    def _done(self, request: Request) -> Operation:
        refused = self._ask(request)
        return Operation(
            kind=request.kind,
            timestamp=request.timestamp,
            database=request.database,
            name="",
            detail={"refused": refused} if refused else {},
        )

    def _ask(self, request: Request) -> str:
        """Create or drop the database at the target; return why not, if so.

        A drop is not even asked for where it could come between the steps of creating
        the first collection that another database has there.
        """
        there = self._spec.target_database(request.database)
        if request.kind == "DropDatabase" and self._router.is_shared(request.database):
            return f"{there} at the target holds collections of other databases, too"
        try:
            requests.repeat(self._target, request, there)
        except OperatorError as refusal:
            return str(refusal)
        return ""
