"""The page in a real Chromium, over services that are in every state there is."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from playwright.sync_api import expect

from cdc_actors.compare import CollectionReport, Cursor, Kind, RowFinding
from cdc_actors.config.auth import Token
from cdc_actors.errors import TaskConflictError, UnavailableError
from cdc_actors.pipeline.messages import SnapshotProgress
from cdc_actors.service.comparison_state import ComparisonRequest, ComparisonState
from cdc_actors.service.views import Readiness, Refusal
from cdc_actors.tasks import SUPERVISOR, ConnectParam
from cdc_http import Server, create_app
from cdc_http.tokens import new_token
from tests.support.browser import chromium, opened
from tests.support.http_service import WHEN, FakeService, entry
from tests.support.shown import DIFFERS, STALL, collections, serving_tasks, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

    from cdc_actors.service.views import ComparisonStatus

OPS, OPS_HASH = new_token("ops")
EYE, EYE_HASH = new_token("eye")
TOKENS = (
    Token(name="ops", role="operator", hash=OPS_HASH),
    Token(name="eye", role="viewer", hash=EYE_HASH),
)
ID = f"{1:032x}"
SECOND = 1000

CONTRASTS = """() => {
  const part = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    throw new Error("no background");
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const low = [];
  let seen = 0;
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.nodeValue.trim() || !node.checkVisibility()) continue;
    if (["SCRIPT", "NOSCRIPT"].includes(node.tagName)) continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push(`${node.className} ${texts.currentNode.nodeValue}: ${ratio}`);
  }
  return { seen, low };
}"""
"""Each text that is seen, and those with less contrast than WCAG 2.2 (1.4.3) asks for."""

UNNAMED = """() => [...document.querySelectorAll("a, button, input, select, summary")]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.labels?.length || node.ariaLabel || node.textContent.trim()))
  .map((node) => node.outerHTML)"""

WATCH = """() => {
  window.changes = { childList: 0, characterData: 0, attributes: 0 };
  new MutationObserver((all) => { for (const each of all) window.changes[each.type] += 1; })
    .observe(document, {
      subtree: true, childList: true, characterData: true, attributes: true,
    });
}"""

COUNT = """(() => {
  const real = window.fetch;
  window.overviews = [];
  window.fetch = (to, request) => {
    if (request?.body?.includes("overview")) window.overviews.push(performance.now());
    return real(to, request);
  };
})()"""
"""Notes when the page asks, by its clock."""

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a browser for all these tests."""
    with chromium() as browser:
        yield browser


@contextmanager
def served(service: FakeService, **options: Any) -> Iterator[str]:
    """Serve the app on a free port; yield its address."""
    server = Server(create_app(service, **options), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.address[1]}/"
    finally:
        server.stop()


@contextmanager
def page_of(
    browser: Browser, service: FakeService, path: str = "", **options: Any
) -> Iterator[Page]:
    """Show the page over a service; its clock can be put forward."""
    with served(service) as url, opened(browser, url, path=path, **options) as page:
        yield page


def put(service: FakeService, *tasks: Any) -> None:
    """Change tasks of a service."""
    service.tasks.update({task.task_id: task for task in tasks})


def row(page: Page, number: int = 1) -> Locator:
    """Return the row of a task."""
    return page.get_by_role("row").filter(has_text=f"{number:032x}")


def asked(service: FakeService, kind: str) -> list[tuple[Any, ...]]:
    """Return what the service was asked of that kind."""
    return [each[1:] for each in service.asked if each[0] == kind]


def task_path(number: int = 1) -> str:
    """Return the page's path of a task."""
    return f"#/task/{number:032x}"


def button(page: Page, name: str) -> Locator:
    """Return the button of exactly that name."""
    return page.get_by_role("button", name=name, exact=True)


def test_what_a_person_sees_when_a_task_stalls_degrades_and_recovers(browser):
    """Word, reason and place change while one looks, and a screen reader is told."""
    service = serving_tasks(shown(1), shown(2))
    with page_of(browser, service) as page:
        expect(row(page)).to_contain_text("OK")
        expect(row(page)).to_contain_text("0.5 s")
        changes = page.locator("#changes")
        expect(changes).to_have_attribute("aria-live", "polite")
        expect(changes).to_be_empty()
        put(service, shown(2, "stalled", lag_seconds=31.4))
        page.clock.run_for(SECOND)
        expect(row(page, 2)).to_contain_text("Stalled")
        expect(row(page, 2)).to_contain_text(STALL)
        expect(row(page, 2)).to_contain_text("31 s")
        expect(page.get_by_role("row").nth(1)).to_contain_text("Stalled")
        expect(changes).to_have_text(f"Task {2:032x} is Stalled. {STALL}")
        expect(page).to_have_title("(1 not well) Tasks · cdc-actors")
        put(service, shown(2, "degraded"))
        page.clock.run_for(SECOND)
        expect(row(page, 2)).to_contain_text(DIFFERS)
        expect(row(page, 2)).to_contain_text("1 set aside")
        put(service, shown(2))
        page.clock.run_for(SECOND)
        expect(row(page, 2)).to_contain_text("OK")
        expect(row(page, 2)).not_to_contain_text("set aside")
        expect(changes).to_have_text(f"Task {2:032x} is OK.")
        expect(page).to_have_title("Tasks · cdc-actors")


def test_one_task_is_followed_as_well(browser):
    """Its page says what its health means, why, since when, and the lag."""
    service = serving_tasks(shown(1), lags={ID: [0.4, 12.5, None, 0.3]})
    with page_of(browser, service, task_path()) as page:
        health = page.get_by_role("region", name="Health")
        expect(health).to_contain_text("the target has what the source has")
        lag = page.get_by_role("region", name="Lag")
        expect(lag).to_contain_text("0.5 s")
        expect(lag).to_contain_text("Highest in the last hour: 13 s at 12:30:15 UTC")
        expect(lag).to_contain_text("gaps are times when it was unknown")
        put(service, shown(1, "retrying", lag_seconds=None))
        page.clock.run_for(SECOND)
        expect(health).to_contain_text("cannot be reached: connection refused")
        expect(health).to_contain_text("tried again at 12:30:30 UTC")
        expect(health).to_contain_text("attempt 3")
        expect(lag).to_contain_text("Unknown")


def test_each_selected_name_has_its_database(browser):
    """What is of the database default is not taken for everything."""
    task = shown(1)
    infos = {"collection_infos": ("*",), "db_collections": {"shop": ("carts",)}}
    service = serving_tasks(
        replace(task, spec=msgspec.structs.replace(task.spec, **infos))
    )
    with page_of(browser, service, task_path()) as page:
        fact = page.get_by_text("Selection", exact=True).locator("xpath=..")
        expect(fact.get_by_role("definition")).to_have_text("default.*, shop.carts")


@pytest.mark.thorough
def test_the_lag_of_another_process_is_another(browser):
    """A service that has started again counts anew, and so does the page."""
    service = serving_tasks(shown(1), lags={ID: [0.4, 12.5]})
    with page_of(browser, service, task_path()) as page:
        lag = page.get_by_role("region", name="Lag")
        expect(lag).to_contain_text("Highest in the last hour: 13 s at 12:30:15 UTC")
        service.lags[ID].append(17.0)
        page.clock.run_for(16 * SECOND)
        expect(lag).to_contain_text("Highest in the last hour: 17 s at 12:30:30 UTC")
        service.since, service.lags = WHEN + timedelta(hours=1), {ID: [0.2, 0.1, 0.1]}
        page.clock.run_for(16 * SECOND)
        expect(lag).to_contain_text("Highest in the last hour: 0.2 s at 13:30:00 UTC")
        expect(lag).to_contain_text("since the service started at 13:30:00 UTC")


def test_the_focus_stays_where_it_is(browser):
    """A row that moves up while somebody is on it keeps the focus."""
    service = serving_tasks(shown(1), shown(2), shown(3))
    with page_of(browser, service) as page:
        link = row(page, 3).get_by_role("link")
        link.focus()
        put(service, shown(3, "failed"))
        page.clock.run_for(SECOND)
        expect(page.get_by_role("row").nth(1)).to_contain_text("Failed")
        expect(link).to_be_focused()


def test_tasks_are_found_by_health_and_words(browser):
    """The counts are those of all tasks, and what is chosen stays chosen."""
    service = serving_tasks(shown(1), shown(2, "paused"), shown(3))
    with page_of(browser, service) as page:
        button(page, "Paused 1").click()
        expect(page.get_by_role("row")).to_have_count(2)
        put(service, shown(1, "paused"))
        page.clock.run_for(SECOND)
        expect(page.get_by_role("row")).to_have_count(3)
        page.get_by_label("Search").fill("target-2")
        expect(page.get_by_role("row")).to_have_count(2)
        page.get_by_label("Search").fill("nothing")
        expect(page.get_by_text("None of 3 tasks is like this.")).to_be_visible()


BUTTONS = {
    "pause": ("ok", "Pause", "Nothing more is written to http://target-1:19530", ()),
    "resume": ("paused", "Resume", "from where it stopped", ()),
    "retry": (
        "degraded",
        "Retry what is set aside",
        "default.c1",
        ((("default", "c1"),),),
    ),
    "delete": ("ok", "Delete", "ends for good and cannot be resumed", ()),
}


@pytest.mark.parametrize("kind", BUTTONS)
def test_a_button_says_what_it_does_before_it_does_it(browser, kind):
    """Nothing is asked of the service before that is confirmed, and then it is seen."""
    status, name, words, more = BUTTONS[kind]
    service = serving_tasks(shown(1, status), events=[entry(1, "created")])
    with page_of(browser, service, task_path()) as page:
        button(page, name).click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(words)
        expect(button(dialog, "Cancel")).to_be_focused()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(button(page, name)).to_be_focused()
        assert asked(service, kind) == []
        button(page, name).click()
        button(dialog, name.partition(" ")[0]).click()
        expect(page.locator("#result")).to_be_visible()
        assert [each[: 1 + len(more)] for each in asked(service, kind)] == [(ID, *more)]
        page.clock.run_for(SECOND)
        if kind == "delete":
            expect(page.get_by_text("This task is deleted.")).to_be_visible()
            expect(page.get_by_role("heading", level=1)).to_be_focused()
            expect(page.get_by_role("table", name="History")).to_contain_text("created")
        if kind == "pause":
            expect(button(page, "Resume")).to_be_focused()


def test_one_collection_is_retried(browser):
    """The button beside a collection that is set aside names it alone."""
    aside = collections(3, aside=2)
    service = serving_tasks(shown(1, "degraded", collections=aside))
    with page_of(browser, service, task_path()) as page:
        button(page, "Retry default.c2").click()
        button(page.get_by_role("dialog"), "Retry").click()
        expect(page.locator("#result")).to_contain_text("will be taken up again")
    assert [each[:2] for each in asked(service, "retry")] == [
        (ID, (("default", "c2"),))
    ]


def test_a_refusal_is_said_in_the_dialog(browser):
    """What was not done is not shown as done, and may be tried again."""
    service = serving_tasks(shown(1))
    with page_of(browser, service, task_path()) as page:
        button(page, "Pause").click()
        put(service, shown(1, "paused"))
        dialog = page.get_by_role("dialog")
        button(dialog, "Pause").click()
        alert = dialog.get_by_role("alert")
        expect(alert).to_contain_text("It was not done. the task has paused, task_id")
        expect(button(dialog, "Pause")).to_be_enabled()


@pytest.mark.parametrize(
    "answers", [pytest.param(True, marks=pytest.mark.thorough), False]
)
def test_what_is_asked_already_is_said_though_the_dialog_is_closed(browser, answers):
    """Escape does not call a request back: it is done, refused, or nobody knows."""
    service = serving_tasks(shown(1))
    with page_of(browser, service, task_path()) as page:
        button(page, "Pause").click()
        service.entered.clear()
        service.gate.clear()
        if not answers:
            page.route("**/cdc", lambda route: route.abort())
        button(page.get_by_role("dialog"), "Pause").click()
        if answers:
            assert service.entered.wait(60)
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_have_count(0)
        service.gate.set()
        if answers:
            expect(page.locator("#result")).to_have_text("The task is paused.")
        else:
            alert = page.get_by_role("dialog").get_by_role("alert")
            expect(alert).to_contain_text("Whether it was done will be seen.")


def test_a_token_that_is_no_longer_one(browser):
    """It is asked for another, and whatever dialog is open is gone."""
    service = serving_tasks(shown(1))
    with (
        served(service, tokens=TOKENS) as url,
        opened(browser, url, path=task_path()) as page,
    ):
        sign_in(page, OPS)
        button(page, "Delete").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        refused = {"code": 401, "message": "the token is not one of this service"}
        page.route("**/cdc", lambda route: route.fulfill(status=401, json=refused))
        page.clock.run_for(SECOND)
        expect(page.get_by_label("Token")).to_be_focused()
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.unroute("**/cdc")
        sign_in(page, EYE)
        expect(page.locator("#caller")).to_contain_text("Token eye, viewer")
        expect(button(page, "Delete")).to_have_count(0)


def sign_in(page: Page, token: str) -> None:
    """Give the page a token."""
    page.get_by_label("Token").fill(token)
    button(page, "Use this token").click()


def test_a_viewer_sees_all_and_has_no_buttons(browser):
    """A token is asked for once a tab, a wrong one is said to be wrong."""
    service = serving_tasks(shown(1, "degraded"))
    with served(service, tokens=TOKENS) as url, opened(browser, url) as page:
        sign_in(page, "eye.wrong")
        expect(page.get_by_role("alert")).to_contain_text("not a token of this service")
        assert service.asked == []
        sign_in(page, EYE)
        row(page).get_by_role("link").click()
        expect(page.locator("#caller")).to_contain_text("Token eye, viewer")
        expect(page.get_by_role("region", name="Collections")).to_contain_text("c3")
        for name in ("Pause", "Delete", "Retry what is set aside", "Retry default.c1"):
            expect(button(page, name)).to_have_count(0)
        page.reload()
        expect(page.get_by_role("region", name="Collections")).to_contain_text("c3")
        assert EYE not in page.url
        assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
        button(page, "Forget the token").click()
        expect(page.get_by_label("Token")).to_be_focused()
        assert page.evaluate("sessionStorage.length") == 0


def test_an_operator_is_known_by_name(browser):
    """What is done over the page has the token's name in its event."""
    service = serving_tasks(shown(1))
    with served(service, tokens=TOKENS) as url, opened(browser, url) as page:
        sign_in(page, OPS)
        row(page).get_by_role("link").click()
        button(page, "Pause").click()
        button(page.get_by_role("dialog"), "Pause").click()
        expect(page.locator("#result")).to_have_text("The task is paused.")
    assert [each[1].token_name for each in asked(service, "pause")] == ["ops"]


def test_a_right_that_is_not_there_is_said(browser):
    """Whatever the page takes the caller for, the service decides."""
    service = serving_tasks(shown(1))
    with served(service, tokens=TOKENS) as url, opened(browser, url) as page:
        told = {"code": 200, "data": {"role": "operator", "token_name": "eye"}}
        page.route("**/cdc/caller", lambda route: route.fulfill(json=told))
        sign_in(page, EYE)
        row(page).get_by_role("link").click()
        button(page, "Delete").click()
        button(page.get_by_role("dialog"), "Delete").click()
        alert = page.get_by_role("dialog").get_by_role("alert")
        expect(alert).to_contain_text("the delete request needs the role operator")
    assert asked(service, "delete") == []


def test_hundreds_of_collections_have_filters_and_pages(browser):
    """Those in trouble come first; a page is 25 of them."""
    service = serving_tasks(shown(1, "degraded", 130))
    with page_of(browser, service, task_path()) as page:
        area = page.get_by_role("region", name="Collections")
        expect(area.get_by_role("status")).to_have_text("1 to 25 of 130 collections")
        expect(area.get_by_role("row").nth(1)).to_contain_text("set aside")
        expect(area.get_by_role("row").nth(2)).to_contain_text("default.c2")
        button(area, "Previous").click(force=True)
        expect(area.get_by_role("status")).to_have_text("1 to 25 of 130 collections")
        button(area, "Next").click()
        expect(area.get_by_role("status")).to_have_text("26 to 50 of 130 collections")
        area.get_by_label("Filter").fill("c12")
        told = "1 to 11 of 11, of 130 collections"
        expect(area.get_by_role("status")).to_have_text(told)
        area.get_by_label("State").select_option("set aside")
        told = "None of 130 collections is like this."
        expect(area.get_by_role("status")).to_have_text(told)


def test_collections_that_were_made_in_one_moment(browser):
    """Ids that JavaScript cannot tell apart do not hide a collection."""
    ids = 470_789_584_561_111_088, 470_789_584_561_111_092
    assert float(ids[0]) == float(ids[1])
    both = zip(collections(2), ids, strict=True)
    made = tuple(replace(each, collection_id=number) for each, number in both)
    service = serving_tasks(shown(1, collections=made))
    with page_of(browser, service, task_path()) as page:
        area = page.get_by_role("region", name="Collections")
        expect(area.get_by_role("row")).to_have_count(3)
        expect(area).to_contain_text("default.c1")
        expect(area).to_contain_text("default.c2")


def test_a_collection_that_comes_from_files(browser):
    """It stands before those that are live, with its state in a word."""
    live = collections(3)
    coming = replace(live[2], state="snapshot")
    service = serving_tasks(shown(1, "catching_up", collections=(*live[:2], coming)))
    with page_of(browser, service, task_path()) as page:
        area = page.get_by_role("region", name="Collections")
        first = area.get_by_role("row").nth(1)
        expect(first).to_contain_text("default.c3")
        expect(first.locator(".badge")).to_have_text("◐snapshot")


def test_whether_both_sides_are_equal_is_seen(browser):
    """A comparison is begun, followed, cancelled, and what it came to is told."""
    service = serving_tasks(shown(1), events=[entry(1)])
    with page_of(browser, service, task_path()) as page:
        area = page.get_by_role("region", name="Are both sides equal?")
        expect(area).to_contain_text("They have not been compared yet.")
        button(area, "Compare").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("It writes nothing")
        button(dialog, "Compare").click()
        page.clock.run_for(SECOND)
        expect(area).to_contain_text("Equal")
        expect(area.get_by_role("progressbar")).to_be_hidden()
        compared(service, None, cursor=Cursor(report=BOOKS, rows=250, expected=1000))
        page.clock.run_for(20 * SECOND)
        expect(area).to_contain_text("1 of 2 collections, default.books: 250 rows")
        bar = area.get_by_role("progressbar")
        expect(bar).to_have_js_property("value", 0.625)
        compared(service, None, cursor=Cursor(report=BOOKS, rows=500, expected=1000))
        page.clock.run_for(3 * SECOND)
        expect(bar).to_have_js_property("value", 0.75)
        button(area, "Cancel the comparison").click()
        button(dialog, "End it").click()
        expect(page.locator("#result")).to_have_text("The comparison is cancelled.")
        service.events.append(entry(2))
        page.clock.run_for(3 * SECOND)
        expect(area).to_contain_text("They have not been compared yet.")
        compared(service, "different")
        service.events.append(entry(3))
        page.clock.run_for(3 * SECOND)
        expect(area).to_contain_text("1 row missing at the target")
        line = area.get_by_role("listitem")
        expect(line).to_contain_text(
            "default.papers is different: 1 row missing at the target; its schema differs"
        )
        expect(button(area, "Compare")).to_be_visible()


BOOKS = CollectionReport(database="default", name="books", source_rows=9)


def compared(
    service: FakeService, outcome: ComparisonStatus | None, cursor: Cursor | None = None
) -> None:
    """Have a task's newest comparison run, or end with something that differs."""
    report = CollectionReport(database="default", name="papers", source_rows=7)
    report.find(Kind.SCHEMA, "its schema differs")
    report.missing.add(RowFinding(partition="_default", key=5))
    request = ComparisonRequest()
    state = ComparisonState(task_id=ID, request=request, who=SUPERVISOR, began=WHEN)
    state.total, state.reports, state.cursor = 2, [report], cursor
    if outcome:
        state.end(outcome)
        state.is_recorded = True
    service.compared[ID] = state


def test_operations_that_were_not_done_are_accepted(browser):
    """They are named, and the button beside them says that nothing is done by it."""
    refusal = Refusal(
        kind="DropDatabase", database="shop", name="", at=WHEN, reason="it is not empty"
    )
    task = shown(1, "degraded", refused=1, refusals=(refusal,))
    problems = replace(task.health.problems, operations_refused=1)
    health = replace(task.health, problems=problems)
    service = serving_tasks(replace(task, health=health))
    with page_of(browser, service, task_path()) as page:
        area = page.get_by_role("region", name="Health")
        expect(area).to_contain_text("DropDatabase of shop: it is not empty")
        button(area, "Accept these").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("are not done by this, nor tried again")
        button(dialog, "Accept").click()
        expect(page.locator("#result")).to_have_text("They are accepted as not done.")
        put(service, shown(1, refused=1, refusals=(refusal,)))
        page.clock.run_for(SECOND)
        expect(button(area, "Accept these")).to_have_count(0)
    assert [each[:2] for each in asked(service, "acknowledge")] == [(ID, [])]


def test_how_far_files_and_rows_are_is_live(browser):
    """Neither is in an event, and both are seen to move."""
    live = collections(3)

    def coming(size: int, left: float | None) -> Any:
        progress = SnapshotProgress(1200, 5000, size, 90_000, left)
        one = replace(live[2], state="snapshot", snapshot=progress)
        return shown(1, "catching_up", collections=(*live[:2], one), rows_applied=size)

    service = serving_tasks(coming(0, None))
    with page_of(browser, service, task_path()) as page:
        first = page.get_by_role("region", name="Collections").get_by_role("row").nth(1)
        expect(first).to_contain_text("0 % of the source's files, 1,200 rows sent")
        put(service, coming(45_000, 130.0))
        page.clock.run_for(3 * SECOND)
        expect(first).to_contain_text("50 % of the source's files")
        expect(first).to_contain_text("2 min 10 s left")
        expect(page.get_by_text("45,000 since the service started")).to_be_visible()


def test_the_history_is_filtered_and_read_back(browser):
    """The newest events first, older ones when asked, and new ones as they come."""
    events = [replace(entry(n), text=f"step {n}") for n in range(1, 131)]
    service = serving_tasks(shown(1), events=events)
    with page_of(browser, service, task_path()) as page:
        area = page.get_by_role("region", name="History")
        expect(area.get_by_role("row").nth(1)).to_contain_text("step 130")
        told = area.get_by_role("status")
        expect(told).to_have_text("20 events; 110 older ones are not looked at yet.")
        service.events.append(replace(entry(131), text="step 131"))
        page.clock.run_for(SECOND)
        expect(area.get_by_role("row").nth(1)).to_contain_text("step 131")
        button(area, "Older events").evaluate(
            "it => { it.click(); it.click(); it.click(); }"
        )
        expect(told).to_have_text("131 events.")
        area.get_by_label("Filter").fill("step 77")
        expect(area.get_by_role("row")).to_have_count(2)
        expect(told).to_have_text("1 of 131 events.")


@pytest.mark.thorough
def test_other_moments_and_what_differs_between_them(browser):
    """What is shown is what `get` says of those events, field by field."""
    service = serving_tasks(shown(1), events=[entry(1), entry(2)])
    service.past = {
        1: shown(1, "paused", 2, as_of=1),
        2: shown(1, "degraded", 3, as_of=2, lag_seconds=None),
    }
    with page_of(browser, service, task_path()) as page:
        area = page.get_by_role("region", name="History")
        button(area, "Take event 1 as moment A").click()
        button(area, "Show the task at A").click()
        past = area.locator(".past")
        expect(past).to_contain_text("The task after event 1")
        expect(past).to_contain_text("Paused")
        expect(past).to_contain_text("1 to 2 of 2 collections")
        expect(past).to_be_focused()
        button(area, "Take event 2 as moment B").click()
        button(area, "Show what differs from A to B").click()
        expect(past).to_contain_text("From event 1 to event 2:")
        line = past.get_by_role("row").filter(has_text=re.compile("^state"))
        expect(line).to_have_text("statePausedRunning")
        new = past.get_by_role("row").filter(has_text="collection default.c3")
        expect(new).to_have_text("collection default.c3-live; default.c3 at the target")
        area.get_by_role("textbox", name="Moment A").fill("yesterday")
        button(area, "Show the task at A").click()
        expect(area.get_by_role("alert")).to_contain_text("as_of must be the number")


def test_a_service_that_does_not_answer_is_said(browser):
    """What is shown stays, is said to be old, and is live again when it answers."""
    service = serving_tasks(shown(1))
    with page_of(browser, service) as page:
        expect(page.locator("#connection")).to_have_text("Live")
        service.failure = UnavailableError("the store belongs to another process")
        page.clock.run_for(SECOND)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("the store belongs to another process.")
        expect(alert).to_contain_text("What is shown may be old.")
        expect(page.locator("#connection")).to_have_text("Not live")
        expect(row(page)).to_be_visible()
        service.failure = None
        page.clock.run_for(10 * SECOND)
        expect(page.locator("#connection")).to_have_text("Live")
        expect(alert).to_be_hidden()
        service.ready = Readiness(ready=False, missing={"source etcd": "refused"})
        page.clock.run_for(SECOND)
        missing = page.locator("#missing")
        expect(missing).to_have_text(
            "The service cannot reach all that it needs. source etcd: refused"
        )


def answered_with(page: Page, body: str) -> None:
    """Have something else answer in the service's place."""
    page.route("**/cdc", lambda route: route.fulfill(status=502, body=body))


def test_a_service_that_goes_away_and_comes_back(browser):
    """Nobody listens, then somebody else answers in its place, then it is there again."""
    service = serving_tasks(shown(1))
    with page_of(browser, service) as page:
        expect(row(page)).to_be_visible()
        alert = page.get_by_role("alert")
        page.route("**/cdc", lambda route: route.abort())
        page.clock.run_for(SECOND)
        expect(alert).to_contain_text(
            "The service does not answer. What is shown may be"
        )
        for body in ("<html>Bad gateway</html>", '{"title": "away"}', "null"):
            page.unroute("**/cdc")
            answered_with(page, body)
            page.clock.run_for(10 * SECOND)
            expect(alert).to_contain_text("is not the service; the status is 502. What")
        page.unroute("**/cdc")
        put(service, shown(1, "failed"))
        page.clock.run_for(10 * SECOND)
        expect(row(page)).to_contain_text("Failed")
        expect(alert).to_be_hidden()


@pytest.mark.parametrize(
    "cut", ["#/task/%", pytest.param("#/task/%E0%A4%A", marks=pytest.mark.thorough)]
)
def test_an_address_that_is_cut_off_is_of_no_task(browser, cut):
    """And the way back to all tasks is there."""
    service = serving_tasks(shown(1))
    with page_of(browser, service, cut) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text(cut.split("/")[-1])
        expect(page.get_by_text("This task is deleted.")).to_be_visible()
        page.get_by_role("link", name="All tasks").click()
        expect(row(page)).to_be_visible()


def test_nothing_is_asked_while_nobody_looks(browser):
    """A hidden tab asks nothing; one that is seen again is live at once."""
    service = serving_tasks(shown(1))
    with page_of(browser, service) as page:
        expect(row(page)).to_be_visible()
        page.evaluate(HIDE, arg=True)
        before = len(asked(service, "overview"))
        for _ in range(10):
            page.clock.run_for(SECOND)
            page.evaluate("fetch('livez').then((answer) => answer.text())")
        put(service, shown(1, "failed"))
        # One may have been on its way.
        assert len(asked(service, "overview")) <= before + 1
        page.evaluate(HIDE, arg=False)
        page.clock.run_for(1)
        expect(row(page)).to_contain_text("Failed")


def test_it_asks_once_a_second_at_most(browser):
    """By the page's own clock, also when the tab is hidden and seen again in between."""
    service = serving_tasks(shown(1))
    with page_of(browser, service, script=COUNT) as page:
        expect(row(page)).to_be_visible()
        for _ in range(40):
            page.evaluate(HIDE, arg=True)
            page.clock.run_for(SECOND / 4)
            page.evaluate(HIDE, arg=False)
            page.evaluate("fetch('livez').then((answer) => answer.text())")
        times = page.evaluate("window.overviews")
    assert len(times) >= 3
    assert min(b - a for a, b in pairwise(times)) >= SECOND - 1


@pytest.mark.thorough
def test_a_hundred_tasks_with_a_hundred_collections_each(browser):
    """A second costs one small request, and changes only what differs."""
    service = serving_tasks(*(shown(number, count=100) for number in range(1, 101)))
    with page_of(browser, service) as page:
        expect(row(page, 100)).to_be_visible()
        page.evaluate(WATCH)
        before = len(service.asked)
        with page.expect_response("**/cdc") as answer:
            put(service, *(shown(n, count=100, lag_seconds=7.0) for n in (5, 6, 7)))
            page.clock.run_for(SECOND)
        expect(row(page, 7)).to_contain_text("7.0 s")
        assert len(answer.value.body()) < 100_000
        assert {each[0] for each in service.asked[before:]} == {"overview"}
        changes = page.evaluate("window.changes")
        assert changes == {"childList": 0, "characterData": 3, "attributes": 0}
        row(page, 7).get_by_role("link").click()
        area = page.get_by_role("region", name="Collections")
        expect(area.get_by_role("row")).to_have_count(26)
        before = len(service.asked)
        for _ in range(3):
            with page.expect_response("**/cdc"):
                page.clock.run_for(SECOND)
        assert {each[0] for each in service.asked[before:]} == {"overview"}


def test_what_others_wrote_is_text_and_nothing_more(browser):
    """Names and reasons come from other machines; none of them becomes a page."""
    evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    task = shown(1, "failed", count=1)
    spec = msgspec.structs.replace(task.spec, target=ConnectParam(uri=evil))
    health = replace(task.health, error=evil)
    service = serving_tasks(replace(task, spec=spec, health=health))
    service.events = [replace(entry(1), text=evil, why=evil)]
    with page_of(browser, service) as page:
        expect(page.get_by_role("cell").filter(has_text=evil)).to_have_count(2)
        assert page.locator("main img, main script").count() == 0
        assert page.title().endswith("Tasks · cdc-actors")


def test_names_of_collections_are_text_and_stay_in_their_places(browser):
    """Quotes, markup, a long one, and one that is written from right to left."""
    names = ['a"b', "it's", "<b>x</b>&amp;", "\u202eright to left", "c" * 255]
    plain = collections(len(names), aside=len(names))
    strange = [replace(c, name=name) for c, name in zip(plain, names, strict=True)]
    service = serving_tasks(shown(1, "degraded", collections=tuple(strange)))
    with page_of(browser, service, task_path()) as page:
        area = page.get_by_role("region", name="Collections")
        for name in names:
            line = area.get_by_role("row").filter(has_text=f"default.{name}")
            expect(line).to_have_count(1)
            why = line.locator('[data-column="Why"]').bounding_box()
            assert why is not None
            assert why["width"] > 200
        assert page.locator("main b").count() == 0
        button(page, "Retry what is set aside").click()
        listed = page.get_by_role("dialog").get_by_role("listitem")
        expect(listed).to_have_text([f"default.{name}" for name in names])


def test_a_page_of_another_site_reaches_nothing(browser):
    """Chromium says where such a request comes from, and it is refused."""
    service, other = serving_tasks(shown(1)), FakeService()
    body = json.dumps({"request_type": "delete", "request_data": {"task_id": ID}})
    send = """([to, body]) =>
        fetch(to, { method: "POST", mode: "no-cors", body }).catch(() => null)"""
    with served(service) as url, served(other) as elsewhere:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{elsewhere}livez")
        with page.expect_response("**/cdc") as answer:
            page.evaluate(send, [f"{url}cdc", body])
        assert answer.value.status == 403
        context.close()
    assert service.asked == []


def test_a_name_that_may_lead_elsewhere_is_refused(browser):
    """Without tokens; the page says why, and what to do."""
    service = serving_tasks(shown(1))
    with served(service) as url:
        elsewhere = url.replace("127.0.0.1", "own.localhost")
        with opened(browser, elsewhere) as page:
            alert = page.get_by_role("alert")
            expect(alert).to_contain_text("are refused without a token; make one with")
    assert service.asked == []


def test_nothing_comes_from_another_host(browser):
    """Each file and each request is of the service's own address."""
    service = serving_tasks(shown(1), events=[entry(1)])
    with served(service) as url:
        context = browser.new_context()
        page = context.new_page()
        seen: list[str] = []
        page.on("request", lambda request: seen.append(request.url))
        page.goto(url + task_path())
        expect(page.get_by_role("table", name="History")).to_be_visible()
        context.close()
    assert len(seen) > 10
    assert all(each.startswith(url) for each in seen)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "dark"),
        (1280, "light"),
        pytest.param(390, "light", marks=pytest.mark.thorough),
        pytest.param(1280, "dark", marks=pytest.mark.thorough),
    ],
)
def test_everybody_can_read_it(browser, scheme, width):
    """Contrast is 4.5 at least, every control has a name, nothing is cut off."""
    kinds = ["ok", "stalled", "degraded", "retrying", "paused", "failed"]
    kinds += ["catching_up", "starting"]
    tasks = [shown(n, kind) for n, kind in enumerate(kinds, 1)]
    service = serving_tasks(*tasks, events=[entry(1)])
    service.ready = Readiness(ready=False, missing={"source etcd": "refused"})
    view = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with page_of(browser, service, **view) as page:
        expect(row(page, 8)).to_be_visible()
        looked_at(page, width)
        page.goto(page.url + task_path(3))
        expect(page.get_by_role("table", name="History")).to_contain_text("resumed")
        button(page, "Take event 1 as moment A").click()
        button(page, "Show the task at A").click()
        expect(page.locator(".past")).to_be_visible()
        looked_at(page, width)
        button(page, "Delete").click()
        service.failure = TaskConflictError("it cannot be deleted")
        button(page.get_by_role("dialog"), "Delete").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
        looked_at(page, width)


def test_no_width_cuts_anything_off(browser):
    """From a small telephone to where the narrow layout ends, and behind that."""
    many = collections(3, aside=2)
    tasks = [shown(n, collections=many, rows_applied=10**9) for n in range(1, 4)]
    service = serving_tasks(*tasks, events=[entry(1)])
    with page_of(browser, service, viewport={"width": 320, "height": 900}) as page:
        for path in ("#/", task_path()):
            page.goto(page.url.partition("#")[0] + path)
            expect(page.get_by_role("table").first).to_be_visible()
            for width in (320, 820, 1040, 1041, 1100):
                page.set_viewport_size({"width": width, "height": 900})
                seen = page.evaluate("document.documentElement.scrollWidth")
                assert seen <= width, path


def looked_at(page: Page, width: int) -> None:
    """Check what is shown just now."""
    contrasts = page.evaluate(CONTRASTS)
    assert contrasts["low"] == []
    assert contrasts["seen"] > 30
    assert page.evaluate(UNNAMED) == []
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))


def test_the_keyboard_is_enough(browser):
    """From the first Tab to a task that is paused."""
    service = serving_tasks(shown(1))
    with page_of(browser, service) as page:
        expect(row(page)).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the tasks")).to_be_focused()
        page.keyboard.press("Enter")
        for _ in range(4):
            page.keyboard.press("Tab")
        expect(row(page).get_by_role("link")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        page.keyboard.press("Tab")
        expect(button(page, "Pause")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#result")).to_have_text("The task is paused.")
