"""What a saga's calls carry, and what an answer means: row by row, with a participant of its own over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from saga_es.runtime.handle import SagaResult
from tests.api.conftest import OpenNode, opened
from tests.api.test_execute import EXECUTE, STEPS, body_of
from tests.support.participants import (
    TIMEOUT_S,
    Act,
    Call,
    Hangs,
    Participant,
    Resets,
    Says,
    Script,
    in_turn,
)
from tests.support.travel import CLOSED_PORT, COMPENSATED, COMPLETED, FAILED, FERRY, TRAVEL, Agency


@pytest.fixture(scope="module")
def kept_agency(kept_database_url: str) -> Iterator[Agency]:
    """The engine and its participants, for all tests of this module."""
    with ExitStack() as stack:
        hotel, airline = stack.enter_context(Participant()), stack.enter_context(Participant())
        urls = {"hotel": hotel.url, "airline": airline.url, "company": f"http://127.0.0.1:{CLOSED_PORT}"}
        yield Agency(opened(stack, kept_database_url, TRAVEL, participants=urls), hotel, airline)


@pytest.fixture
def agency(kept_agency: Agency) -> Agency:
    """The engine and its participants, which have forgotten the last test."""
    kept_agency.hotel.forget()
    kept_agency.airline.forget()
    return kept_agency


# ── What a call carries ──────────────────────────────────────────────────────────────────────────────────


def assert_key(call: Call) -> None:
    """The call's key is a UUID of version 5, in its canonical form."""
    assert str(UUID(call.key)) == call.key
    assert UUID(call.key).version == 5


def test_every_call_of_the_demo_saga_carries_key_saga_and_step(open_node: OpenNode) -> None:
    """Four actions and three compensations, each with the saga's id, its step, and a key of its own."""
    calls: list[Call] = []
    client = (served := open_node()).client

    def listening(environ: dict[str, Any], start_response: Any) -> Any:
        headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        calls.append(Call(environ["REQUEST_METHOD"], environ["PATH_INFO"], headers, b""))
        return served.app.wsgi_app(environ, start_response)

    served.node.answer_calls_with(listening)
    body = body_of(client.post(EXECUTE, json={"name": "x", "fail_at_step": "ticket"}), 409)

    assert [(call.method, call.headers["x-saga-step"]) for call in calls] == [
        *(("POST", step) for step in STEPS),
        *(("DELETE", step) for step in reversed(STEPS[:3])),
    ]
    assert {call.headers["x-saga-id"] for call in calls} == {body["transaction_id"]}
    assert len({call.key for call in calls}) == 7
    for call in calls:
        assert_key(call)


def test_every_attempt_of_a_step_carries_the_same_key(agency: Agency) -> None:
    """Tried twice forward and twice back: two keys, one for each direction; the rollback names the action's."""
    agency.book(lambda _: Says(500), in_turn(Says(503), Says()))

    assert agency.asked == ["POST", "POST", "DELETE", "DELETE"]
    forward, back = agency.airline.calls[:2], agency.airline.calls[2:]
    assert forward[0].key == forward[1].key
    assert back[0].key == back[1].key
    assert forward[0].key != back[0].key
    assert {call.path for call in back} == {f"/flight/{forward[0].key}"}
    for call in agency.airline.calls:
        assert_key(call)
        assert (call.headers["x-saga-id"], call.headers["x-saga-step"]) == (agency.last, "flight")


def test_two_sagas_share_no_key(agency: Agency) -> None:
    """Keys are of saga, step and direction."""
    keys = set()
    for _ in range(2):
        agency.book(lambda _: Says())
        keys |= {call.key for call in (*agency.hotel.calls, *agency.airline.calls)}
    assert len(keys) == 4


def test_a_body_is_sent_as_json_and_none_is_none(agency: Agency) -> None:
    """The content type says what the bytes are; a request without a body has no content type."""
    agency.book(lambda _: Says())
    (flight,), (hotel,) = agency.airline.calls, agency.hotel.calls
    assert (flight.headers["content-type"], flight.body) == ("application/json", b'{"seat":"12A"}')
    assert "content-type" not in hotel.headers
    assert hotel.body == b""


# ── 2xx: done ────────────────────────────────────────────────────────────────────────────────────────────

DONE = ["StepStarted flight 1", "StepCompleted flight", "SagaCompleted"]


def test_any_2xx_is_done_and_the_saga_goes_on(agency: Agency) -> None:
    """Called once, and its JSON is the step's result."""
    for status in (200, 201, 202, 203):
        result = agency.book(in_turn(Says(status, {"seat": status})))
        assert (result.status, result.results["flight"]) == (COMPLETED, {"seat": status})
        assert agency.asked == ["POST"]
        assert agency.story == DONE


def test_a_2xx_without_content_is_done_with_no_result(agency: Agency) -> None:
    """204, and an empty 200."""
    for empty in (Says(204), Says(200, b"")):
        result = agency.book(in_turn(empty))
        assert (result.status, result.results["flight"]) == (COMPLETED, None)
        assert agency.story == DONE


# ── 4xx: refused for good ────────────────────────────────────────────────────────────────────────────────


def test_any_other_4xx_is_refused_for_good_and_the_saga_compensates(agency: Agency) -> None:
    """Called once and never undone, since nothing was done; what was done before it is undone."""
    for status in (400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 418, 422, 451):
        result = agency.book(in_turn(Says(status, {"detail": "no seats"})))
        assert (result.status, result.failed_step) == (COMPENSATED, "flight"), status
        assert agency.asked == ["POST"], status
        assert [call.method for call in agency.hotel.calls] == ["POST", "DELETE"]
        assert agency.story == [
            "StepStarted flight 1",
            "StepFailed flight 1 rejected",
            "SagaAborted flight",
            "CompensationStarted hotel 1",
            "CompensationCompleted hotel",
            "SagaCompensated",
        ], status
        assert str(result.error).startswith(f"HTTP {status}: no seats")


# ── 408, 425, 429, refused: not now ──────────────────────────────────────────────────────────────────────

NOT_NOW_FOR_EVER = [
    "StepStarted {0} 1",
    "StepFailed {0} 1 unavailable",
    "StepStarted {0} 2",
    "StepFailed {0} 2 unavailable",
    "SagaAborted {0}",
    "CompensationStarted hotel 1",
    "CompensationCompleted hotel",
    "SagaCompensated",
]


@pytest.mark.parametrize("status", [408, 425, 429])
def test_not_now_is_tried_again(agency: Agency, status: int) -> None:
    """The second attempt is taken, and the saga goes on."""
    result = agency.book(in_turn(Says(status), Says(200, {"seat": "12A"})))

    assert result.status is COMPLETED
    assert agency.asked == ["POST", "POST"]
    assert agency.story == [
        "StepStarted flight 1",
        "StepFailed flight 1 unavailable",
        "StepStarted flight 2",
        "StepCompleted flight",
        "SagaCompleted",
    ]


@pytest.mark.parametrize("status", [408, 425, 429])
def test_not_now_for_ever_is_compensated_without_undoing_the_step_itself(agency: Agency, status: int) -> None:
    """When attempts run out nothing was done: only the steps before it are undone."""
    result = agency.book(lambda _: Says(status))

    assert (result.status, result.failed_step) == (COMPENSATED, "flight")
    assert agency.asked == ["POST", "POST"]
    assert agency.story == [line.format("flight") for line in NOT_NOW_FOR_EVER]


@pytest.mark.parametrize("status", [408, 425, 429])
def test_retry_after_in_seconds_is_honoured(agency: Agency, status: int) -> None:
    """The next attempt comes no sooner, though our own back-off is far shorter; the log says when."""
    result = agency.book(in_turn(Says(status, headers={"Retry-After": "1"}), Says()))

    assert result.status is COMPLETED
    first, second = agency.airline.calls
    assert second.at - first.at >= 1.0
    (failed,) = [event for event in agency.events if event["type"] == "StepFailed"]
    waits = datetime.fromisoformat(failed["data"]["retry_at"]) - datetime.fromisoformat(failed["recorded_at"])
    assert waits == timedelta(seconds=1)


def test_retry_after_as_a_date_is_honoured(agency: Agency) -> None:
    """RFC 9110, 10.2.3: a date instead of seconds."""
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    agency.book(in_turn(Says(429, headers={"Retry-After": format_datetime(due, usegmt=True)}), Says()))

    (failed,) = [event for event in agency.events if event["type"] == "StepFailed"]
    assert abs(datetime.fromisoformat(failed["data"]["retry_at"]) - due) < timedelta(milliseconds=100)


def test_a_retry_after_that_cannot_be_read_is_passed_over(agency: Agency) -> None:
    """Our own back-off holds then."""
    for header in ("soon", "-5", "", "nan"):
        result = agency.book(in_turn(Says(429, headers={"Retry-After": header}), Says()))
        assert (result.status, agency.asked) == (COMPLETED, ["POST", "POST"]), header


def test_a_refused_connection_is_not_now(agency: Agency) -> None:
    """Nobody listens, attempts run out: the steps before it are undone, and only they."""
    result = agency.book(lambda _: Says(), saga=FERRY)

    assert (result.status, result.failed_step) == (COMPENSATED, "crossing")
    failures = [event["data"]["failure"] for event in agency.events if event["type"] == "StepFailed"]
    assert failures == ["unavailable"] * 3
    undone = [event["data"]["step"] for event in agency.events if event["type"] == "CompensationStarted"]
    assert undone == ["hotel"]


def test_a_participant_that_comes_up_late_is_reached_by_a_retry(agency: Agency) -> None:
    """The first attempt is refused, a later one is answered, the saga completes."""
    agency.last = f"ferry-{uuid4()}"
    handle = agency.served.node.engine.start(FERRY, {}, saga_id=agency.last)
    wait_for_event(agency, "StepFailed")
    with Participant(port=CLOSED_PORT) as company:
        assert handle.result(timeout=TIMEOUT_S).status is COMPLETED
        assert [call.method for call in company.calls] == ["POST"]


def wait_for_event(agency: Agency, type_: str) -> None:
    """Ask for the saga's events until one of the type is there."""
    deadline = datetime.now(UTC) + timedelta(seconds=TIMEOUT_S)
    while not any(event["type"] == type_ for event in agency.events):
        assert datetime.now(UTC) < deadline, f"no {type_} came"


# ── 5xx, time-out, lost, unreadable: unknown ─────────────────────────────────────────────────────────────

UNKNOWN: dict[str, Act] = {
    "500": Says(500),
    "502": Says(502, b"<html>Bad Gateway</html>"),
    "503": Says(503, headers={"Retry-After": "0"}),
    "504": Says(504),
    "a reset connection": Resets(),
    "an answer cut off": Says(200, b'{"seat": ', length=500),
    "no JSON": Says(200, b"<html>Welcome to our airport</html>"),
    "garbled JSON": Says(201, b'{"seat": "12A"'),
    "no Unicode": Says(200, b'{"seat": "\xff"}'),
    "too long an answer": Says(200, b'"' + b"x" * 1_100_000 + b'"'),
}


@pytest.mark.parametrize("act", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_an_unknown_outcome_is_tried_again_with_the_same_key(agency: Agency, act: Act) -> None:
    """It may have happened: the participant tells by the key, and the saga goes on."""
    result = agency.book(in_turn(act, Says(200, {"seat": "12A"})))

    assert (result.status, result.results["flight"]) == (COMPLETED, {"seat": "12A"})
    first, second = agency.airline.calls
    assert first.key == second.key
    assert agency.story == [
        "StepStarted flight 1",
        "StepFailed flight 1 unknown",
        "StepStarted flight 2",
        "StepCompleted flight",
        "SagaCompleted",
    ]


UNKNOWN_FOR_EVER = [
    "StepStarted flight 1",
    "StepFailed flight 1 unknown",
    "StepStarted flight 2",
    "StepFailed flight 2 unknown",
    "SagaAborted flight",
    "CompensationStarted flight 1",
    "CompensationCompleted flight",
    "CompensationStarted hotel 1",
    "CompensationCompleted hotel",
    "SagaCompensated",
]


@pytest.mark.parametrize("act", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_an_outcome_unknown_for_ever_is_compensated_too(agency: Agency, act: Act) -> None:
    """When attempts run out the step itself is undone, before those it came after."""
    result = agency.book(lambda _: act)

    assert (result.status, result.failed_step) == (COMPENSATED, "flight")
    assert agency.asked == ["POST", "POST", "DELETE"]
    assert agency.story == UNKNOWN_FOR_EVER


def test_a_participant_slower_than_the_time_out_is_an_unknown_outcome(agency: Agency) -> None:
    """The step has half a second: each attempt is given up then, and in the end the step is undone."""
    result = agency.book(lambda _: Hangs())

    assert result.status is COMPENSATED
    assert agency.asked == ["POST", "POST", "DELETE"]
    assert agency.story == UNKNOWN_FOR_EVER
    assert "0.5 s" in str(result.error)


def test_a_slow_answer_that_comes_after_the_second_attempt_changes_nothing(agency: Agency) -> None:
    """The first attempt's late answer is no second outcome."""
    slow = Hangs()
    result = agency.book(in_turn(slow, Says(200, {"seat": "12A"})))
    slow.then.set()

    assert result.status is COMPLETED
    assert [line for line in agency.story if line.startswith("StepCompleted")] == ["StepCompleted flight"]


def test_what_an_unreachable_or_failing_answer_said_stands_in_the_log(agency: Agency) -> None:
    """A person reads there why: the status and the detail of the problem document."""
    result = agency.book(lambda _: Says(500, {"detail": "the printer is on fire"}))
    assert result.error == "HTTP 500: the printer is on fire"


# ── The same for rollbacks ───────────────────────────────────────────────────────────────────────────────


def fail_at_the_end(agency: Agency, undo: Script) -> SagaResult:
    """The flight's outcome stays unknown, so that it is undone, which is answered so."""
    return agency.book(lambda _: Says(500), undo)


@pytest.mark.parametrize("act", [*UNKNOWN.values(), Says(429), Says(408)], ids=[*UNKNOWN.keys(), "429", "408"])
def test_a_rollback_without_a_clear_answer_is_tried_again(agency: Agency, act: Act) -> None:
    """The same key, until it is done; then the others are undone."""
    result = fail_at_the_end(agency, in_turn(act, Says()))

    assert result.status is COMPENSATED
    assert agency.asked == ["POST", "POST", "DELETE", "DELETE"]
    assert len({call.key for call in agency.airline.calls[2:]}) == 1
    assert [call.method for call in agency.hotel.calls] == ["POST", "DELETE"]


@pytest.mark.parametrize("status", [404, 409, 422])
def test_a_refused_rollback_needs_a_person_and_the_reason_says_which(agency: Agency, status: int) -> None:
    """It is not tried again; the saga is FAILED, never silently stuck."""
    result = fail_at_the_end(agency, lambda _: Says(status, {"detail": "already flown"}))

    assert result.status is FAILED
    assert agency.asked == ["POST", "POST", "DELETE"]
    assert "flight" in str(result.error)
    assert "already flown" in str(result.error)
    assert agency.story[-2:] == ["CompensationFailed flight 1 rejected", "SagaFailed"]


def test_a_rollback_unknown_for_ever_needs_a_person(agency: Agency) -> None:
    """Attempts run out: FAILED, with the number of attempts in the reason."""
    result = fail_at_the_end(agency, lambda _: Resets())

    assert result.status is FAILED
    assert "2 of 2" in str(result.error)
    assert agency.asked == ["POST", "POST", "DELETE", "DELETE"]
