"""`saga-es participant check`: good participants pass, and each flaw fails exactly the checks that it should."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests

from saga_es import Participant as Named
from saga_es import RetryPolicy, Saga, open_engine
from saga_es.participant import Report, Verdict, check_participant
from saga_es.participant.conformance import UNREADABLE
from saga_es.participant.trial import STEP, CannotName, Step, Subject
from saga_es.runtime.calls.transport import WsgiTransport
from tests.e2e.conftest import Server, StartServer, run_cli
from tests.support.hotels import ACTION, BODY, COMPENSATION, PROBE, CarefulHotel, CarelessHotel, Flaw
from tests.support.participants import Act, Call, Participant, Resets, Says, Script

CHECKS = (
    "action",
    "answers are JSON",
    "repeated action",
    "action 16 times at once",
    "compensation",
    "repeated compensation",
    "action after its compensation",
    "compensation of nothing",
    "late action",
    "action and compensation at once",
    "unreadable body",
)

FLAWS = {
    Flaw.ACTS_AGAIN: {"repeated action", "action 16 times at once"},
    Flaw.REFUSES_A_REPETITION: {"repeated action", "action 16 times at once"},
    Flaw.REFUSES_WHILE_IT_ACTS: {"action 16 times at once"},
    Flaw.FORGETS_AN_EARLY_UNDO: {"late action"},
    Flaw.KNOWS_ONLY_WHAT_IT_HAS: {"compensation of nothing", "late action"},
    Flaw.UNDOES_ONLY_ONCE: {"repeated compensation"},
    Flaw.CANNOT_UNDO: {
        "compensation",
        "repeated compensation",
        "action after its compensation",
        "compensation of nothing",
        "late action",
        "action and compensation at once",
    },
    Flaw.UNDOES_NOTHING: {"compensation", "action after its compensation", "action and compensation at once"},
    Flaw.COMES_BACK: {"action after its compensation", "action and compensation at once"},
    Flaw.LOOKS_TOO_EARLY: {"action and compensation at once"},
    Flaw.CRASHES_ON_A_BAD_BODY: {"unreadable body"},
    Flaw.TAKES_ANY_BODY: {"unreadable body"},
    Flaw.SPEAKS_HTML: {"answers are JSON"},
    Flaw.REFUSES_ALL: {"action"},
}


def failed(report: Report) -> set[str]:
    return {finding.check for finding in report.checks if finding.verdict is Verdict.FAILED}


def checked(where: Any, **calls: Any) -> Report:
    given = {"action": ACTION, "compensation": COMPENSATION, "body": BODY, "probe": PROBE, **calls}
    return check_participant(where, **given)


def forwarding(hotel: CarelessHotel | CarefulHotel) -> Script:
    """Serves a hotel over HTTP."""
    inside = WsgiTransport(hotel.app)

    def forward(call: Call) -> Act:
        answer = inside.send(call.method, call.path, call.headers, call.body, 0)
        return Says(answer.status, answer.body, {"Content-Type": answer.headers["content-type"]})

    return forward


@pytest.fixture
def careful(tmp_path: Path) -> Iterator[CarefulHotel]:
    """A hotel with the barrier, on SQLite."""
    hotel = CarefulHotel(f"sqlite:///{tmp_path / 'hotel.sqlite'}")
    yield hotel
    hotel.engine.dispose()


# ── Good ones ────────────────────────────────────────────────────────────────────────────────────────────


def registered(server: Server, path: str, id_name: str, **body: Any) -> str:
    made: str = server.post(path, body).json()[id_name]
    return made


def test_the_four_services_pass(start_server: StartServer) -> None:
    """Served for real, looked at by the probe, and nothing is left of what the checks did."""
    server = start_server()
    venue = {"name": "Old Library", "address": "7 Cloister Lane", "capacity": 180}
    event = {"name": "Evening Concert", "description": "Strings", "date": "2030-01-01"}
    event_id = registered(server, "/api/event/register", "event_id", **event)
    venue_id = registered(server, "/api/venue/register", "venue_id", **venue)
    details = {"event_id": event_id, "detailed_description": "x", "duration": 90, "category": "music"}
    ticket = {"event_id": event_id, "venue_id": venue_id, "ticket_type": "standard", "price": 25, "quantity": 10}
    before = server.get("/demo/database-status")["summary"]
    bodies = {"event": event, "event-details": details, "venue": venue, "ticket": ticket}
    for service, body in bodies.items():
        done = run_cli(
            *("participant", "check", server.url, "--json", "--body", json.dumps(body)),
            *("--action", f"POST /api/{service}/register"),
            *("--compensation", f"DELETE /api/{service}/rollback/{{action_key}}"),
            *("--probe", f"GET /api/{service}/{{action_key}}"),
        )
        report = json.loads(done.stdout)
        assert done.returncode == 0, report
        assert report["conforms"] is True
        assert [(finding["check"], finding["verdict"]) for finding in report["checks"]] == [
            (name, "passed") for name in CHECKS
        ]
    assert server.get("/demo/database-status")["summary"] == before


def test_a_service_with_the_barrier_passes(careful: CarefulHotel) -> None:
    """Over HTTP, and in this process; no room stays booked."""
    with Participant(forwarding(careful)) as served:
        assert failed(checked(served.url, probe=None)) == set()
    assert failed(checked(careful.app, probe=None)) == set()
    assert careful.guests == []


def test_a_hotel_without_a_flaw_passes() -> None:
    """So each failure below is the flaw's."""
    assert failed(checked(CarelessHotel().app)) == set()


def test_an_action_without_a_body_is_not_tried_with_a_bad_one() -> None:
    """And what is not tried is no failure."""
    with Participant(by_key) as served:
        report = check_participant(served.url, action="POST /rooms", compensation=COMPENSATION)
    *_, last = report.checks
    assert (last.check, last.verdict, last.came) == ("unreadable body", Verdict.NOT_TRIED, "the action has no body")


def by_key(call: Call) -> Act:
    """Says yes to all."""
    return Says(201, {"room": call.key})


def test_what_the_barrier_does_not_let_through_is_answered_with_a_problem(careful: CarefulHotel) -> None:
    """Too late: 409. A key that cannot be kept: 400. In another's way: 503, and when to come again."""
    client = careful.app.test_client()
    client.delete("/rooms/a")
    late = client.post("/rooms", json=BODY, headers={"Idempotency-Key": "a"})
    bad = client.post("/rooms", json=BODY, headers={"Idempotency-Key": "x" * 256})
    with careful.engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        busy = client.post("/rooms", json=BODY, headers={"Idempotency-Key": "b"})
    assert [answer.status_code for answer in (late, bad, busy)] == [409, 400, 503]
    for answer in (late, bad, busy):
        assert answer.content_type == "application/problem+json"
        assert answer.get_json() | {"type": "about:blank", "status": answer.status_code} == answer.get_json()
        assert answer.get_json()["detail"]
    assert int(busy.headers["Retry-After"]) > 0
    assert careful.guests == []


def test_a_call_with_no_key_or_an_empty_one_is_no_sagas(careful: CarefulHotel) -> None:
    """It just acts, each time."""
    client = careful.app.test_client()
    for headers in ({}, {"Idempotency-Key": ""}):
        assert client.post("/rooms", json=BODY, headers=headers).status_code == 200
    assert careful.guests == ["Ada", "Ada"]


# ── Bad ones ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("flaw", Flaw, ids=lambda flaw: flaw.name)
def test_a_flaw_fails_exactly_its_checks(flaw: Flaw) -> None:
    """Each says what was expected, what came, and why it matters."""
    report = checked(CarelessHotel(flaw).app)
    assert failed(report) == FLAWS[flaw]
    assert report.conforms is False
    assert all(finding.came for finding in report.checks if finding.verdict is not Verdict.PASSED)
    assert all(finding.expected and finding.why for finding in report.checks)


def test_every_check_is_failed_by_some_flaw() -> None:
    """A check that nothing fails proves nothing."""
    assert set().union(*FLAWS.values()) == set(CHECKS)


def test_nothing_more_is_tried_when_the_action_is_not_done() -> None:
    """A body that is refused says nothing about the participant."""
    first, *others = checked(CarelessHotel(Flaw.REFUSES_ALL).app).checks
    assert "422" in first.came
    assert {finding.verdict for finding in others} == {Verdict.NOT_TRIED}


def test_a_compensation_that_only_the_answer_names_fails_where_the_answer_is_lost() -> None:
    """A saga does not know it either."""
    with Participant(named_by_its_answers()) as served:
        report = check_participant(served.url, action=ACTION, body=BODY, compensation="DELETE /rooms/{answer[room]}")
    found = {finding.check: finding.came for finding in report.checks if finding.verdict is Verdict.FAILED}
    assert set(found) == {"compensation of nothing", "late action", "action and compensation at once"}
    assert all("{action_key}" in came for came in found.values())


def test_a_step_whose_answer_is_lost_cannot_name_what_it_told() -> None:
    """Also when it came, in truth: a saga that had given up on the call would not know it."""
    subject = Subject.of(ACTION, "DELETE /rooms/{answer[room]}", BODY)
    step = Step(WsgiTransport(CarelessHotel().app), subject, 10, learns_answer=False)
    assert step.act().is_done
    with pytest.raises(CannotName):
        step.undo()


def named_by_its_answers() -> Script:
    """A good hotel, where only the answer tells the number by which a room is given back."""
    numbers: dict[str, int] = {}

    def answer(call: Call) -> Act:
        if call.body == UNREADABLE:
            return Says(400)
        if call.method == "DELETE":
            return Says()
        return Says(201, {"room": numbers.setdefault(call.key, len(numbers))})

    return answer


# ── What is sent ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_calls_carry_what_a_sagas_calls_carry() -> None:
    """One key for all attempts of an action, another for its compensation, each a UUID; body and path are filled in."""
    with Participant(by_key) as served:
        checked(
            served.url,
            probe=None,
            body={"guest": "Ada", "number": ["{action_key}"], "note": "{not a name} {action_key}"},
            compensation="POST /rooms/{action_key}/undo",
            compensation_body={"room": "{answer[room]}"},
        )
        calls = served.calls
    keys: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for call in calls:
        assert call.headers["x-saga-step"] == STEP
        assert UUID(call.headers["x-saga-id"]).version == 7
        assert UUID(call.key).version == 5
        assert call.headers["content-type"] == "application/json"
        keys[call.headers["x-saga-id"], call.path.endswith("/undo")].add(call.key)
    assert {len(used) for used in keys.values()} == {1}
    assert len(set().union(*keys.values())) == len(keys)
    for call in calls:
        (action_key,) = keys.get((call.headers["x-saga-id"], False), {None})
        if call.path != "/rooms":
            assert action_key is None or call.path == f"/rooms/{action_key}/undo"
            assert json.loads(call.body)["room"] in {action_key, None}
        elif call.body != UNREADABLE:
            assert json.loads(call.body) == {
                "guest": "Ada",
                "number": [action_key],
                "note": "{not a name} {action_key}",
            }


# ── A saga ───────────────────────────────────────────────────────────────────────────────────────────────


def _guest(input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 (the name by which a step asks for it)
    return {"guest": input["guest"]}


@pytest.mark.parametrize("ends", ["COMPLETED", "COMPENSATED"])
def test_a_saga_whose_answers_get_lost_has_its_effect_once_or_not_at_all(
    careful: CarefulHotel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Every call acts, and its first two answers are lost on the way back."""
    forward = forwarding(careful)
    lost: dict[str, int] = defaultdict(int)

    def losing(call: Call) -> Act:
        answer = forward(call)
        lost[call.key] += 1
        return Resets() if lost[call.key] <= 2 else answer

    patience = RetryPolicy(attempts=4, first_delay_s=0.02, jitter=0.0)
    hotel, airline = Named("hotel"), Named("airline")
    trip = Saga("trip")
    trip.request(
        "room",
        hotel.post("/rooms", _guest),
        compensation=hotel.delete("/rooms/{action_key}"),
        retry=patience,
        compensation_retry=patience,
    )
    trip.request("seat", airline.post("/seats"), compensation=None)
    with (
        Participant(losing) as hotel_served,
        Participant(lambda _: Says(200 if ends == "COMPLETED" else 409)) as airline_served,
    ):
        monkeypatch.setenv("SAGA_ES_PARTICIPANT_HOTEL", hotel_served.url)
        monkeypatch.setenv("SAGA_ES_PARTICIPANT_AIRLINE", airline_served.url)
        with open_engine(f"sqlite:///{tmp_path / 'trips.sqlite'}", trip) as engine:
            started = [
                engine.start(trip, {"guest": f"guest {n}"}) for n in range(3)
            ]  # so few that the hotel does not count as away
            assert {handle.result(30).status for handle in started} == {ends}
        attempts = set(lost.values())
        late = [call for call in hotel_served.calls if call.method == "POST"]
        statuses = {
            requests.post(f"{hotel_served.url}/rooms", call.body, headers=call.headers, timeout=10).status_code
            for call in late
        }
    guests = [f"guest {n}" for n in range(3)] if ends == "COMPLETED" else []
    assert sorted(careful.guests) == guests
    assert attempts == {3}, "each call was made until its answer came"
    assert statuses == ({200} if ends == "COMPLETED" else {409}), "duplicates that came when all was over"
