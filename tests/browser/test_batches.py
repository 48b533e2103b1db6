"""A batch, from the group of failures to the sagas that moved on, against a running engine."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from saga_es.console import batches
from tests.api.conftest import Served
from tests.support.browser import Tab
from tests.support.journeys_served import is_now, when


@pytest.fixture
def failures(site: Served) -> Iterator[list[str]]:
    """Two sagas that fail again when they are retried; then they are out of the way."""
    tag = {"batch": "browser"}
    ids = [site.node.engine.start("journey", {"sold": True}, tags=tag).saga_id for _ in range(2)]
    for saga_id in ids:
        site.node.engine.signal(saga_id, "approval", "refused")
        when(site.client, saga_id, is_now("FAILED"))
    yield ids
    for saga_id in ids:
        site.node.engine.resolve(saga_id, reason="done", actor="ann")


def test_a_group_of_failures_is_retried_with_one_command(site: Served, tab: Tab, failures: list[str]) -> None:
    """The number and a sample first, the filter kept; then what became of each, without loading the page again."""
    page = tab.open("/console/attention?tag=batch:browser")
    row = page.get_by_role("row").filter(has_text="it is sold")
    row.get_by_role("link", name=re.compile("^Retry now")).click()
    expect(page.get_by_role("heading", name=re.compile("Retry now"))).to_be_visible()
    expect(page.locator(".figure")).to_have_text("2")
    expect(page.get_by_role("link", name=failures[0])).to_be_visible()
    expect(page.locator(".hit")).to_contain_text("batch:browser")
    page.get_by_label("Reason").fill("the ledger is open again")
    page.get_by_label("Who you are").fill("k.mori")
    page.get_by_role("button", name="Retry now · 2").click()
    expect(page).to_have_url(re.compile(r"/batches/"))
    cards = page.locator("#batch-cards")
    expect(cards.get_by_role("listitem").filter(has_text="to go")).to_contain_text("0", timeout=20_000)
    expect(page.locator("#batch-head")).to_contain_text("Ended")
    for saga_id in failures:
        events = site.client.get(f"/api/saga/{saga_id}/events").get_json()["events"]
        assert [event["data"]["actor"] for event in events if event["type"] == "SagaReopened"] == ["k.mori"]
    page.goto("/console/attention")
    expect(page.get_by_role("region", name="Batches")).to_contain_text("the ledger is open again")


def test_the_number_is_typed_where_it_is_large(tab: Tab, failures: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number starts nothing, and says so; what was written is kept."""
    monkeypatch.setattr(batches, "TYPED_ABOVE", 1)
    tab.refused = True
    page = tab.open("/console/attention/batch?command=retry&tag=batch:browser")
    page.get_by_label("Reason").fill("again")
    page.get_by_label("Type the number").fill("3")
    page.get_by_role("button", name="Retry now · 2").click()
    expect(page.get_by_role("alert")).to_contain_text("it would be given to 2 sagas by now")
    expect(page.get_by_label("Reason")).to_have_value("again")
    assert len(failures) == 2


def test_a_batch_is_stopped(site: Served, tab: Tab) -> None:
    """With a reason; the rest of its sagas is left as it is."""
    engine, tag = site.node.engine, {"batch": "stopped"}
    ids = [engine.start("journey", {"busy": True}, tags=tag).saga_id for _ in range(4)]
    for saga_id in ids:
        when(site.client, saga_id, lambda story: story["steps"][0]["retry_at"] is not None)
    asked = {"command": "pause", "filter": {"tag": ["batch:stopped"]}, "reason": "a look", "pace": 1}
    batch_id = site.client.post("/api/saga/batch", json=asked).get_json()["batch_id"]
    page = tab.open(f"/console/batches/{batch_id}")
    page.get_by_label("Reason").fill("wrong filter")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#batch-head")).to_contain_text("Stopped")
    expect(page.locator(".past")).to_contain_text("wrong filter")
