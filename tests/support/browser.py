"""A real Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")

TIMEOUT_MS = 60_000
"""How long what is expected may take: no test assumes how fast a machine is."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the browser of this machine; skip the test where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, url: str, path: str = "", script: str = "", **options: Any
) -> Iterator[Page]:
    """Yield a tab that shows a page; at the end nothing must have failed in it.

    Its clock goes on by itself, and can be put forward. ``script`` runs before the page's
    own; ``options`` are those of a browser context. What the page must not load or do by
    its own policy counts as a failure; that a request was refused,
    or not answered, does not.
    """
    errors: list[str] = []
    context = browser.new_context(**options)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda said: (
            errors.append(said.text)
            if said.type == "error" and "Failed to load resource" not in said.text
            else None
        ),
    )
    page.set_default_timeout(TIMEOUT_MS)
    page.clock.install()
    page.add_init_script(script)
    page.goto(url + path)
    try:
        yield page
    finally:
        context.close()
    assert errors == []
