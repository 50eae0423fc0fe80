"""The requests ``compare``, ``comparison`` and ``cancel_comparison``."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec evaluates the annotations
from typing import TYPE_CHECKING, Any

import msgspec

from cdc_actors.compare import Finding, Tally, Verdict  # noqa: TC001
from cdc_actors.errors import InvalidRequestError
from cdc_actors.service.comparison_state import ComparisonRequest
from cdc_actors.service.views import ComparisonStatus  # noqa: TC001
from cdc_http.responses import EmptyResponse, ResponseObject
from cdc_http.retry import collections_of
from cdc_http.task_ids import known_task_id, shown_task_id

if TYPE_CHECKING:
    from cdc_actors.service.views import ComparisonView
    from cdc_actors.tasks.state import Who
    from cdc_http.requests import CompareRequest, ComparisonQuery, TaskRequest
    from cdc_http.service import TaskService


class ComparedCollection(ResponseObject, frozen=True):
    """How a collection compares, by its names at the source.

    ``missing`` rows are at the source only, ``extra`` ones at the target only,
    ``different`` ones have other content under one key, and ``doubled`` keys occur more
    than once in a partition: of such keys only the number is compared, ``uneven`` says how
    many occur more often at one side. ``unsettled`` rows differed, and may have been on
    their way. ``repaired`` rows differed, were sent, and are the same now; the other counts
    are of those that still differ. ``source_rows`` and ``target_rows`` count all copies of
    a key, null where rows could not be read. ``findings`` are differences beside the rows,
    ``notes`` explain.
    """

    database: str
    name: str
    verdict: Verdict
    source_rows: int | None
    target_rows: int | None
    missing: Tally
    extra: Tally
    different: Tally
    doubled: Tally
    uneven: int
    unsettled: Tally
    repaired: int
    findings: list[Finding]
    notes: list[str]


class ComparisonResponse(ResponseObject, frozen=True):
    """The newest comparison of a task: how far it is, and what it came to.

    ``status`` is ``running``, ``equal``, ``different``, ``undecided`` (nothing is known to
    differ, but not all could be read or stood still), ``cancelled`` or ``failed``.
    ``error`` is why it failed or, while it runs, what it waits for. ``collection`` is being
    compared, ``collection_rows`` of some ``collection_rows_expected`` are. ``counts`` has
    the source's ``rows``, how many were ``repaired`` and how many differ in which way;
    ``reports`` are of the ``collections_done``, empty without ``details``.
    """

    task_id: str
    status: ComparisonStatus
    began: datetime
    ended: datetime | None
    error: str | None
    repair: bool
    delete_extra: bool
    collections: int
    collections_done: int
    collection: str | None
    collection_rows: int
    collection_rows_expected: int | None
    counts: dict[str, int]
    reports: list[ComparedCollection]


class ComparisonHandlers:
    """What the three requests do."""

    def __init__(self, service: TaskService) -> None:
        self._service = service

    def compare(self, request: CompareRequest, who: Who) -> ComparisonResponse:
        """Begin to compare, and return how far that is: not far."""
        if request.delete_extra and not request.repair:
            raise InvalidRequestError("`delete_extra` goes with `repair`")
        asked = ComparisonRequest(
            collections=collections_of(request),
            rows_per_second=request.rows_per_second,
            repair=request.repair,
            delete_extra=request.delete_extra,
        )
        with known_task_id(request.task_id) as known:
            self._service.comparisons.start(known, asked, who)
            view = self._service.comparisons.view(known)
        return _response(request.task_id, view, details=False)

    def show(self, request: ComparisonQuery, _who: Who) -> ComparisonResponse:
        """Return how far the newest comparison is."""
        with known_task_id(request.task_id) as known:
            view = self._service.comparisons.view(known)
        return _response(request.task_id, view, details=request.details)

    def cancel(self, request: TaskRequest, _who: Who) -> EmptyResponse:
        """Have it end."""
        with known_task_id(request.task_id) as known:
            self._service.comparisons.cancel(known)
        return EmptyResponse()


def _response(
    task_id: str, view: ComparisonView, *, details: bool
) -> ComparisonResponse:
    shown: dict[str, Any] = {name: getattr(view, name) for name in _SHOWN}
    reports = view.reports if details else ()
    return ComparisonResponse(
        **shown,
        task_id=shown_task_id(task_id),
        reports=[_collection(report) for report in reports],
    )


def _collection(report: object) -> ComparedCollection:
    return msgspec.convert(report, ComparedCollection, from_attributes=True)


_SHOWN = set(ComparisonResponse.__struct_fields__) - {"task_id", "reports"}
