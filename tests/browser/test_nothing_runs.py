"""Whatever is stored, nothing of it runs: scripts and markup in every stored field, opened on every page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, expect

import services
from saga_es import Saga
from saga_es.console import mount_console
from saga_es.core.batches import BatchStarted
from saga_es.node.app import Scenario
from saga_es.store.database import Database
from saga_es.store.publishers import Publishers
from saga_es.store.tables import saga_events, saga_workers
from saga_es.store.workers import database_now
from tests.api.conftest import Served, opened
from tests.browser.addresses import PAGES
from tests.browser.conftest import listening
from tests.support.browser import Tab, a_tab
from tests.support.databases import fresh_database
from tests.support.payloads import MIXED, PAYLOADS, begun, carried, carrying, until_failed
from tests.support.trips import until

AN_HOUR_S = 3600.0
UNFOLD = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"
STRANGERS = """
[...document.querySelectorAll("*")].filter((element) =>
  element.getAttributeNames().some((name) => name.startsWith("on") || name === "style" || name === "srcdoc") ||
  ["href", "src", "action", "formaction", "xlink:href"].some((name) =>
    element.hasAttribute(name) && new URL(element.getAttribute(name), location.href).origin !== location.origin) ||
  (element.closest("body") && element.matches("img, iframe, embed, object, style, script, link, meta, base"))
).map((element) => element.outerHTML.slice(0, 200)).concat(
  document.createTreeWalker(document.body, NodeFilter.SHOW_COMMENT).nextNode() ? ["a comment"] : []
)
"""
"""What the pages never hold: handlers, styles, addresses elsewhere, comments, and elements that load something."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An application whose every name is a payload; workers and publishers have such names, too."""
    sagas = [*map(carrying, PAYLOADS), *map(parent, MIXED)]
    scenarios = [Scenario(payload, payload, payload, {"many": []}) for payload in MIXED]
    named = replace(services.app, name=" ".join(PAYLOADS), version=PAYLOADS[0], sagas=sagas, scenarios=scenarios)
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database("sqlite", tmp_path_factory.mktemp("haunted")))
        served = opened(stack, url, named, port=0, lease_s=AN_HOUR_S)
        mount_console(served.app)
        for payload in MIXED:
            at_work(served.node.database, payload)
        yield served


@pytest.fixture(scope="module")
def base_url(site: Served) -> Iterator[str]:
    """Where its server listens."""
    with listening(site) as url:
        yield url


@pytest.fixture(scope="module")
def one_tab(browser: Browser, base_url: str) -> Iterator[Tab]:
    """One tab for all payloads; an address made of one may be refused."""
    with a_tab(browser, base_url) as tab:
        tab.refused = True
        yield tab


def parent(payload: str) -> Saga:
    """A definition that runs the one that carries the payload."""
    saga = Saga(f"{payload} up")
    saga.child("child", carrying(payload), title=payload)
    return saga


def at_work(database: Database, payload: str) -> None:
    """A worker on another host, and a publisher that fails, which go by the payload."""
    row = {"worker_id": payload, "host": payload, "pid": 1, "pid_started": payload}
    with database.writing() as connection:
        connection.execute(sa.insert(saga_workers).values(row | {"heartbeat_at": database_now()}))
    publishers = Publishers(database, lease_s=AN_HOUR_S)
    publishers.hold(payload, payload)
    publishers.fail(payload, payload, payload)


def kinds(site: Served, payload: str) -> dict[str, str]:
    """The id of one saga and one batch of each kind that carries the payload."""
    engine = site.node.engine
    found = {name: begun(engine, payload) for name in ("waiting", "retrying", "paused", "given_up")}
    engine.pause(found["paused"], reason=payload, actor=payload)
    engine.fail(found["given_up"], reason=payload, actor=payload)
    until_failed(engine, found["given_up"])
    engine.resolve(found["given_up"], reason=payload, actor=payload)
    found["failed"] = found["odd"] = carried(engine, payload)
    found["compensated"] = mended(site, payload)
    found["outing"] = engine.start(f"{payload} up", {"many": [payload]}).saga_id
    until(lambda: engine.status(found["outing"]).steps[0].child is not None)
    found["child"] = str(engine.status(found["outing"]).steps[0].child)
    found["completed"] = unreadable(site, payload)
    return found | batches(site, payload, (found["given_up"], found["waiting"]))


def mended(site: Served, payload: str) -> str:
    """A saga whose step got another input, and was skipped."""
    engine, saga_id = site.node.engine, carried(site.node.engine, payload)
    engine.replace_input(saga_id, "take", {payload: payload}, reason=payload, actor=payload)
    until_failed(engine, saga_id)
    engine.skip(saga_id, "take", reason=payload, actor=payload)
    until(lambda: engine.status(saga_id).status == "COMPENSATED")
    return saga_id


def unreadable(site: Served, payload: str) -> str:
    """A saga to whose events somebody added one by hand: its type, fields and hash are the payload."""
    saga_id, c = mended(site, payload), saga_events.c
    with site.node.database.writing() as connection:
        last = connection.execute(
            sa.select(saga_events).where(c.stream_id == saga_id).order_by(c.version.desc())
        ).first()
        assert last is not None
        row = {name: value for name, value in last._mapping.items() if name != "position"}
        changed = {
            "version": last.version + 1,
            "type": payload,
            "hash": payload,
            "data": json.dumps({payload: payload}),
        }
        connection.execute(sa.insert(saga_events).values(row | changed))
    return saga_id


def batches(site: Served, payload: str, saga_ids: tuple[str, ...]) -> dict[str, str]:
    """The id of one batch of each kind."""
    started, kept = site.node.batches, {"name": [payload], "error": [payload], payload: [payload]}
    chosen = BatchStarted("resume", saga_ids, kept, payload, payload, 1 / AN_HOUR_S, about={"step": payload})
    found = {"running": started.start(chosen), "stopped": started.start(chosen)}
    started.stop(found["stopped"], payload, payload)
    found["ended"] = started.start(replace(chosen, pace=100))
    until(lambda: started.progress(found["ended"]).status == "ended")
    return found


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_a_saga_carries_runs(site: Served, one_tab: Tab, payload: str) -> None:
    """No dialog opens, nothing is asked for elsewhere, no report of the policy comes; every page keeps its shape."""
    its_page, given = f"sagas/{quote(carried(site.node.engine, payload), safe='')}", quote(payload, safe="")
    look_at(
        one_tab,
        its_page,
        f"{its_page}?at_version=3&compare=6",
        f"{its_page}/replace-input",
        f"sagas?error={given}&name={given}&tag={given}:x&since={given}",
        f"definitions/{quote(payload)}",
    )


@pytest.mark.parametrize("payload", MIXED)
def test_nothing_runs_on_any_page(site: Served, one_tab: Tab, payload: str) -> None:
    """Each page of a saga and of a batch, each form of a command, and addresses that somebody made of the payload."""
    ids = {name: quote(id_, safe="") for name, id_ in kinds(site, payload).items()}
    given = quote(payload, safe="")
    chips = f"error={given}&name={given}&tag={given}:x&since={given}&until={given}&status={given}"
    look_at(
        one_tab,
        *(path.format(**ids) for path in PAGES if "{" in path),
        *(f"sagas/{ids['given_up']}", f"sagas/{ids['failed']}/skip?step={given}"),
        *(f"sagas/{ids['failed']}/{given}", f"sagas/{given}", f"batches/{given}", given),
        *(f"sagas?{chips}&columns={given}&is={given}&attempts={given}&cursor={given}", f"jump?id={given}"),
        *(f"attention?{chips}", f"attention/batch?command=retry&name={given}"),
        *(f"attention/batch?command=retry&{chips}&fingerprint={given}", f"attention/batch?command={given}"),
        *(f"definitions/{quote(payload)}", f"definitions/{quote(payload)} up?within={given}"),
    )


def test_nothing_runs_where_all_are_listed(site: Served, one_tab: Tab) -> None:
    """All of them on one page, and the names of workers, publishers, scenarios and the application around them."""
    for payload in PAYLOADS:
        carried(site.node.engine, payload)
    look_at(one_tab, *(path for path in PAGES if "{" not in path))
    page = one_tab.open("/console/system")
    for region in ("Workers", "Publishers"):
        shown = page.get_by_role("region", name=region).first.inner_text()
        assert [payload for payload in MIXED if payload not in shown] == []
    shown = one_tab.open("/console/demo").locator("main").inner_text()
    assert [payload for payload in MIXED if payload not in shown] == []


@pytest.mark.parametrize("payload", MIXED)
def test_nothing_that_a_form_says_again_runs(site: Served, one_tab: Tab, payload: str) -> None:
    """What was typed into a form that is refused stands in it as it was typed."""
    saga_id = begun(site.node.engine, payload)
    page = one_tab.open(f"/console/sagas/{quote(saga_id, safe='')}/signal")
    page.get_by_label("Payload").fill(payload)
    page.get_by_role("textbox", name="Key").fill(payload)
    page.get_by_role("button", name="Send signal").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Payload")).to_have_value(payload)
    expect(page.get_by_role("textbox", name="Key")).to_have_value(payload)
    check(page)
    page = one_tab.open(f"/console/sagas/{quote(saga_id, safe='')}/pause")
    page.get_by_label("Reason").fill(payload)
    page.get_by_label("Who you are").fill(payload)
    site.node.engine.pause(saga_id, reason=payload, actor=payload)
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(payload)
    check(page)
    assert one_tab.troubles == []


def test_nothing_that_arrives_on_an_open_page_runs(site: Served, one_tab: Tab) -> None:
    """The list's new rows, the lines of the log, and a saga that moves on: put in place by the script."""
    engine = site.node.engine
    page = live(one_tab, "sagas?status=FAILED")
    ids = [carried(engine, payload) for payload in MIXED]
    expect(page.locator(".newer")).to_have_text(f"{len(ids)} new, show them")
    page.locator(".newer").click()
    expect(page.locator("#rows a.id").first).to_have_attribute("aria-label", ids[-1])
    check(page)
    page = live(one_tab, "log")
    ids = [carried(engine, payload) for payload in MIXED]
    expect(page.locator("#lines")).to_contain_text(ids[-1][-8:])
    check(page)
    for payload in MIXED:
        saga_id = begun(engine, payload)
        page = live(one_tab, f"sagas/{quote(saga_id, safe='')}")
        engine.signal(saga_id, "word", payload)
        expect(page.locator("#head")).to_contain_text("Failed")
        check(page)
    assert one_tab.troubles == []


def live(tab: Tab, path: str) -> Page:
    """A page that follows what happens."""
    page = tab.open(f"/console/{path}")
    expect(page.locator("#live-state")).to_have_text("Live")
    return page


def look_at(tab: Tab, *paths: str) -> None:
    """Open pages, and unfold what is folded on them."""
    for path in paths:
        check(tab.open(f"/console/{path}"))
        assert tab.troubles == [], path


def check(page: Page) -> None:
    """The page has its shape, and nothing on it is of another's making."""
    page.evaluate(UNFOLD)
    assert page.get_by_role("navigation", name="Pages").count() == 1, page.url
    assert page.evaluate(STRANGERS) == [], page.url
