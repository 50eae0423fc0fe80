"""A real Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Error, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")

TIMEOUT_MS = 60_000
"""How long what is expected may take: no test assumes how fast a machine is."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the browser of this machine, with a tab; skip the test where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        try:
            _tab(browser)
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, url: str, path: str = "", script: str = "", **options: Any
) -> Iterator[Page]:
    """Yield a tab that shows a page; at the end nothing must have failed in it.

    Its clock goes on by itself, and can be put forward. ``script`` runs before the page's
    own; ``options`` are those of a browser context. Without either it is one tab for all:
    another one takes twice as much of a processor. What the page must not load or do by
    its own policy counts as a failure; that a request was refused, or not answered, does
    not.
    """
    is_shared = not script and not options
    page = browser.contexts[0].pages[0] if is_shared else _tab(browser, **options)
    if script:
        page.add_init_script(script)
    try:
        with _nothing_fails(page):
            page.goto(url + path)
            yield page
            page.evaluate("sessionStorage.clear()")
    finally:
        page.unroute_all()
        if not is_shared:
            page.context.close()


def _tab(browser: Browser, **options: Any) -> Page:
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.clock.install()
    return page


@contextmanager
def _nothing_fails(page: Page) -> Iterator[None]:
    errors: list[str] = []

    def note(error: Error) -> None:
        errors.append(str(error))

    def listen(said: ConsoleMessage) -> None:
        if said.type == "error" and "Failed to load resource" not in said.text:
            errors.append(said.text)

    page.on("pageerror", note)
    page.on("console", listen)
    try:
        yield
    finally:
        page.remove_listener("pageerror", note)
        page.remove_listener("console", listen)
    assert errors == []
