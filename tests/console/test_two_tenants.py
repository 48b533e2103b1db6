"""Two tenants share a console: one with every role tries to see and change what is the other's, and learns nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask.testing import FlaskClient
from msgspec.structs import replace
from werkzeug.test import TestResponse

from saga_es.access import Principal, Role
from saga_es.console import live, mount_console
from saga_es.console.feed import Feed
from saga_es.console.following import ACTIONS
from saga_es.console.shell import NAME
from saga_es.store.log.codec import SAGA
from tests.api.conftest import Served, opened
from tests.support.bearers import Bearers, as_
from tests.support.databases import fresh_database
from tests.support.journeys_served import app_of, journey
from tests.support.participants import TIMEOUT_S
from tests.support.trips import until

UNKNOWN = "0191f0a4-0000-7000-8000-000000000000"
EVERYTHING = [role.value for role in Role]
PEOPLE = {tenant: Principal(f"{tenant}-ann", EVERYTHING, tenant=tenant) for tenant in ("one", "two", "three")}
SECRET = "xyzzy-of-one"
"""It stands in whatever tenant one gives: inputs, tags, errors, reasons."""


OVERVIEWS = (
    "/console/sagas",
    "/console/attention",
    "/console/definitions",
    "/console/definitions/journey?within=week",
    "/console/attention/batch?command=cancel",
)


def steady(html: str) -> str:
    """A page without what differs between any two answers: tokens, positions, times."""
    html = re.sub(r'name="csrf" value="[^"]*"|data-position="\d+"|"position":\d+', "", html)
    return re.sub(r"<time.*?</time>", "", html)


class Theirs:
    """What tenant one has: a saga that failed, one that waits, and a batch."""

    def __init__(self, served: Served) -> None:
        self.before = {path: steady(served.client.get(path, headers=as_("three")).text) for path in OVERVIEWS}
        by = PEOPLE["one"].starter
        engine = served.node.engine
        self.failed, self.waiting = (
            engine.start("journey", {"note": SECRET, "sold": True}, tags={"tag": SECRET}, by=by).saga_id
            for _ in range(2)
        )
        headers = as_("one")
        sent = served.client.post(f"/api/saga/{self.failed}/signals/approval", json="refused", headers=headers)
        assert sent.status_code == 202
        until(lambda: self._is_failed(served))
        body = {"command": "pause", "filter": {"name": "journey"}, "reason": SECRET}
        given = served.client.post("/api/saga/batch", json=body, headers=headers)
        self.batch: str = given.get_json()["batch_id"]
        group = served.client.get("/api/saga/failures", headers=headers).get_json()["groups"][0]
        self.fingerprint: str = group["fingerprint"]

    def _is_failed(self, served: Served) -> bool:
        story = served.client.get(f"/api/saga/status/{self.failed}", headers=as_("one")).get_json()
        return bool(story["status"] == "FAILED")

    @property
    def words(self) -> list[str]:
        """What no page of another tenant may have in it."""
        return [SECRET, "one-ann", self.failed, self.waiting, self.batch, self.failed[:8], self.batch[:8]]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node that tenants share, with its console."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(request.param, tmp_path_factory.mktemp("tenants")))
        served = opened(stack, url, replace(app_of(journey()), auth=Bearers(**PEOPLE)))
        mount_console(served.app)
        yield served


@pytest.fixture(scope="module")
def theirs(shared: Served) -> Theirs:
    """What tenant one has."""
    return Theirs(shared)


def token_for(client: FlaskClient, who: str) -> str:
    """What the forms of a browser have in them."""
    return client.get("/console/sagas", headers=as_(who)).text.partition('name="csrf" value="')[2].partition('"')[0]


def addresses(served: Served, ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Each route of the console, of each method, with these ids in it."""
    for rule in served.app.url_map.iter_rules():
        if rule.endpoint.startswith(f"{NAME}.") and not rule.endpoint.endswith((".static", ".nowhere", ".preferences")):
            commands = list(ACTIONS) if "name" in rule.arguments and "saga_id" in rule.arguments else ["journey"]
            for command in commands:
                path = str(rule.rule)
                for name, id_ in {**ids, "name": command}.items():
                    path = re.sub(rf"<([^<>]+:)?{name}>", id_, path)
                assert "<" not in path, path
                yield from ((method, path) for method in sorted({"GET", "POST"} & (rule.methods or set())))


QUERIES = ("", "?part=rows", f"?tag=tag:{SECRET}", "?status=FAILED&name=journey&within=week", f"?error={SECRET}")


def without_own_marks(answer: TestResponse, id_: str) -> tuple[int, str, str | None]:
    """An answer without what differs between any two, and without the id that was asked for."""
    text = steady(answer.text.replace(id_, "ID").replace(id_[:8], "ID"))
    place = answer.headers.get("Location")
    return answer.status_code, text, place and place.replace(id_, "ID")


def test_no_page_of_the_console_has_anything_of_another_tenant(shared: Served, theirs: Theirs) -> None:
    """Every route, with the other's ids and filters; and one's own pages do have it, so the words are found."""
    ids = {"saga_id": theirs.failed, "batch_id": theirs.batch}
    tried = 0
    for method, path in addresses(shared, ids):
        for query in QUERIES if method == "GET" else [""]:
            answer = shared.client.open(path + query, method=method, headers=as_("two"))
            was_asked = path + query  # an address, or an id in it, may be repeated to who sent it
            found = [word for word in theirs.words if word in answer.text and word not in was_asked]
            assert not found, (method, was_asked)
            tried += 1
    assert tried > 60
    own = shared.client.get("/console/attention", headers=as_("one")).text
    assert theirs.fingerprint in own
    assert theirs.failed in shared.client.get("/console/sagas", headers=as_("one")).text
    assert SECRET in shared.client.get(f"/console/batches/{theirs.batch}", headers=as_("one")).text


def test_an_id_of_another_tenant_is_answered_like_one_that_nobody_has(shared: Served, theirs: Theirs) -> None:
    """On every route that takes an id, by GET and as a form with a valid token; and nothing is appended."""
    end = shared.node.store.log.last_position()
    for who in ("two", "three"):
        client = shared.app.test_client()
        token = token_for(client, who)
        form = {"csrf": token, "reason": "why", "step": "approval", "input": "{}", "number": "1", "seen": "1"}
        theirs_ids = {"saga_id": theirs.waiting, "batch_id": theirs.batch}
        nobodys = dict.fromkeys(theirs_ids, UNKNOWN)
        pairs = zip(addresses(shared, theirs_ids), addresses(shared, nobodys), strict=True)
        for (method, path), (_, other) in pairs:
            if path == other:
                continue
            sent: dict[str, Any] = {"data": form} if method == "POST" else {}
            answers = [client.open(one, method=method, headers=as_(who), **sent) for one in (path, other)]
            id_ = theirs.batch if theirs.batch in path else theirs.waiting
            told = [without_own_marks(answer, one) for answer, one in zip(answers, (id_, UNKNOWN), strict=True)]
            assert told[0] == told[1], (method, path)
            assert told[0][0] == 404, (method, path)
    log = shared.node.store.log
    appended = [log.decode(entry).event for entry in log.entries(after_position=end) if entry.category == SAGA]
    assert not {getattr(event, "actor", None) for event in appended} & {"two-ann", "three-ann"}


def test_a_batch_form_hits_nothing_of_another_tenant(shared: Served, theirs: Theirs) -> None:
    """Also with the fingerprint of the other's failures, its tag or a part of its error."""
    for about in (f"fingerprint={theirs.fingerprint}", f"tag=tag:{SECRET}", "name=journey", "error=sold"):
        page = shared.client.get(f"/console/attention/batch?command=cancel&{about}", headers=as_("two"))
        assert page.status_code == 200
        assert not [id_ for id_ in (theirs.failed, theirs.waiting) if id_ in page.text]
        client = shared.app.test_client()
        token = token_for(client, "two")
        given = dict(pair.split("=", 1) for pair in (about, "command=cancel", "number=2", "reason=why"))
        sent = client.post("/console/attention/batch", data=given | {"csrf": token}, headers=as_("two"))
        assert sent.status_code in {409, 422}, sent.text


def test_figures_and_counts_are_those_of_the_tenant(shared: Served, theirs: Theirs) -> None:
    """Tenant one has two sagas; tenant two is shown none, on pages and in the API."""

    def started(who: str) -> int:
        found = shared.client.get("/api/saga/definitions?name=journey", headers=as_(who)).get_json()
        (one,) = found["definitions"]
        assert (one["in_flight"] == []) == (who != "one")
        return int(one["figures"]["started"])

    assert until(lambda: started("one") == 2)
    assert started("two") == 0
    for path, before in theirs.before.items():
        assert steady(shared.client.get(path, headers=as_("three")).text) == before, path
        assert steady(shared.client.get(path, headers=as_("one")).text) != before, path


def test_a_viewer_is_not_told_that_something_of_another_tenant_changed(shared: Served, theirs: Theirs) -> None:
    """Neither by the stream nor by a question: when and how often the other works stays its own."""
    assert shared.client.get("/console/sagas", headers=as_("two")).status_code == 200  # the feed begins
    feed: Feed = shared.app.extensions[live.FEED]
    before = feed.position()
    mine, other = PEOPLE["two"].scope, PEOPLE["one"].scope
    path = f"/console/live?after={before}"
    until(lambda: shared.client.get("/console/live?after=0", headers=as_("two")).status_code == 200)
    headers = as_("one")
    resumed = shared.client.post(f"/api/saga/{theirs.waiting}/cancel", json={"reason": SECRET}, headers=headers)
    assert resumed.status_code == 200, resumed.text
    assert feed.wait(before, None, TIMEOUT_S, other).changed
    assert not feed.wait(before, None, 0, mine).changed
    assert shared.client.get(path, headers=as_("one")).get_json()["changed"] is True
    assert shared.client.get(path, headers=as_("two")).get_json()["changed"] is False
    ours = shared.node.engine.start("journey", {}, by=PEOPLE["two"].starter).saga_id
    until(lambda: shared.client.get(path, headers=as_("two")).get_json()["changed"])
    watched = f"{path}&saga="
    assert shared.client.get(watched + ours, headers=as_("one")).status_code == 404
    assert shared.client.get(watched + ours, headers=as_("two")).get_json()["changed"] is True
