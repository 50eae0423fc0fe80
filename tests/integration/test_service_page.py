"""The page of a running service, in a real Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from pymilvus import DataType, MilvusClient

from tests.support.books import Books, wait_keys
from tests.support.browser import chromium, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from cdc_actors.embedded.lite import EmbeddedLite
    from tests.support.cdc import Cdc


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a browser."""
    with chromium() as browser:
        yield browser


def do(page: Page, name: str, verb: str) -> None:
    """Press a button, and then the one in its dialog."""
    page.get_by_role("button", name=name, exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=verb, exact=True).click()


def test_a_task_that_is_degraded_is_brought_back_by_its_buttons(
    browser: Browser,
    client: MilvusClient,
    target_lite: EmbeddedLite,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """Why a collection stays behind is seen; once mended, it is retried on the page."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    lite.create_collection("books", schema=schema)
    Books(client).create().insert(range(5))
    Books(client, "papers").create().insert(range(5))
    task = cdc.create(target_lite.uri)
    url = f"http://127.0.0.1:{cdc.port}/"
    with opened(browser, url) as page:
        line = page.get_by_role("row").filter(has_text=task)
        expect(line).to_contain_text("Degraded")
        expect(line).to_contain_text("default.books is set aside")
        expect(line).to_contain_text("1 set aside")
        line.get_by_role("link").click()
        area = page.get_by_role("region", name="Collections")
        expect(area.get_by_role("row").nth(1)).to_contain_text("another schema")
        lite.drop_collection("books")
        do(page, "Retry what is set aside", "Retry")
        wait_keys(lite, range(5))
        health = page.locator(".title .badge")
        expect(health).to_contain_text("OK")
        lag = page.get_by_role("region", name="Lag")
        expect(lag).to_contain_text(" s")
        do(page, "Pause", "Pause")
        expect(health).to_contain_text("Paused")
        expect(lag).to_contain_text("Unknown")
        Books(client).insert(range(5, 9))
        do(page, "Resume", "Resume")
        wait_keys(lite, range(9))
        expect(health).to_contain_text("OK")
        events = page.get_by_role("region", name="History").get_by_role("row")
        for words in ("taken up again", "paused", "resumed"):
            expect(events.filter(has_text=words).first).to_contain_text("127.0.0.1")
