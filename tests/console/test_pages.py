"""The list of sagas and the page of one: what a browser without scripts sees."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from saga_es.console import listing, saga_pages
from saga_es.flask import SagaES
from tests.api.conftest import Served
from tests.api.test_saga_reading import UNKNOWN
from tests.support.journeys_served import BY_ANN, begin, begun, is_now, journey, stuck, when
from tests.support.pages import Page, page_of
from tests.support.trips import until

SAGAS = "/console/sagas"


def listed(served: Served, **query: Any) -> Page:
    return page_of(served.client.get(SAGAS, query_string=query))


def shown(served: Served, saga_id: str, **query: Any) -> Page:
    return page_of(served.client.get(f"{SAGAS}/{saga_id}", query_string=query))


# ── Ways in ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_console_begins_with_the_list(served: Served) -> None:
    """By a redirect, also with a prefix before it."""
    answer = served.client.get("/console/")
    assert (answer.status_code, answer.location) == (302, "/console/sagas")
    behind = served.client.get("/console/", environ_overrides={"SCRIPT_NAME": "/ops"})
    assert behind.location == "/ops/console/sagas"


def test_a_browser_that_asks_for_the_root_comes_to_the_console(demo: Served) -> None:
    """A JSON client gets what it got before."""
    browser = demo.client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (browser.status_code, browser.location) == (302, "/console/sagas")
    for accept in ("application/json", "*/*", ""):
        answer = demo.client.get("/", headers={"Accept": accept})
        assert answer.get_json()["status"] == "running"


def test_where_nothing_stands_at_the_root_a_browser_comes_to_the_console_too(served: Served) -> None:
    """Other clients are told that there is nothing, as before."""
    browser = served.client.get("/", headers={"Accept": "text/html"})
    assert (browser.status_code, browser.location) == (302, "/console/sagas")
    assert served.client.get("/", headers={"Accept": "*/*"}).status_code == 404


def test_the_console_stands_in_an_application_that_exists(database_url: str) -> None:
    """Under its own prefix; the application's own root and forms stay as they are."""
    app = Flask("shop")
    app.config["SAGA_ES_DATABASE_URL"] = database_url
    app.add_url_rule("/", view_func=lambda: "the shop")
    SagaES(app, sagas=[journey()], console="/ops/console")
    client = app.test_client()
    assert client.get("/", headers={"Accept": "text/html"}).text == "the shop"
    assert page_of(client.get("/ops/console/sagas")).text
    assert client.get("/ops/console/static/console.css", buffered=True).status_code == 200
    app.extensions["saga_es"].node.close()


# ── The list ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_names_each_saga_newest_first(served: Served) -> None:
    """In a table labelled "Sagas", with a link whose name is the whole id."""
    older, newer = begun(served), stuck(served)
    page = listed(served)
    assert page.all("table", aria_label="Sagas")
    assert page.saga_ids == [newer, older]
    assert "".join(page.texts).split("<title>")[0].lstrip().startswith("Sagas")
    assert "Waits for the signal 'approval'" in page.text
    assert "it is sold" in page.text


def test_an_empty_list_says_how_it_fills(served: Served) -> None:
    """And what to do about filters that nothing meets."""
    assert "There is no saga yet" in listed(served).text
    assert "No saga meets all of these filters" in listed(served, status="FAILED").text


def test_filters_stand_in_the_address(served: Served) -> None:
    """Each alone, and all together."""
    waiting, failed = begun(served), stuck(served)
    tagged = served.node.engine.start("journey", {}, tags={"tenant": "a:b"}).saga_id
    when(served.client, tagged, is_now("IN_PROGRESS"))
    assert listed(served, status="FAILED").saga_ids == [failed]
    assert listed(served, tag="tenant:a:b").saga_ids == [tagged]
    assert listed(served, error="IS SOLD").saga_ids == [failed]
    assert listed(served, name="outing").saga_ids == []
    assert set(listed(served, name="journey", since="1h").saga_ids) == {waiting, failed, tagged}
    assert listed(served, until="1h").saga_ids == []
    assert listed(served, until="2000-01-01T00:00:00Z").saga_ids == []
    assert listed(served, since="2000-01-01T00:00:00+09:00", status="FAILED", name="journey").saga_ids == [failed]


def test_several_statuses_mean_or(served: Served) -> None:
    """Newest first whatever their status, page by page, each saga once."""
    found = [stuck(served) if number % 3 == 0 else begun(served) for number in range(6)]
    ended = begun(served)
    assert served.client.post(f"/api/saga/{ended}/signals/approval", json="granted").status_code == 202
    when(served.client, ended, is_now("COMPLETED"))
    both = listed(served, status=["FAILED", "IN_PROGRESS"], name="journey")
    assert both.saga_ids == found[::-1]
    (link,) = [
        link["href"]
        for link in both.all("a")
        if "status=FAILED&" not in link["href"] + "&"
        and "status=IN_PROGRESS" in link["href"]
        and "chip" in link.get("class", "")
    ]
    assert "FAILED" not in link


def test_conditions_and_attempts_are_filters(served: Served) -> None:
    """Paused, retrying now, waiting for a signal; more attempts than a number."""
    waiting, retrying, paused, failed = begun(served), begin(served, busy=True), begun(served), stuck(served)
    when(served.client, retrying, lambda story: story["steps"][0]["retry_at"] is not None)
    assert served.client.post(f"/api/saga/{paused}/pause", json=BY_ANN).status_code == 200
    when(served.client, paused, lambda story: story["paused"] is not None)
    assert listed(served, **{"is": "retrying"}).saga_ids == [retrying]
    assert listed(served, **{"is": "paused"}).saga_ids == [paused]
    assert waiting in listed(served, **{"is": "waiting"}).saga_ids
    assert listed(served, **{"is": "waiting", "status": "FAILED"}).saga_ids == []
    assert listed(served, attempts="2", name="journey").saga_ids == [failed]  # seat, letter, and the undoing
    assert listed(served, status="FAILED", changed="1h").saga_ids == [failed]
    assert listed(served, status="FAILED", changed="0s").saga_ids == []


def test_a_page_of_few_that_fit_goes_on_behind_what_it_looked_at(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that older sagas may fit, and leads to them."""
    monkeypatch.setattr(saga_pages, "A_PAGE", 2)
    monkeypatch.setattr(listing, "MOST_FOLDED", 2)
    retrying = begin(served, busy=True)
    when(served.client, retrying, lambda story: story["steps"][0]["retry_at"] is not None)
    for _ in range(3):
        begun(served)
    page, seen = listed(served, **{"is": "retrying"}), list[str]()
    assert "older ones may" in page.text
    while more := page.all("a", rel="next"):
        page = page_of(served.client.get(more[0]["href"]))
        seen += page.saga_ids
    assert seen == [retrying]


def test_columns_are_chosen_in_the_address(served: Served) -> None:
    """They stay when a filter is added, and are no filter."""
    begun(served)
    page = listed(served, columns=["what", "took"])
    heads = [found.get("class") for found in page.all("th")]
    assert heads == [None, None, "c-what", "c-took num"]
    assert any("columns=what" in link["href"] and "status=FAILED" in link["href"] for link in page.all("a"))
    assert "Clear" not in page.text
    assert len(listed(served).all("th")) == 8


@pytest.mark.parametrize(
    "query",
    [
        {"status": "DANCING"},
        {"tag": "none"},
        {"since": "soon"},
        {"until": "9" * 400},
        {"cursor": "x"},
        {"since": "-1"},
        {"status": ["FAILED", "DANCING"]},
        {"is": "dancing"},
        {"attempts": "-1"},
        {"attempts": "9" * 20},
        {"changed": "soon"},
    ],
)
def test_a_filter_that_cannot_be_read_is_named(served: Served, query: dict[str, str]) -> None:
    """The page stands, with what is wrong; nothing is shown as if it had been understood."""
    answer = served.client.get(SAGAS, query_string=query)
    assert next(iter(query)) in page_of(answer, 422).text


@pytest.mark.parametrize("text", ["\0", "\ud800".encode("utf-8", "surrogatepass"), "🎻", "%", "'"])
def test_any_text_can_be_asked_for(served: Served, text: Any) -> None:
    """No database is asked for what it could not hold."""
    for name in ("name", "error"):
        assert listed(served, **{name: text}).saga_ids == []


def test_older_sagas_follow_page_by_page(served: Served) -> None:
    """Each once; the address of the next page keeps the filters."""
    ids = [served.node.engine.start("journey", {}).saga_id for _ in range(120)]
    seen: list[str] = []
    path = f"{SAGAS}?name=journey"
    for _ in range(3):
        page = page_of(served.client.get(path))
        seen += page.saga_ids
        path = next((link["href"] for link in page.all("a", rel="next")), "")
        assert not path or "name=journey" in path
    assert not path
    assert sorted(seen) == sorted(ids)


# ── One saga ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_of_a_saga_says_why_first_and_then_what_happened(served: Served) -> None:
    """Why, timeline, steps and events are all in the page."""
    saga_id = stuck(served)
    page = shown(served, saga_id)
    wanted = ["Why", "Timeline", "Steps", "Events"]
    assert [label for label in page.labelled if label in wanted] == wanted
    assert "needs a person" in page.text
    assert "Hash chain whole" in page.text
    assert page.text.count("The saga stopped and needs a person") == 1
    assert {link["href"] for link in page.all("a")} >= {f"{SAGAS}/{saga_id}/retry", f"{SAGAS}/{saga_id}/resolve"}


def test_a_saga_is_shown_as_it_stood_at_a_version(served: Served) -> None:
    """With that said, without commands, and with the way back."""
    saga_id = stuck(served)
    page = shown(served, saga_id, at_version=2)
    assert "You are looking at the past" in page.text
    assert "needs a person" not in page.text
    assert not [link for link in page.all("a") if link["href"].endswith("/retry")]
    (slider,) = page.all("input", type="range")
    assert slider["value"] == "2"
    latest = int(slider["max"])
    assert "You are looking at the past" not in shown(served, saga_id, at_version=latest).text


def test_two_versions_are_compared(served: Served) -> None:
    """Whichever comes first in the address."""
    saga_id = stuck(served)
    one = shown(served, saga_id, at_version=2, compare=8)
    other = shown(served, saga_id, at_version=8, compare=2)
    for page in (one, other):
        assert "v2 → v8" in page.text
        assert "steps.seat.status" in page.text


def test_every_version_of_every_shape_has_a_page(served: Served) -> None:
    """Also with elements, conditions, children, and for each way of drawing the axis."""
    outing = served.node.engine.start("outing", {"guests": ["Ann", "Bob", *"abcdefghijk"]}).saga_id
    for saga_id in (stuck(served), outing):
        story = when(served.client, saga_id, lambda _: True)
        for version in range(1, story["version"] + 1):
            for axis in ("folded", "true", "event"):
                shown(served, saga_id, at_version=version, axis=axis)


@pytest.mark.parametrize("id_", [UNKNOWN, "x" * 65, "%00", "%F0%9F%8E%BB", "a%2Fb"])
def test_a_saga_that_there_is_not_is_a_page_that_says_so(served: Served, id_: str) -> None:
    """404, with the way to the list."""
    page = page_of(served.client.get(f"{SAGAS}/{id_}"), 404)
    assert [link for link in page.all("a") if link["href"] == SAGAS]


def test_a_version_that_there_is_not_is_a_page_that_says_so(served: Served) -> None:
    """404, with how far the saga has come."""
    saga_id = begun(served)
    page_of(served.client.get(f"{SAGAS}/{saga_id}?at_version=999"), 404)
    page_of(served.client.get(f"{SAGAS}/{saga_id}?at_version=2&compare=999"), 404)
    for bad in ("0", "-1", "x", "1.5", "９"):
        page_of(served.client.get(f"{SAGAS}/{saga_id}", query_string={"at_version": bad}))


def test_a_page_that_there_is_not_is_a_page_that_says_so(served: Served) -> None:
    """Under any path of the console."""
    for path in ("nowhere", "sagas/a/b/c", "static/nothing.css"):
        page_of(served.client.get(f"/console/{path}"), 404)


def test_an_old_saga_is_looked_up_by_its_id(served: Served) -> None:
    """From the list; nothing typed leads back to the list."""
    saga_id = begun(served)
    assert served.client.get("/console/jump", query_string={"id": f" {saga_id} "}).location == f"{SAGAS}/{saga_id}"
    assert served.client.get("/console/jump").location == SAGAS


def test_a_saga_of_thousands_of_events_stays_a_page(served: Served) -> None:
    """Its list row is made from the view, its page shows the newest events, and the older ones on demand."""
    saga_id = served.node.engine.start("outing", {"guests": [f"g{n}" for n in range(400)]}).saga_id
    until(lambda: served.node.engine.status(saga_id).steps[0].status == "COMPLETED", 120)
    assert served.node.engine.status(saga_id).version > 800
    answer = served.client.get(f"{SAGAS}/{saga_id}")
    page = page_of(answer)
    assert len(answer.data) < 300_000
    assert "400 done" in page.text
    assert [link for link in page.all("a") if "until=" in link["href"]]
    page_of(served.client.get(f"{SAGAS}/{saga_id}?until=100"))
    assert listed(served, name="outing").saga_ids == [saga_id]
