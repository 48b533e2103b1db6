"""Whatever a saga carries, nothing of it runs: scripts and markup in every stored field, opened in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.api.conftest import Served
from tests.support.browser import Tab, a_tab
from tests.support.payloads import PAYLOADS, carried

LISTS = ("sagas", "sagas?status=FAILED", "attention", "definitions", "log", "system")


@pytest.fixture(scope="module")
def one_tab(browser: Browser, base_url: str) -> Iterator[Tab]:
    """One tab for all payloads; an address made of one may be refused."""
    with a_tab(browser, base_url) as tab:
        tab.refused = True
        yield tab


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_a_saga_carries_runs(site: Served, one_tab: Tab, payload: str) -> None:
    """No dialog opens, nothing is asked for elsewhere, no report of the policy comes; every page keeps its shape."""
    saga_id = carried(site.node.engine, payload)
    its_page, given = f"sagas/{quote(saga_id, safe='')}", quote(payload, safe="")
    look_at(
        one_tab,
        its_page,
        f"{its_page}?at_version=3&compare=6",
        f"{its_page}/replace-input",
        f"sagas?error={given}&name={given}&tag={given}:x&since={given}",
        f"definitions/{quote(payload)}",
    )


def test_nothing_runs_where_all_are_listed(site: Served, one_tab: Tab) -> None:
    """All of them on one page."""
    for payload in PAYLOADS:
        carried(site.node.engine, payload)
    look_at(one_tab, *LISTS)


def look_at(tab: Tab, *paths: str) -> None:
    for path in paths:
        page = tab.open(f"/console/{path}")
        expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
        assert page.locator("main :is(img, iframe, object, style, script, [onerror], [onload])").count() == 0, path
    assert tab.troubles == []
