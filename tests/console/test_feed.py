"""The feed: one reader of the log tells all viewers that something changed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import g

from saga_es.access.principal import UNGUARDED, Principal
from saga_es.console import feed as feeds
from saga_es.console import live
from saga_es.console.feed import Change, Feed
from saga_es.console.live import Kept
from tests.api.conftest import Served
from tests.support.journeys_served import begun
from tests.support.participants import TIMEOUT_S

READERS = "saga-es-console-feed"


def feed_on(served: Served) -> Feed:
    feed = Feed(served.node.database, served.node.store.log, served.node.closing)
    served.node.readers.append(feed.end)
    return feed


def test_a_viewer_is_told_of_what_comes_after_its_position(served: Served) -> None:
    """Once; and of the saga that it looks at alone, if it looks at one."""
    feed = feed_on(served)
    before = feed.position()
    saga_id = begun(served)
    told = feed.wait(before, None, TIMEOUT_S)
    assert told.changed
    last = served.node.store.log.last_position()
    while told.position < last:
        told = feed.wait(told.position, None, TIMEOUT_S)
    assert feed.since(last) == Change(last, changed=False)
    assert feed.since(before, saga_id).changed
    assert not feed.since(before, "another").changed


def test_a_viewer_that_lags_far_behind_is_told_to_look(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever saga it looks at: what it missed is no longer known."""
    monkeypatch.setattr(feeds, "KEPT", 3)
    feed = feed_on(served)
    before = feed.position()
    begun(served)
    while feed.since(before).position < served.node.store.log.last_position():
        feed.wait(feed.since(before).position, None, TIMEOUT_S)
    assert feed.since(before, "another").changed


def test_a_hundred_viewers_have_one_reader(served: Served) -> None:
    """Each is woken by it; when the process is to end, each goes at once."""
    feed = feed_on(served)
    before = feed.position()
    with ThreadPoolExecutor(100) as viewers:
        waiting = [viewers.submit(feed.wait, before, None, TIMEOUT_S) for _ in range(100)]
        assert [thread.name for thread in threading.enumerate()].count(READERS) == 1
        begun(served)
        assert all(viewer.result(TIMEOUT_S).changed for viewer in waiting)
        end = served.node.store.log.last_position()
        waiting = [viewers.submit(feed.wait, end, "another", TIMEOUT_S) for _ in range(100)]
        served.node.closing.set()
        assert not any(viewer.result(TIMEOUT_S).changed for viewer in waiting)


def test_where_the_server_has_no_places_for_streams_a_viewer_asks(served: Served) -> None:
    """A stream is refused with 204, after which a browser does not ask for it again; JSON is answered at once."""
    page = served.client.get("/console/sagas").text
    before = page.partition('data-position="')[2].partition('"')[0]
    stream = served.client.get("/console/live", headers={"Accept": "text/event-stream"})
    assert (stream.status_code, stream.data) == (204, b"")
    saga_id = begun(served)
    feed = live_feed(served)
    feed.wait(int(before), saga_id, TIMEOUT_S)
    query = {"after": before, "saga": saga_id}
    assert served.client.get("/console/live", query_string=query).get_json()["changed"] is True
    assert served.client.get("/console/live", query_string=query | {"saga": "x"}).get_json()["changed"] is False
    for odd in ("-1", "x", "9" * 40, "\u0661"):
        assert served.client.get("/console/live", query_string={"after": odd}).status_code == 200


def live_feed(served: Served) -> Feed:
    feed: Feed = served.app.extensions[live.FEED]
    return feed


def test_a_part_that_many_ask_for_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address by itself; and not all that were ever asked for are kept."""
    now = [100.0]
    monkeypatch.setattr(live, "monotonic_s", lambda: now[0])
    kept, made = Kept(), [0]

    def make() -> str:
        made[0] += 1
        return str(made[0])

    assert [kept.get("a", make) for _ in range(100)] == ["1"] * 100
    assert kept.get("b", make) == "2"
    now[0] += live.REFRESH_S
    assert kept.get("a", make) == "3"
    for key in range(10 * live.MOST_KEPT):
        kept.get(key, make)
    assert len(kept._found) <= live.MOST_KEPT


def test_the_part_of_one_person_is_not_that_of_another(served: Served) -> None:
    """Who somebody is counts, and the language; the theme and the cookie of the forms do not."""

    def asked(headers: dict[str, str], who: Principal = UNGUARDED) -> tuple[object, ...]:
        with served.app.test_request_context("/console/sagas?part=rows", headers=headers):
            g.saga_es_principal = who
            return live.same_for()

    nobody = asked({})
    assert asked({"Cookie": "saga_es_csrf=1; saga_es_theme=dark"}) == nobody
    others = [{"Cookie": "saga_es_language=ja"}, {"Accept-Language": "ja"}]
    assert nobody not in [asked(headers) for headers in others]
    ann, bob = Principal("ann", roles=["viewer"]), Principal("ann", roles=["viewer"], tenant="acme")
    assert len({nobody, asked({}, ann), asked({}, bob)}) == 3
