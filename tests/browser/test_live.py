"""Live pages: what happens appears by itself, and moves nothing that somebody reads."""

from __future__ import annotations

import re
from contextlib import ExitStack

import requests
from playwright.sync_api import expect

from tests.api.conftest import Served
from tests.browser.conftest import PLACES, OpenTab
from tests.support.browser import Tab
from tests.support.journeys_served import begun, is_now, when
from tests.support.trips import until

STREAM = {"Accept": "text/event-stream"}
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", {value: Boolean(hidden), configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_saga_moves_on_before_one_s_eyes(site: Served, tab: Tab) -> None:
    """Its sentence, its steps, its events, and the commands that it can follow; nobody loaded the page again."""
    saga_id = begun(site)
    page = tab.open(f"/console/sagas/{saga_id}")
    expect(page.locator("#live-state")).to_have_text("Live")
    page.evaluate("window.stayed = true")
    site.node.engine.signal(saga_id, "approval", "yes")
    expect(page.get_by_role("region", name="Why")).to_contain_text("COMPLETED")
    expect(page.get_by_role("region", name="Events")).to_contain_text("The saga is complete")
    expect(page.get_by_role("link", name="Pause", exact=True)).to_have_count(0)
    assert page.evaluate("window.stayed")


def test_what_one_reads_is_left_alone_until_one_leaves_it(site: Served, tab: Tab) -> None:
    """An open step stays open and as it was; closed again, it follows."""
    saga_id = begun(site)
    page = tab.open(f"/console/sagas/{saga_id}")
    expect(page.locator("#live-state")).to_have_text("Live")
    steps = page.get_by_role("region", name="Steps")
    steps.get_by_text("Result and key").first.click()
    site.node.engine.signal(saga_id, "approval", "yes")
    expect(page.get_by_role("region", name="Why")).to_contain_text("COMPLETED")
    expect(steps.locator("details[open]")).to_have_count(1)
    assert "In progress" in steps.inner_text()
    steps.get_by_text("Result and key").first.click()
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")
    expect(steps).not_to_contain_text("In progress")


def test_a_row_changes_in_place_and_new_ones_wait_to_be_asked_for(site: Served, tab: Tab) -> None:
    """The rows keep their order and place; a button counts what is new, and shows it on a click, or the key `.`."""
    saga_id = begun(site)
    page = tab.open("/console/sagas?name=journey")
    expect(page.locator("#live-state")).to_have_text("Live")
    row = page.locator(f'tr[data-key="{saga_id}"]')
    top = row.bounding_box()
    others = [begun(site), begun(site)]
    site.node.engine.signal(saga_id, "approval", "yes")
    expect(row).to_contain_text("Completed")
    expect(row).to_have_class(re.compile("changed"))
    expect(page.locator(".newer")).to_have_text("2 new, show them")
    assert row.bounding_box() == top
    assert page.locator("#rows a.id").first.get_attribute("aria-label") == saga_id
    page.keyboard.press(".")
    expect(page.locator("#rows a.id").nth(0)).to_have_attribute("aria-label", others[1])
    expect(page.locator("#rows a.id").nth(1)).to_have_attribute("aria-label", others[0])
    expect(page.locator(".newer")).to_be_hidden()


def test_a_row_that_no_longer_fits_the_filter_stays_dimmed(site: Served, tab: Tab) -> None:
    """It goes when the list is asked for anew."""
    saga_id = begun(site)
    page = tab.open("/console/sagas?name=journey&status=IN_PROGRESS")
    expect(page.locator("#live-state")).to_have_text("Live")
    site.node.engine.cancel(saga_id, reason="no", actor="ann")
    expect(page.locator(f'tr[data-key="{saga_id}"]')).to_have_class(re.compile("gone"))
    page.reload()
    expect(page.locator(f'tr[data-key="{saga_id}"]')).to_have_count(0)


def test_the_log_goes_on_at_its_end(site: Served, tab: Tab) -> None:
    """New events are added below, and the page follows while it is scrolled to the end."""
    page = tab.open("/console/log")
    expect(page.locator("#live-state")).to_have_text("Live")
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    saga_id = begun(site)
    expect(page.locator("#lines tbody tr").last).to_be_in_viewport()
    expect(page.locator("#lines tbody tr").last).to_contain_text(saga_id[-8:])


def test_a_hidden_tab_holds_no_stream_and_is_up_to_date_on_return(site: Served, tab: Tab) -> None:
    """It says Paused meanwhile; one request on return brings all that happened."""
    saga_id = begun(site)
    page = tab.open(f"/console/sagas/{saga_id}")
    expect(page.locator("#live-state")).to_have_text("Live")
    page.evaluate(HIDE, "hidden")
    expect(page.locator("#live-state")).to_have_text("Paused")
    site.node.engine.signal(saga_id, "approval", "yes")
    when(site.client, saga_id, is_now("COMPLETED"))
    expect(page.get_by_role("region", name="Why")).not_to_contain_text("COMPLETED")
    page.evaluate(HIDE, "")
    expect(page.get_by_role("region", name="Why")).to_contain_text("COMPLETED")


def test_where_no_stream_is_free_a_tab_asks_now_and_then(site: Served, base_url: str, open_tab: OpenTab) -> None:
    """As many streams as half the places, one more gets none; the page is live all the same."""
    saga_id = begun(site)
    with ExitStack() as streams:
        for _ in range(PLACES // 2):
            answer = until(lambda: asked_for_a_stream(base_url))
            assert answer is not None
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            streams.enter_context(answer)
        assert requests.get(f"{base_url}/console/live", headers=STREAM, timeout=20).status_code == 204
        with open_tab() as tab:
            page = tab.open(f"/console/sagas/{saga_id}")
            expect(page.locator("#live-state")).to_have_text("Asks every 5 s")
            site.node.engine.signal(saga_id, "approval", "yes")
            expect(page.get_by_role("region", name="Why")).to_contain_text("COMPLETED", timeout=20_000)


def asked_for_a_stream(base_url: str) -> requests.Response | None:
    """A stream; None while others hold the places: one that was left is noticed within a second."""
    answer = requests.get(f"{base_url}/console/live", headers=STREAM, stream=True, timeout=20)
    return answer if answer.status_code == 200 else None
