"""Every page opens in both themes, and axe-core finds nothing on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.support.browser import Tab, a_tab

PAGES = [
    "sagas",
    "sagas?status=FAILED&since=2h&error=sold",
    "sagas?status=none",
    "sagas?status=FAILED&status=PENDING&is=retrying&attempts=3&columns=what,took",
    "sagas/{waiting}",
    "sagas/{failed}",
    "sagas/{retrying}",
    "sagas/{outing}",
    "sagas/{compensated}?axis=true",
    "sagas/{compensated}?at_version=6&compare=12",
    "sagas/{completed}?axis=event",
    "sagas/{odd}",
    "sagas/unknown",
    "sagas/{failed}/skip",
    "sagas/{failed}/replace-input",
    "sagas/{failed}/resolve",
    "sagas/{waiting}/signal",
    "sagas/{waiting}/cancel",
    "sagas/{completed}/cancel",
    "attention",
    "attention/batch?command=retry&status=FAILED",
    "attention/batch?command=resume&name=nothing",
    "batches/{batch}",
    "definitions",
    "definitions/create-event",
    "definitions/journey?within=week",
    "system",
    "log",
    "demo",
]
ALL_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES_OF_COLOUR = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
WIDTHS = (320, 2560)


@pytest.fixture(scope="module")
def shared(browser: Browser, base_url: str) -> Iterator[Tab]:
    """One tab for all pages: a new one each would cost as much as the page."""
    with a_tab(browser, base_url) as tab:
        tab.refused = True
        yield tab


def faults(page: Page, rules: Any) -> list[str]:
    """What axe-core finds on a page."""
    found = Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"]}).response["violations"]
    return [f"{fault['id']}: {node['html'][:160]}" for fault in found for node in fault["nodes"]]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_in_both_themes_and_fits_every_window(
    shared: Tab, sagas: dict[str, str], path: str
) -> None:
    """axe-core finds nothing; no script fails, no report of the policy comes; nothing is wider than the window."""
    shared.page.set_viewport_size({"width": 1280, "height": 900})
    page = shared.open(f"/console/{path.format(**sagas)}")
    page.emulate_media(color_scheme="light")
    assert faults(page, ALL_RULES) == []
    page.emulate_media(color_scheme="dark")
    assert faults(page, RULES_OF_COLOUR) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert shared.troubles == []


def test_a_page_asks_for_few_files(tab: Tab, sagas: dict[str, str]) -> None:
    """At most 8 requests, all to its own site."""
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.open(f"/console/sagas/{sagas['compensated']}").wait_for_load_state("networkidle")
    assert 0 < len(asked) <= 8
