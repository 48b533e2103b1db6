"""Every page opens in both themes, and axe-core finds nothing on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from werkzeug.routing import Rule

from saga_es.console.following import ACTIONS
from saga_es.console.shell import NAME
from tests.api.conftest import Served
from tests.browser.addresses import NO_PAGES, PAGES
from tests.browser.conftest import OpenTab
from tests.support.browser import Tab, a_tab
from tests.support.journeys_served import begun, is_now, when

ALL_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES_OF_COLOUR = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
WIDTHS = (2560, 320)
UNFOLD = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"


@pytest.fixture(scope="module")
def shared(browser: Browser, base_url: str) -> Iterator[Tab]:
    """One tab for all pages: a new one each would cost as much as the page."""
    with a_tab(browser, base_url) as tab:
        tab.refused = True
        yield tab


def faults(page: Page, rules: Any = ALL_RULES) -> list[str]:
    """What axe-core finds on a page."""
    found = Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"]}).response["violations"]
    return [f"{fault['id']}: {node['html'][:160]}" for fault in found for node in fault["nodes"]]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_in_both_themes_and_fits_every_window(
    shared: Tab, sagas: dict[str, str], path: str
) -> None:
    """axe-core finds nothing, folded and unfolded; no script fails, no report of the policy comes; nothing is wider."""
    page = shared.page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    shared.open(f"/console/{path.format(**sagas)}")
    assert faults(page) == []
    if page.locator("details").count():
        page.evaluate(UNFOLD)
        assert faults(page) == []
    page.emulate_media(color_scheme="dark")
    assert faults(page, RULES_OF_COLOUR) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults(page) == []
    assert shared.troubles == []


def test_every_page_of_the_console_is_among_them(site: Served, sagas: dict[str, str]) -> None:
    """Each route that answers with a page, and the form of each command."""
    routes = site.app.url_map.bind("localhost")
    met = [routes.match(f"/console/{path.format(**sagas).partition('?')[0]}") for path in PAGES]
    assert {endpoint for endpoint, _ in met} == {
        f"{NAME}.{name}" for rule in site.app.url_map.iter_rules() if (name := page_of(rule)) and name not in NO_PAGES
    }
    assert {values["name"] for endpoint, values in met if endpoint == f"{NAME}.command"} == set(ACTIONS)


def page_of(rule: Rule) -> str:
    """The name of a route of the console that can be opened; empty: it is another's, or takes forms alone."""
    blueprint, _, name = rule.endpoint.partition(".")
    return name if blueprint == NAME and "GET" in (rule.methods or ()) else ""


def test_what_a_form_says_of_a_mistake_is_accessible(site: Served, tab: Tab) -> None:
    """A payload that is no JSON; a command that came too late; a batch without its number, and a forged form."""
    tab.refused = True
    saga_id = begun(site)
    page = tab.open(f"/console/sagas/{saga_id}/signal")
    page.get_by_label("Payload").fill("{")
    page.get_by_role("button", name="Send signal").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert faults(page) == []
    page = tab.open(f"/console/sagas/{saga_id}/pause")
    page.get_by_label("Reason").fill("a look")
    site.node.engine.cancel(saga_id, reason="no", actor="ann")
    when(site.client, saga_id, is_now("COMPENSATED"))
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("While you were reading")
    assert faults(page) == []
    page = tab.open("/console/demo")
    page.locator("input[name=csrf]").evaluate_all("(fields) => fields.forEach((field) => { field.value = 'forged'; })")
    page.get_by_role("button", name="Start", exact=True).first.click()
    expect(page.get_by_role("heading", name="Not accepted")).to_be_visible()
    assert faults(page) == []


@pytest.mark.parametrize("path", ["sagas", "sagas/{failed}", "sagas/{waiting}/cancel", "attention", "system", "log"])
def test_a_page_in_japanese_is_accessible(open_tab: OpenTab, sagas: dict[str, str], path: str) -> None:
    """Its words are longer or shorter, and what is not translated says in which language it is."""
    with open_tab(language="ja-JP", width=320) as tab:
        page = tab.open(f"/console/{path.format(**sagas)}")
        page.evaluate(UNFOLD)
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_page_asks_for_few_files(tab: Tab, sagas: dict[str, str]) -> None:
    """At most 8 requests, all to its own site."""
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.open(f"/console/sagas/{sagas['compensated']}").wait_for_load_state("networkidle")
    assert 0 < len(asked) <= 8
