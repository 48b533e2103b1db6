"""A database that does not answer: every route of the demo says 503 and when to come again, for reading and writing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import services
from saga_es.core.outcomes import Direction
from saga_es.publish.webhook import key_of
from saga_es.runtime import engine
from saga_es.runtime.calls.replies import ReplyUrls, Taken
from saga_es.runtime.waiting import outage
from tests.api.conftest import Served, opened
from tests.api.test_execute import EXECUTE, body_of
from tests.api.test_problems import assert_problem
from tests.api.test_replies import SECRET
from tests.conftest import TIMEOUT_S
from tests.support.clients import KINDS
from tests.support.databases import fresh_database
from tests.support.relay import Relay

ANYONE = "0191f0a4-0000-7000-8000-000000000000"
SAGA = "/api/saga/<string:transaction_id>"
REPLIES = {"callback_url": "http://localhost", "callback_secret": SECRET}
TOKEN = ReplyUrls("", lambda: key_of(SECRET)).url_of(Taken(ANYONE, "venue", Direction.ACTION, 1)).rpartition("/")[2]
BECAUSE = {"actor": "Ann", "reason": "why"}

WITHOUT = {"/", "/openapi.json", "/docs/", "/docs/<name>", "/static/<path:filename>", "/demo/", "/livez", "/metrics"}
"""Routes that need no database."""

TELLING = {"/demo/health-check-all", "/demo/test-individual-apis", "/readyz"}
"""Routes that report on others: they answer, and what they answer is that all is not well."""

COMMANDS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("cancel", "pause", "resume", "retry")},
    "skip": {"step": "venue"},
    "replace-input": {"step": "venue", "input": {}},
    "resolve": {"status": "COMPLETED"},
    "fail": {},
    "migrate": {},
}

BODIES: dict[str, Any] = {
    **{f"/api/{kind.path}/register": {**kind.body, **dict.fromkeys(kind.references, ANYONE)} for kind in KINDS},
    EXECUTE: {"name": "Concert"},
    "/api/saga/replies/<string:token>": {"body": 7},
    "/api/saga/erase": {"subject": "ada", **BECAUSE},
    "/api/saga/batch": {"command": "retry", "filter": {}, **BECAUSE},
    "/api/saga/batch/<string:batch_id>/stop": BECAUSE,
    "/demo/create-event-complete": None,
    "/demo/simulate-failure": {"fail_at_step": "venue"},
    "/api/saga/<string:transaction_id>/signals/<string:signal>": {"payload": None},
    **{f"{SAGA}{alias}/{name}": {**BECAUSE, **about} for alias in ("", "/orders") for name, about in COMMANDS.items()},
}


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The application, and its database behind a network that was cut after it had started."""
    for waits in (engine, outage):  # how long they are is not what is tried here
        monkeypatch.setattr(waits, "COMMIT_TIMEOUT_S", 0.2)
    with fresh_database("postgresql", tmp_path) as text, ExitStack() as stack:
        url = sa.make_url(text)
        relay = stack.enter_context(Relay(url.host or "127.0.0.1", url.port or 5432))
        behind = url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
        served = opened(stack, behind, services.app, execute_timeout_s=2 * TIMEOUT_S, log_level="error", **REPLIES)
        relay.cut()
        yield served
        relay.mend()


def test_every_route_that_needs_the_database_says_when_to_come_again(cut_off: Served) -> None:
    """503, a problem document, `Retry-After`: no route waits for ever, none says that something is not there."""
    for rule in cut_off.app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) & {"GET", "POST", "DELETE"}):
            if rule.rule in WITHOUT | TELLING:
                continue
            path = rule.rule.replace("<string:token>", TOKEN)
            for argument in rule.arguments:
                path = path.replace(f"<string:{argument}>", "ok" if argument == "signal" else ANYONE)
            body = {"json": BODIES[rule.rule]} if method == "POST" else {}
            response = cut_off.client.open(path, method=method, **body)
            assert response.status_code == 503, f"{method} {path}: {response.status} {response.get_data(as_text=True)}"
            assert_problem(response, 503)
            assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("headers", [{}, {"Prefer": "respond-async"}])
def test_nobody_waits_for_a_saga_while_the_database_is_away(cut_off: Served, headers: dict[str, str]) -> None:
    """However long `execute` may take: those who wait hold the threads that would tell the others 503."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(cut_off.client.post, EXECUTE, json=BODIES[EXECUTE], headers=headers)
        assert_problem(asked.result(TIMEOUT_S), 503)


def test_routes_that_report_on_others_say_that_all_is_not_well(cut_off: Served) -> None:
    """They need no database to say so."""
    health = body_of(cut_off.client.get("/demo/health-check-all"), 200)
    assert health["overall_status"] == "unhealthy"
    assert {part: result["response_code"] for part, result in health["individual_results"].items()} == {
        "main": 200,
        **dict.fromkeys(("event", "event_details", "venue", "ticket", "saga"), 503),
    }
    results = body_of(cut_off.client.post("/demo/test-individual-apis"), 200)["results"]
    assert {result["status"] for result in results.values()} <= {503, 0}  # 0: not called, for want of an id
