"""How people look: the slider, filters, pages, keys, themes, languages, and all of it without scripts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.api.conftest import Served
from tests.browser.conftest import OpenTab
from tests.support.browser import Tab
from tests.support.journeys_served import begin, begun, is_now, when

WHY = "Why"


def test_the_slider_shows_the_saga_as_it_stood(tab: Tab, sagas: dict[str, str]) -> None:
    """With arrow keys, with its buttons and with the keys of the page; at the end it is the present again."""
    page = tab.open(f"/console/sagas/{sagas['compensated']}")
    latest = int(page.get_by_role("slider").input_value())
    expect(page.locator(".past")).to_have_count(0)
    page.get_by_role("slider").press("ArrowLeft")
    expect(page).to_have_url(re.compile(rf"at_version={latest - 1}\b"))
    expect(page.locator(".past")).to_contain_text("You are looking at the past")
    expect(page.get_by_role("region", name=WHY)).to_contain_text("it is compensating")
    page.keyboard.press("[")
    expect(page).to_have_url(re.compile(rf"at_version={latest - 2}\b"))
    page.get_by_role("link", name="One version on").click()
    expect(page).to_have_url(re.compile(rf"at_version={latest - 1}\b"))
    page.get_by_role("slider").press("End")
    expect(page.locator(".past")).to_have_count(0)
    page.get_by_label("Compare with version").fill("3")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("region", name="Changes")).to_contain_text(f"v3 → v{latest}")


def test_filters_stand_in_the_address_and_can_be_taken_back(tab: Tab, sagas: dict[str, str]) -> None:
    """A click on a status, the text of an error, the form of filters; a cross, and Clear."""
    page = tab.open("/console/sagas")
    page.get_by_role("list", name="Status").get_by_role("link", name="Failed").click()
    expect(page).to_have_url(re.compile(r"status=FAILED"))
    expect(page.get_by_role("link", name=sagas["failed"])).to_be_visible()
    expect(page.get_by_role("link", name=sagas["completed"])).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("is sold")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"status=FAILED&error=is\+sold"))
    page.keyboard.press("f")
    page.get_by_label("Definition").select_option("journey")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page).to_have_url(re.compile(r"name=journey"))
    expect(page.get_by_role("link", name=sagas["failed"])).to_be_visible()
    page.get_by_role("link", name="Remove the filter error").click()
    expect(page).not_to_have_url(re.compile(r"error="))
    page.get_by_role("link", name="Clear").click()
    expect(page).to_have_url(re.compile(r"/sagas$"))


def test_the_list_goes_on_page_by_page(site: Served, tab: Tab) -> None:
    """Older and newest, each saga once, and no filter is lost."""
    ids = {begin(site, "outing", guests=[]) for _ in range(51)}
    page = tab.open("/console/sagas?name=outing")
    first = {link.get_attribute("aria-label") for link in page.locator("#rows a.id").all()}
    page.get_by_role("link", name="Older").click()
    expect(page).to_have_url(re.compile(r"name=outing&cursor="))
    second = {link.get_attribute("aria-label") for link in page.locator("#rows a.id").all()}
    assert len(first) == 50
    assert not first & second
    assert ids <= first | second
    page.get_by_role("link", name="Newest").click()
    expect(page).to_have_url(re.compile(r"\?name=outing$"))


def test_the_list_is_walked_with_keys(tab: Tab, sagas: dict[str, str]) -> None:
    """J and K move between sagas, Enter opens one; a key does nothing while one types; Tab reaches the content."""
    page = tab.open("/console/sagas")
    links = page.locator("#rows a.id")
    page.keyboard.press("j")
    expect(links.nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(links.nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(links.nth(0)).to_be_focused()
    chosen = links.nth(0).get_attribute("aria-label")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/sagas/{chosen}$"))
    page = tab.open("/console/sagas")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.locator("#search").focus()
    page.keyboard.type("fjk/[]")
    assert page.locator("#search").input_value() == "fjk/[]"
    assert sagas


def test_theme_and_language_are_kept(tab: Tab) -> None:
    """Chosen once, they stand in the first byte of every page."""
    page = tab.open("/console/sagas")
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 15, 19)"
    page.get_by_role("button", name="日本語").click()
    page.goto("/console/system")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize(("language", "says"), [("ja-JP", "ja"), ("de-DE", "en")])
def test_the_language_is_that_of_the_browser(open_tab: OpenTab, language: str, says: str) -> None:
    """The best that there is."""
    with open_tab(language=language) as tab:
        expect(tab.open("/console/sagas").locator("html")).to_have_attribute("lang", says)


def test_without_scripts_everything_can_be_done(site: Served, open_tab: OpenTab) -> None:
    """Filters, an older version, and a command: pages of forms and links; times say that they are in UTC."""
    saga_id = begun(site)
    with open_tab(script=False) as tab:
        page = tab.open("/console/sagas?name=journey")
        expect(page.get_by_text("Times in UTC")).to_be_visible()
        page.get_by_role("link", name=saga_id).click()
        page.get_by_role("link", name="One version back").click()
        expect(page.locator(".past")).to_be_visible()
        page.get_by_role("link", name="Go to the present").click()
        page.get_by_role("link", name="Cancel", exact=True).click()
        expect(page.get_by_text("What would be undone")).to_be_visible()
        page.get_by_label("Reason").fill("no longer wanted")
        page.get_by_role("button", name="Cancel", exact=True).click()
        expect(page.locator(".done")).to_be_visible()
    when(site.client, saga_id, is_now("COMPENSATED"))
