"""Each command, from its button on the saga's page to what the saga became, against a running engine."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.api.conftest import Served
from tests.support.browser import Tab
from tests.support.journeys_served import Story, at_step, begin, begun, is_now, stuck, when


def is_paused(story: Story) -> bool:
    return bool(story["paused"])


def waiting_for_its_next_try(site: Served) -> str:
    saga_id = begin(site, busy=True)
    when(site.client, saga_id, lambda story: story["steps"][0]["retry_at"] is not None)
    return saga_id


def paused(site: Served) -> str:
    saga_id = begun(site)
    site.node.engine.pause(saga_id, reason="lunch", actor="ann")
    when(site.client, saga_id, is_paused)
    return saga_id


def goes_on(story: Story) -> bool:
    return not story["paused"]


def nothing(page: Page) -> None:
    """The form is complete as it is."""


def unsold(page: Page) -> None:
    page.get_by_label("New input").fill('{"sold": false}')


def compensated(page: Page) -> None:
    page.get_by_label("It ended as").select_option("COMPENSATED")


def approved(page: Page) -> None:
    page.get_by_label("Payload").fill('"very well"')


COMMANDS: list[tuple[str, Callable[[Served], str], Callable[[Page], None], Callable[[Story], bool], str]] = [
    ("Retry now", waiting_for_its_next_try, nothing, at_step("approval"), "RetryOrdered"),
    ("Pause", begun, nothing, is_paused, "SagaPaused"),
    ("Resume", paused, nothing, goes_on, "SagaResumed"),
    ("Send signal", begun, approved, is_now("COMPLETED"), "SignalReceived"),
    ("Cancel", begun, nothing, is_now("COMPENSATED"), "SagaCancelled"),
    ("Skip a step", stuck, nothing, is_now("COMPENSATED"), "CompensationSkipped"),
    ("Replace input", stuck, unsold, is_now("COMPENSATED"), "InputReplaced"),
    ("Resolve", stuck, compensated, is_now("COMPENSATED"), "SagaResolved"),
]


@pytest.mark.parametrize(("button", "before", "fill", "after", "written"), COMMANDS, ids=[row[0] for row in COMMANDS])
def test_a_command_is_given_with_its_button_and_a_reason(
    site: Served,
    tab: Tab,
    button: str,
    before: Callable[[Served], str],
    fill: Callable[[Page], None],
    after: Callable[[Story], bool],
    written: str,
) -> None:
    """The page says what was written, the event has the reason, and the saga does as it was told."""
    saga_id = before(site)
    page = tab.open(f"/console/sagas/{saga_id}")
    page.get_by_role("link", name=button, exact=True).click()
    expect(page.get_by_role("heading", name=button)).to_be_visible()
    fill(page)
    if button != "Send signal":
        page.get_by_label("Reason").fill("the ledger is open again")
        page.get_by_label("Who you are").fill("k.mori")
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator(".done")).to_contain_text("Written.")
    link = page.locator(".done a")
    version = re.search(r"v(\d+)", link.inner_text())
    assert version
    link.click()
    row = page.locator(f"#e{version[1]}")
    expect(row).to_be_in_viewport()
    when(site.client, saga_id, after)
    events = site.client.get(f"/api/saga/{saga_id}/events").get_json()["events"]
    given = next(event for event in events if event["type"] == written)
    assert button == "Send signal" or (given["data"]["actor"], given["data"]["reason"]) == (
        "k.mori",
        "the ledger is open again",
    )


def test_a_command_without_a_reason_is_not_sent(site: Served, tab: Tab) -> None:
    """The browser asks for it, and the cursor stands in it from the beginning."""
    saga_id = begun(site)
    page = tab.open(f"/console/sagas/{saga_id}/pause")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.get_by_role("button", name="Pause", exact=True).click()
    assert page.evaluate("document.querySelector(':invalid[name=reason]') !== null")
    assert page.url.endswith("/pause")


def test_who_is_late_reads_what_happened_meanwhile_and_keeps_the_reason(site: Served, tab: Tab) -> None:
    """The other one's event is named; what the saga can follow now is offered."""
    tab.refused = True
    saga_id = begun(site)
    page = tab.open(f"/console/sagas/{saga_id}/pause")
    page.get_by_label("Reason").fill("the carrier is away")
    site.node.engine.pause(saga_id, reason="lunch", actor="ann")
    when(site.client, saga_id, is_paused)
    page.get_by_role("button", name="Pause", exact=True).click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("ann")
    expect(alert).to_contain_text("the carrier is away")
    page.get_by_role("link", name="Resume", exact=True).click()
    expect(page.get_by_role("heading", name="Resume")).to_be_visible()


def test_a_scenario_of_the_demonstration_leads_to_its_saga(tab: Tab) -> None:
    """One button, and one sees the saga."""
    page = tab.open("/console/demo")
    page.get_by_role("button", name="Start", exact=True).first.click()
    expect(page.get_by_role("region", name="Why")).to_be_visible()


def test_a_page_of_the_api_may_send_requests(tab: Tab) -> None:
    """The browser says that they come from this site, and the guard of the API lets them in."""
    page = tab.open("/docs/")
    script = (
        "fetch('/demo/simulate-failure', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'})"
    )
    assert page.evaluate(f"{script}.then((answer) => answer.status)") == 200
