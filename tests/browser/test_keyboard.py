"""The console without a mouse: Tab reaches everything, one sees where one is, and a saga is mended with keys alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.api.conftest import Served
from tests.browser.conftest import OpenTab
from tests.support.browser import Tab
from tests.support.journeys_served import begun, is_now, stuck, when

MOST_STOPS = 500

STOPS = """
[...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter((element) => element.type !== "hidden" && !element.disabled && element.tabIndex >= 0
    && element.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true}))
"""
"""What a keyboard must reach."""

REMEMBER = f"{STOPS}.forEach((element, index) => {{ element.dataset.stop = index; }})"
HERE = """
() => {
  const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
  if (element === document.body) return null;
  const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const isInside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  return [element.dataset.stop ?? "", isSeen && isInside, element.outerHTML.slice(0, 160)];
}
"""
"""Which stop has the focus, and whether one can see that."""

PAGES = [
    "sagas?status=FAILED&columns=what",
    "sagas/{failed}",
    "sagas/{compensated}?at_version=6&compare=12",
    "sagas/{failed}/replace-input",
    "attention",
    "attention/batch?command=retry&name=journey",
    "batches/{running}",
    "definitions/create-event",
    "system",
    "demo",
]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [1280, 320])
def test_tab_reaches_everything_and_one_sees_where_one_is(
    open_tab: OpenTab, sagas: dict[str, str], path: str, width: int
) -> None:
    """Each link, field and button, and what scrolls, once and in the page's order; then the page is left again."""
    with open_tab(width=width, script=False) as tab:
        page = tab.open(f"/console/{path.format(**sagas)}")
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        page.evaluate(REMEMBER)
        while page.evaluate(HERE) is not None:  # a form has the focus in the middle of the page
            page.keyboard.press("Tab")
        reached: list[str] = []
        page.keyboard.press("Tab")
        while (here := page.evaluate(HERE)) is not None and here[0] not in reached:
            assert here[1], here[2]
            reached.append(here[0])
            page.keyboard.press("Tab")
        assert reached == [str(index) for index in range(page.evaluate(f"{STOPS}.length"))]


def test_a_saga_is_found_and_mended_with_the_keyboard_alone(site: Served, tab: Tab) -> None:
    """From the list over the filters to the saga, over the form to what came of it: Tab, Enter, arrows and letters."""
    saga_id = stuck(site)
    page = tab.open("/console/sagas")
    press_on(page, page.get_by_role("list", name="Status").get_by_role("link", name="Failed"))
    expect(page.locator("#rows a.id").first).to_have_attribute("aria-label", saga_id)
    page.keyboard.press("j")
    expect(page.locator("#rows a.id").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Why")).to_contain_text("it is sold")
    press_on(page, page.get_by_role("region", name="Steps").locator("summary").first)
    expect(page.get_by_role("region", name="Steps").locator("pre").first).to_be_visible()
    press_on(page, page.get_by_role("link", name="Resolve", exact=True), back=True)
    reason = page.get_by_label("Reason")
    expect(reason).to_be_focused()
    page.keyboard.type("freed by hand")
    reach(page, page.get_by_label("It ended as"), back=True)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("It ended as")).to_have_value("COMPENSATED")
    reach(page, page.get_by_label("Who you are"))
    page.keyboard.type("k.mori")
    press_on(page, page.get_by_role("button", name="Resolve", exact=True))
    expect(page.locator(".done")).to_contain_text("Written.")
    press_on(page, page.locator(".done a"))
    when(site.client, saga_id, is_now("COMPENSATED"))


def test_one_thinks_better_of_it_with_the_keyboard(site: Served, tab: Tab) -> None:
    """The form of a cancel shows what would be undone; Do nothing leads back, and nothing was written."""
    saga_id = begun(site)
    page = tab.open(f"/console/sagas/{saga_id}")
    before = len(site.client.get(f"/api/saga/{saga_id}/events").get_json()["events"])
    press_on(page, page.get_by_role("link", name="Cancel", exact=True))
    expect(page.get_by_text("What would be undone")).to_be_visible()
    press_on(page, page.get_by_role("link", name="Do nothing"))
    expect(page.get_by_role("region", name="Why")).to_be_visible()
    assert len(site.client.get(f"/api/saga/{saga_id}/events").get_json()["events"]) == before


def test_single_keys_can_be_switched_off(tab: Tab, sagas: dict[str, str]) -> None:
    """Then they do nothing, on any page, until they are switched on again."""
    page = tab.open("/console/sagas")
    press_on(page, page.get_by_role("button", name="Single keys"))
    expect(page.locator("html")).to_have_attribute("data-keys", "off")
    page.keyboard.press("j")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.matches('#rows a, #search')") is False
    page.goto(f"/console/sagas/{sagas['completed']}")
    expect(page.locator("html")).to_have_attribute("data-keys", "off")
    press_on(page, page.get_by_role("button", name="Single keys"))
    expect(page.locator("html")).to_have_attribute("data-keys", "on")
    page.keyboard.press("[")
    expect(page.locator(".past")).to_be_visible()


def press_on(page: Page, wanted: Locator, *, back: bool = False) -> None:
    """Press Enter on an element, once Tab has come to it."""
    reach(page, wanted, back=back)
    page.keyboard.press("Enter")


def reach(page: Page, wanted: Locator, *, back: bool = False) -> None:
    """Press Tab until an element has the focus."""
    expect(wanted).to_be_visible()
    for _ in range(MOST_STOPS):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    pytest.fail(f"{MOST_STOPS} times Tab, and {wanted} has not got the focus")
