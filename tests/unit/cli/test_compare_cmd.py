"""``cdc-actors compare`` on the real server, over comparisons in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cdc_actors.cli import compare_cmd
from cdc_actors.cli.main import main
from cdc_actors.compare import CollectionReport, Kind, RowFinding
from cdc_actors.service.comparison_state import ComparisonRequest, ComparisonState
from cdc_actors.tasks import SUPERVISOR
from cdc_http import Server, create_app
from tests.support.http_service import WHEN, FakeService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

ID = "a" * 32


@pytest.fixture
def service() -> FakeService:
    """Return comparisons in memory."""
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    """Serve them, and yield where."""
    server = Server(create_app(service), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.address[1]}"
    server.stop()


def ended(status: Any, report: CollectionReport) -> ComparisonState:
    """Return a comparison that came to this."""
    state = ComparisonState(
        task_id=ID, request=ComparisonRequest(), who=SUPERVISOR, began=WHEN
    )
    state.reports.append(report)
    state.end(status, "the target refuses" if status == "failed" else None)
    state.is_recorded = True
    return state


def attached(url: str, *options: str) -> Result:
    """Run the command for a comparison that there is."""
    words = ["compare", ID, "--attach", "--url", url, *options]
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize(
    ("status", "exit_status", "words"),
    [
        ("equal", 0, "Equal: 1 collection, 7 rows."),
        ("different", 3, "1 of 1 collections differ."),
        ("undecided", 4, "1 of 1 collections are undecided."),
        ("failed", 1, "the comparison has failed: the target refuses"),
        ("cancelled", 1, "the comparison was cancelled"),
    ],
)
def test_the_outcome_is_printed_and_the_exit_status(
    service: FakeService, url: str, status: str, exit_status: int, words: str
) -> None:
    """What was found in words, or as it is in JSON; a status for each outcome."""
    report = CollectionReport(database="default", name="books", source_rows=7)
    report.target_rows = 7
    if status == "different":
        report.missing.add(RowFinding(partition="_default", key=4))
    if status == "undecided":
        report.find(Kind.UNREAD, "not loaded at the target, so it cannot be read")
    service.compared[ID] = ended(status, report)
    done = attached(url)
    assert done.exit_code == exit_status, done.output
    assert words in done.output
    assert ("Equal: " in done.output) is (status == "equal")
    done = attached(url, "-o", "json")
    assert done.exit_code == exit_status
    assert json.loads(done.stdout)["reports"][0]["name"] == "books"


def test_what_is_asked_for_reaches_the_service(service: FakeService, url: str) -> None:
    """Collections and pace are those of the options; --cancel ends what runs."""
    task = ["task", "create", "--target", "http://h:1", "--collection", "*"]
    task_id = CliRunner().invoke(main, [*task, "--url", url]).output.strip()
    options = ["--collection", "shop.a", "--rows-per-second", "9", "--url", url]
    done = CliRunner().invoke(main, ["compare", task_id, *options])
    assert done.exit_code == 0, done.output
    request = ComparisonRequest(collections=(("shop", "a"),), rows_per_second=9)
    assert any(each[:3] == ("compare", task_id, request) for each in service.asked)
    done = CliRunner().invoke(main, ["compare", task_id, "--cancel", "--url", url])
    assert (done.exit_code, service.compared) == (0, {})


def test_a_service_that_is_away_is_waited_for(
    service: FakeService, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be restarted meanwhile; if it stays away, that is said with status 4."""
    monkeypatch.setattr(compare_cmd, "ABSENCE_SECONDS", 0.2)
    done = attached("http://127.0.0.1:1")
    assert (done.exit_code, "does not answer" in done.output) == (4, True)


def test_the_line_says_how_far_it_is() -> None:
    """A bar, collections, rows of the present one, and what it waits for."""
    shown = {
        "collections": 2,
        "collections_done": 1,
        "collection": "default.books",
        "collection_rows": 500,
        "collection_rows_expected": 1_000,
        "error": "the target does not answer",
    }
    assert compare_cmd._line(shown) == (
        "[##################------]  75%  1 of 2 collections, default.books: "
        "500 of 1,000 rows; the target does not answer"
    )
