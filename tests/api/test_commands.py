"""Orders over HTTP: what people may ask of a saga, what comes of it, and when it is refused."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from saga_es import Saga
from saga_es.api import execute
from tests.api.conftest import OpenNode, Served
from tests.api.test_execute import EXECUTE, body_of
from tests.api.test_problems import assert_problem
from tests.api.test_saga_reading import UNKNOWN
from tests.support.journeys_served import BY_ANN, app_of, at_step, begin, begun, is_now, journey, stuck, when
from tests.support.participants import Hangs, Participant

COMMANDS: dict[str, dict[str, Any]] = {
    "cancel": {},
    "pause": {},
    "resume": {},
    "retry": {},
    "skip": {"step": "seat"},
    "replace-input": {"step": "seat", "input": {}},
    "fail": {},
    "resolve": {},
}


@pytest.fixture
def served(open_node: OpenNode) -> Served:
    """A node that knows journeys."""
    return open_node(app_of(journey()))


def order(served: Served, saga_id: str, name: str, **about: Any) -> dict[str, Any]:
    """The saga's status after an order that it follows."""
    return body_of(served.client.post(f"/api/saga/{saga_id}/{name}", json={**BY_ANN, **about}), 200)


def events_of(served: Served, saga_id: str) -> list[str]:
    found = body_of(served.client.get(f"/api/saga/{saga_id}/events"), 200)["events"]
    return [event["type"] for event in found]


# ── What comes of an order ───────────────────────────────────────────────────────────────────────────────


def test_a_saga_that_is_cancelled_is_compensated(served: Served) -> None:
    """Who cancelled it, and why, stands in its error; nothing failed."""
    saga_id = begun(served)
    assert order(served, saga_id, "cancel")["status"] in {"COMPENSATING", "COMPENSATED"}
    ended = when(served.client, saga_id, is_now("COMPENSATED"))
    assert (ended["error"], ended["failed_step"]) == ("cancelled by ann: she says so", None)
    assert [step["status"] for step in ended["steps"]] == ["COMPENSATED", "FAILED", "PENDING"]


def test_a_saga_that_is_paused_begins_nothing_until_it_is_resumed(served: Served) -> None:
    """The signal that comes meanwhile is kept."""
    saga_id = begun(served)
    paused = order(served, saga_id, "pause")
    assert paused["paused"] is True
    assert paused["pause"].items() >= BY_ANN.items()
    assert served.client.post(f"/api/saga/{saga_id}/signals/approval", json="yes").status_code == 202
    assert when(served.client, saga_id, lambda _: True)["status"] == "IN_PROGRESS"
    assert events_of(served, saga_id)[-2:] == ["SagaPaused", "SignalReceived"]
    order(served, saga_id, "resume")
    ended = when(served.client, saga_id, is_now("COMPLETED"))
    assert (ended["paused"], ended["pause"]) == (False, None)


def test_what_would_be_tried_again_in_an_hour_is_tried_now(served: Served) -> None:
    """The order takes the place of the wait."""
    saga_id = begin(served, busy=True)
    waiting = when(served.client, saga_id, lambda story: story["steps"][0]["retry_at"] is not None)
    assert waiting["steps"][0]["attempts"] == 1
    order(served, saga_id, "retry")
    assert when(served.client, saga_id, at_step("approval"))["steps"][0]["attempts"] == 2


def test_a_step_that_stands_in_the_way_is_skipped(served: Served) -> None:
    """The seat is taken for freed, the story says by whom, and the saga ends."""
    saga_id = stuck(served)
    order(served, saga_id, "skip", step="seat")
    ended = when(served.client, saga_id, is_now("COMPENSATED"))
    assert ended["steps"][0]["skip"].items() >= BY_ANN.items()


def test_a_step_gets_another_input_and_is_tried_again(served: Served) -> None:
    """With it, the seat can be freed; the saga's own input stays as it was."""
    saga_id = stuck(served)
    order(served, saga_id, "replace-input", step="seat", input={"sold": False, "note": None})
    ended = when(served.client, saga_id, is_now("COMPENSATED"))
    assert ended["input"] == {"sold": True}
    assert ended["steps"][0]["compensation_attempts"] == 2


def test_a_failed_saga_is_tried_again(served: Served) -> None:
    """In vain, as it is: the seat is still sold."""
    saga_id = stuck(served)
    order(served, saga_id, "retry")
    when(served.client, saga_id, lambda story: story["steps"][0]["compensation_attempts"] == 2)
    when(served.client, saga_id, is_now("FAILED"))


@pytest.mark.parametrize(("status", "ends"), [(None, "COMPENSATED"), ("COMPLETED", "COMPLETED")])
def test_a_failed_saga_is_resolved_by_hand(served: Served, status: str | None, ends: str) -> None:
    """As what the person says, or else as where it was going."""
    saga_id = stuck(served)
    about = {} if status is None else {"status": status}
    assert order(served, saga_id, "resolve", **about)["status"] == ends
    assert events_of(served, saga_id)[-1] == "SagaResolved"


def test_a_command_reaches_the_worker_that_runs_the_saga(served: Served, open_node: OpenNode) -> None:
    """It may be given to any process on the same database, also to one that does not know the saga."""
    saga_id = begun(served)
    stranger = open_node(app_of())
    order(stranger, saga_id, "cancel")
    assert when(stranger.client, saga_id, is_now("COMPENSATED"))["owner"] == served.node.engine._worker.worker_id


# ── The preview of a cancel ──────────────────────────────────────────────────────────────────────────────


def test_a_preview_tells_what_a_cancel_would_compensate_and_changes_nothing(served: Served) -> None:
    """Only the seat: nothing else was done, and a signal cannot be undone."""
    saga_id = begun(served)
    before = events_of(served, saga_id)
    body = body_of(served.client.get(f"/api/saga/{saga_id}/cancel"), 200)
    assert body == {
        "transaction_id": saga_id,
        "would_compensate": [{"step": "seat", "title": "The seat", "why": "done"}],
    }
    assert events_of(served, saga_id) == before


def test_there_is_no_preview_of_a_cancel_that_would_be_refused(served: Served) -> None:
    """The answer says why, as that of the cancel would."""
    saga_id = stuck(served)
    response = served.client.get(f"/api/saga/{saga_id}/cancel")
    assert_problem(response, 409)
    assert "it has ended: FAILED" in response.get_json()["detail"]


def test_a_saga_that_is_given_up_is_failed_until_a_person_decides(served: Served) -> None:
    """Nothing is undone; a retry takes it up again where it stood."""
    saga_id = begun(served)
    failed = order(served, saga_id, "fail")
    assert (failed["status"], failed["error"]) == ("FAILED", "given up by ann: she says so")
    assert [step["status"] for step in failed["steps"]] == ["COMPLETED", "IN_PROGRESS", "PENDING"]
    assert_problem(served.client.post(f"/api/saga/{saga_id}/fail", json=BY_ANN), 409)
    order(served, saga_id, "retry")
    served.client.post(f"/api/saga/{saga_id}/signals/approval", json="fine")
    when(served.client, saga_id, is_now("COMPLETED"))


# ── Orders that are refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("resume", "it is not paused"),
        ("retry", "none of its steps waits for a retry"),
        ("skip", "this is for a saga that is FAILED"),
        ("replace-input", "this is for a saga that is FAILED"),
        ("resolve", "this is for a saga that is FAILED"),
    ],
)
def test_a_command_that_a_saga_cannot_follow_is_a_409_that_says_why(served: Served, name: str, why: str) -> None:
    """Nothing of it is recorded."""
    saga_id = begun(served)
    before = events_of(served, saga_id)
    response = served.client.post(f"/api/saga/{saga_id}/{name}", json={**BY_ANN, **COMMANDS[name]})
    assert_problem(response, 409)
    assert why in response.get_json()["detail"]
    assert events_of(served, saga_id) == before


def test_a_step_that_does_not_stand_in_the_way_cannot_be_skipped(served: Served) -> None:
    """The answer names the one that does."""
    saga_id = stuck(served)
    for step in ("letter", "hotel", "seat[0]", "["):
        response = served.client.post(f"/api/saga/{saga_id}/skip", json={**BY_ANN, "step": step})
        assert_problem(response, 409)
        assert "it is blocked by: seat" in response.get_json()["detail"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_names_who_gives_it_and_why(served: Served, name: str) -> None:
    """Neither may be empty, blank, too long, no text, or hold what no database stores; only who may be left out."""
    saga_id = begun(served)
    about = {**BY_ANN, **COMMANDS[name]}
    for member in about.keys() - {"actor"}:
        response = served.client.post(
            f"/api/saga/{saga_id}/{name}", json={key: value for key, value in about.items() if key != member}
        )
        assert list(body_of(response, 422)["errors"]) == [member]
    for member in ("actor", "reason"):
        for bad in ("", " \t", "x" * 2001, "a\0b", 7, None, ["ann"]):
            response = served.client.post(f"/api/saga/{saga_id}/{name}", json={**about, member: bad})
            assert_problem(response, 422)
    response = served.client.post(f"/api/saga/{saga_id}/{name}", json={**about, "urgent": True})
    assert list(body_of(response, 422)["errors"]) == ["urgent"]
    assert len(events_of(served, saga_id)) == 4, "nothing was recorded"


def test_the_longer_paths_stay_and_who_is_not_named_is_anonymous(served: Served) -> None:
    """`/orders/` is an alias; the log says that nobody was named."""
    saga_id = begun(served)
    body_of(served.client.post(f"/api/saga/{saga_id}/orders/pause", json={"reason": "stocktaking"}), 200)
    events = body_of(served.client.get(f"/api/saga/{saga_id}/events"), 200)["events"]
    assert events[-1]["data"] == {"actor": "anonymous", "reason": "stocktaking"}
    preview = body_of(served.client.get(f"/api/saga/{saga_id}/cancel"), 200)
    assert preview == body_of(served.client.get(f"/api/saga/{saga_id}/orders/cancel"), 200)


@pytest.mark.parametrize("id_", [UNKNOWN, "x" * 65, "%00", "%F0%9F%8E%BB"])
def test_a_saga_that_there_is_not_is_a_404(served: Served, id_: str) -> None:
    """For every order, for the preview, and for any id."""
    for name, about in COMMANDS.items():
        assert_problem(served.client.post(f"/api/saga/{id_}/{name}", json={**BY_ANN, **about}), 404)
    assert_problem(served.client.get(f"/api/saga/{id_}/cancel"), 404)


def test_a_command_that_there_is_not_is_a_404(served: Served) -> None:
    """And only a cancel has a preview."""
    saga_id = begun(served)
    assert_problem(served.client.post(f"/api/saga/{saga_id}/dance", json=BY_ANN), 404)
    assert_problem(served.client.get(f"/api/saga/{saga_id}/pause"), 405)


# ── What execute answers of a saga that aborted although no step failed ─────────────────────────────


def test_execute_tells_that_the_saga_was_cancelled(open_node: OpenNode) -> None:
    """A 409 like any other that is rolled back; no step is named, the person is."""
    answered = threading.Event()
    with Participant() as venue:
        venue.script = lambda _: Hangs(answered)
        served = open_node(participants={"venue": venue.url})
        headers = {"Idempotency-Key": "k"}
        accepted = served.client.post(EXECUTE, json={"name": "A"}, headers={**headers, "Prefer": "respond-async"})
        venue.wait_for_calls(1)
        order(served, body_of(accepted, 202)["transaction_id"], "cancel")
        answered.set()
        body = body_of(served.client.post(EXECUTE, json={"name": "A"}, headers=headers), 409)
    assert (body["success"], body["failed_step"], body["rollback_completed"]) == (False, None, True)
    assert body["error"] == "cancelled by ann: she says so"
    assert body["message"] == "The saga aborted (cancelled by ann: she says so); what was done is undone."


def test_execute_tells_that_the_deadline_passed(open_node: OpenNode) -> None:
    """With its length, and that what was done is undone."""
    saga = Saga("hurry", deadline_s=0.1)
    saga.wait_for("never", timeout_s=None)
    served = open_node(app_of(saga))
    served.app.add_url_rule("/hurry", view_func=lambda: execute(saga, {}), methods=["POST"])
    body = body_of(served.client.post("/hurry", json={}), 409)
    assert body["failed_step"] is None
    assert body["message"] == (
        "The saga aborted (the deadline passed: 0.1 s after the start); what was done is undone."
    )
