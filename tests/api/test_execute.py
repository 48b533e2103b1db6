"""`POST /api/saga/execute`: every row of the contract."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest
from flask import Response
from flask.testing import FlaskClient
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

from saga_es.runtime import engine
from saga_es.runtime.waiting import outage
from tests.api.conftest import OpenNode
from tests.support.participants import Hangs, Participant, Says, by_method
from tests.support.trips import until

EXECUTE = "/api/saga/execute"
STEPS = ["event", "event_details", "venue", "ticket"]
TITLES = ["Event Registration", "Event Details Registration", "Venue Registration", "Ticket Registration"]
IDS = {"event": "event_id", "event_details": "details_id", "venue": "venue_id", "ticket": "ticket_id"}
LISTS = {"event": "events", "event_details": "event_details", "venue": "venues", "ticket": "tickets"}

EVERYTHING = {
    "name": "Evening Concert",
    "description": "Haydn, op. 76",
    "date": "2031-05-17",
    "fail_at_step": None,
    "detailed_description": "Two quartets and a talk",
    "duration": 135,
    "category": "music",
    "requirements": ["four chairs"],
    "venue_name": "Old Library",
    "venue_address": "7 Cloister Lane",
    "venue_capacity": 180,
    "venue_facilities": ["cloakroom", "ramp"],
    "ticket_type": "balcony",
    "ticket_price": 28.5,
    "ticket_quantity": 90,
}
DEFAULTS: dict[str, Any] = {
    "description": "No description yet",
    "date": "2030-01-01",
    "fail_at_step": None,
    "detailed_description": "Details to follow",
    "duration": 120,
    "category": "general",
    "requirements": [],
    "venue_name": "Main Hall",
    "venue_address": "1 Market Square",
    "venue_capacity": 500,
    "venue_facilities": [],
    "ticket_type": "standard",
    "ticket_price": 25.0,
    "ticket_quantity": 100,
}


def body_of(response: Response | TestResponse, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.get_data(as_text=True)
    body: dict[str, Any] = response.get_json()
    return body


def records(client: FlaskClient, step: str) -> list[dict[str, Any]]:
    body = body_of(client.get(f"/api/{step.replace('_', '-')}/list?limit=500"), 200)
    found: list[dict[str, Any]] = body[LISTS[step]]
    return found


def status_of(client: FlaskClient, transaction_id: str) -> dict[str, Any]:
    return body_of(client.get(f"/api/saga/status/{transaction_id}"), 200)


# ── How a saga ends ──────────────────────────────────────────────────────────────────────────────────────


def test_a_completed_saga_answers_200_with_the_result_of_every_step(client: FlaskClient) -> None:
    """The four results are there by step, and later steps used the ids that earlier ones returned."""
    response = client.post(EXECUTE, json=EVERYTHING)

    body = body_of(response, 200)
    assert response.content_type == "application/json"
    assert body["success"] is True
    assert body["status"] == "COMPLETED"
    assert body["completed_steps"] == 4
    assert body["message"]
    results = body["results"]
    assert list(results) == STEPS
    event_id, venue_id = results["event"]["event_id"], results["venue"]["venue_id"]
    assert results["event_details"]["event_id"] == event_id
    assert (results["ticket"]["event_id"], results["ticket"]["venue_id"]) == (event_id, venue_id)
    assert status_of(client, body["transaction_id"])["status"] == "COMPLETED"


def test_what_is_asked_for_is_what_the_services_hold(client: FlaskClient) -> None:
    """Each optional member reaches the record it is meant for, under the id that the step returned."""
    results = body_of(client.post(EXECUTE, json=EVERYTHING), 200)["results"]

    held = {}
    for step in STEPS:
        (record,) = records(client, step)
        assert record["id"] == results[step][IDS[step]]
        held[step] = {name: value for name, value in record.items() if name not in {"id", "status", "created_at"}}
    event_id, venue_id = results["event"]["event_id"], results["venue"]["venue_id"]
    assert held == {
        "event": {"name": "Evening Concert", "description": "Haydn, op. 76", "date": "2031-05-17"},
        "event_details": {
            "event_id": event_id,
            "detailed_description": "Two quartets and a talk",
            "duration": 135,
            "category": "music",
            "requirements": ["four chairs"],
        },
        "venue": {
            "name": "Old Library",
            "address": "7 Cloister Lane",
            "capacity": 180,
            "facilities": ["cloakroom", "ramp"],
        },
        "ticket": {
            "event_id": event_id,
            "venue_id": venue_id,
            "ticket_type": "balcony",
            "price": 28.5,
            "quantity": 90,
        },
    }


@pytest.mark.parametrize("failing", STEPS)
def test_a_saga_that_fails_at_a_step_answers_409_and_leaves_no_record(kept_client: FlaskClient, failing: str) -> None:
    """Whichever step fails, the answer names it, and everything the earlier steps did is undone."""
    before = [records(kept_client, step) for step in STEPS]
    response = kept_client.post(EXECUTE, json={"name": "Concert", "fail_at_step": failing})

    body = body_of(response, 409)
    assert response.content_type == "application/json"
    assert {name: body[name] for name in ("success", "status", "failed_step", "rollback_completed")} == {
        "success": False,
        "status": "COMPENSATED",
        "failed_step": failing,
        "rollback_completed": True,
    }
    assert "409" in body["error"]
    assert body["message"]
    assert [records(kept_client, step) for step in STEPS] == before


@pytest.mark.parametrize("failing", STEPS)
def test_the_status_of_a_rolled_back_saga_tells_what_was_undone(kept_client: FlaskClient, failing: str) -> None:
    """Steps before the failed one are COMPENSATED, it is FAILED, those after it were never begun."""
    body = body_of(kept_client.post(EXECUTE, json={"name": "Concert", "fail_at_step": failing}), 409)

    steps = status_of(kept_client, body["transaction_id"])["steps"]
    place = STEPS.index(failing)
    expected = ["COMPENSATED"] * place + ["FAILED"] + ["PENDING"] * (3 - place)
    assert [step["status"] for step in steps] == expected
    assert [step["attempts"] for step in steps] == [1] * (place + 1) + [0] * (3 - place)
    assert [bool(step["error"]) for step in steps] == [step == failing for step in STEPS]


@pytest.mark.parametrize("failing", STEPS)
def test_completed_steps_are_compensated_in_reverse_order(kept_client: FlaskClient, failing: str) -> None:
    """The log holds one compensation for each completed step, the last one first."""
    body = body_of(kept_client.post(EXECUTE, json={"name": "Concert", "fail_at_step": failing}), 409)

    events = body_of(kept_client.get(f"/api/saga/{body['transaction_id']}/events"), 200)["events"]
    undone = [event["data"]["step"] for event in events if event["type"] == "CompensationCompleted"]
    assert undone == list(reversed(STEPS[: STEPS.index(failing)]))


def test_a_saga_that_cannot_be_undone_answers_500_and_says_that_a_person_is_needed(open_node: OpenNode) -> None:
    """A rollback that is refused ends the saga FAILED; the answer has the members of a rolled back one."""
    venue_id = "0c5b52a2-0f56-4f0a-8a63-5d6d3fdb9b5c"
    script = by_method(
        POST=lambda _: Says(201, {"success": True, "venue_id": venue_id, "message": "Registered."}),
        DELETE=lambda _: Says(409, {"detail": "the hall is locked"}),
    )
    with Participant(script) as venue:
        client = open_node(participants={"venue": venue.url}).client
        response = client.post(EXECUTE, json={"name": "Concert", "fail_at_step": "ticket"})

        body = body_of(response, 500)
        assert response.content_type == "application/json"
        assert {name: body[name] for name in ("success", "status", "failed_step", "rollback_completed")} == {
            "success": False,
            "status": "FAILED",
            "failed_step": "ticket",
            "rollback_completed": False,
        }
        assert "the hall is locked" in body["error"]
        assert "person" in body["message"]
        assert status_of(client, body["transaction_id"])["status"] == "FAILED"


# ── Defaults ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_enough_and_every_default_is_recorded(kept_client: FlaskClient) -> None:
    """What is left out gets its default, and the saga's input in the log holds it."""
    body = body_of(kept_client.post(EXECUTE, json={"name": "Concert"}), 200)

    assert status_of(kept_client, body["transaction_id"])["input"] == {"name": "Concert", **DEFAULTS}


def test_every_default_stands_in_the_openapi_document(kept_client: FlaskClient) -> None:
    """A kept_client can read there what it gets when it leaves a member out."""
    properties = body_of(kept_client.get("/openapi.json"), 200)["components"]["schemas"]["CreateEvent"]["properties"]

    documented = {name: about["default"] for name, about in properties.items() if "default" in about}
    without_list_defaults = {name: value for name, value in DEFAULTS.items() if value != []}
    assert without_list_defaults.items() <= documented.items()


# ── Idempotency-Key ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fail_at_step", [None, "venue"])
def test_a_repeated_key_gets_the_first_answer_and_runs_nothing(client: FlaskClient, fail_at_step: str | None) -> None:
    """The same key and body: the same saga, status and bytes, however it ended."""
    asked = {"name": "Concert", "fail_at_step": fail_at_step}
    first = client.post(EXECUTE, json=asked, headers={"Idempotency-Key": "order 17"})
    again = client.post(EXECUTE, json=asked, headers={"Idempotency-Key": "order 17"})

    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert len(body_of(client.get("/api/saga/list"), 200)["transactions"]) == 1
    assert len(records(client, "event")) == (0 if fail_at_step else 1)


def test_a_key_used_with_another_body_is_refused_with_422(client: FlaskClient) -> None:
    """The first saga stands, the second body starts nothing, and the header is named as the one at fault."""
    first = body_of(client.post(EXECUTE, json={"name": "A"}, headers={"Idempotency-Key": "k"}), 200)
    other = client.post(EXECUTE, json={"name": "B"}, headers={"Idempotency-Key": "k"})

    body = body_of(other, 422)
    assert other.content_type == "application/problem+json"
    assert list(body["errors"]) == ["Idempotency-Key"]
    listed = body_of(client.get("/api/saga/list"), 200)["transactions"]
    assert [saga["transaction_id"] for saga in listed] == [first["transaction_id"]]


def test_different_keys_are_different_sagas(kept_client: FlaskClient) -> None:
    """The same body under two keys runs twice."""
    ids = {
        body_of(kept_client.post(EXECUTE, json={"name": "A"}, headers={"Idempotency-Key": key}), 200)["transaction_id"]
        for key in ("k1", "k2")
    }
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_an_unusable_key_is_refused_with_422(kept_client: FlaskClient, key: str) -> None:
    """A key has 1 to 255 characters."""
    body = body_of(kept_client.post(EXECUTE, json={"name": "A"}, headers={"Idempotency-Key": key}), 422)
    assert list(body["errors"]) == ["Idempotency-Key"]


def test_a_key_of_255_characters_is_taken(kept_client: FlaskClient) -> None:
    """The longest key works like any other."""
    body_of(kept_client.post(EXECUTE, json={"name": "A"}, headers={"Idempotency-Key": "k" * 255}), 200)


def test_a_repeat_while_the_saga_runs_waits_for_it_and_gets_the_same_answer(open_node: OpenNode) -> None:
    """Two requests with one key, the first still running: one saga, one registration, one answer for both."""
    answered = threading.Event()
    with Participant() as ticket:
        ticket.script = lambda _: Hangs(answered)
        served = open_node(participants={"ticket": ticket.url})
        answers: list[TestResponse] = []

        def ask() -> None:
            client = served.app.test_client()
            answers.append(client.post(EXECUTE, json={"name": "A"}, headers={"Idempotency-Key": "k"}))

        askers = [threading.Thread(target=ask) for _ in range(2)]
        askers[0].start()
        ticket.wait_for_calls(1)
        askers[1].start()
        askers[1].join(0.3)
        assert askers[1].is_alive(), "the repeat waits"
        assert answers == []
        answered.set()
        for asker in askers:
            asker.join()

        first, second = answers
        assert (first.status_code, second.status_code) == (200, 200)
        assert first.data == second.data
        assert len(ticket.calls) == 1


# ── Prefer: respond-async ────────────────────────────────────────────────────────────────────────────────


def test_respond_async_answers_202_at_once_with_a_place_to_look(open_node: OpenNode) -> None:
    """The answer comes while the saga still runs; its Location tells how it goes on, to the end."""
    answered = threading.Event()
    with Participant() as ticket:
        ticket.script = lambda _: Hangs(answered)
        client = open_node(participants={"ticket": ticket.url}).client
        response = client.post(EXECUTE, json={"name": "A"}, headers={"Prefer": "respond-async", "Idempotency-Key": "k"})

        body = body_of(response, 202)
        assert response.headers["Location"] == f"/api/saga/status/{body['transaction_id']}"
        assert body["status"] in {"PENDING", "IN_PROGRESS"}
        ticket.wait_for_calls(1)
        running = body_of(client.get(response.headers["Location"]), 200)
        assert running["status"] == "IN_PROGRESS"
        assert running["current_step_index"] == 3
        assert [step["status"] for step in running["steps"]] == ["COMPLETED"] * 3 + ["IN_PROGRESS"]
        answered.set()
        # The same key, without the preference, waits for the end.
        body_of(client.post(EXECUTE, json={"name": "A"}, headers={"Idempotency-Key": "k"}), 200)
        assert body_of(client.get(response.headers["Location"]), 200)["status"] == "COMPLETED"


@pytest.mark.parametrize("prefer", ["Respond-Async", "wait=10, respond-async", "respond-async; x=y"])
def test_the_preference_is_read_as_the_rfc_writes_it(kept_client: FlaskClient, prefer: str) -> None:
    """RFC 7240: names are case-insensitive, preferences come in lists and may have parameters."""
    body_of(kept_client.post(EXECUTE, json={"name": "A"}, headers={"Prefer": prefer}), 202)


def test_another_preference_changes_nothing(kept_client: FlaskClient) -> None:
    """`return=minimal` is not ours to honour: the answer is the usual one."""
    body_of(kept_client.post(EXECUTE, json={"name": "A"}, headers={"Prefer": "return=minimal"}), 200)


def test_a_saga_that_takes_longer_than_a_request_may_wait_goes_on_behind_a_202(open_node: OpenNode) -> None:
    """When the wait is over the answer is where to look, not an error."""
    answered = threading.Event()
    with Participant() as ticket:
        ticket.script = lambda _: Hangs(answered)
        client = open_node(participants={"ticket": ticket.url}, execute_timeout_s=0.3).client
        response = client.post(EXECUTE, json={"name": "A"})

        body = body_of(response, 202)
        assert response.headers["Location"].endswith(body["transaction_id"])
        answered.set()


@pytest.mark.parametrize("headers", [{"Prefer": "respond-async"}, {}])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_start_that_is_not_in_the_log_is_not_accepted(
    open_node: OpenNode, database_url: str, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """The database can be read and not be written to: the caller is told to come again, and finds the saga then."""
    for waits in (engine, outage):
        monkeypatch.setattr(waits, "COMMIT_TIMEOUT_S", 0.3)
    client = open_node(execute_timeout_s=0.3).client
    key = {"Idempotency-Key": "k"}
    with closing(sqlite3.connect(make_url(database_url).database or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        body_of(client.post(EXECUTE, json={"name": "A"}, headers={**headers, **key}), 503)
        other.execute("ROLLBACK")
    monkeypatch.undo()
    again = until(lambda: answered(client.post(EXECUTE, json={"name": "A"}, headers=key)))
    assert again["status"] == "COMPLETED"


def answered(response: TestResponse) -> Any:
    """The body of a saga that has ended; None while it goes on."""
    return response.get_json() if response.status_code == 200 else None
