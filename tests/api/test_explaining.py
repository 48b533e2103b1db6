"""`GET /api/saga/{id}/explain`: why a saga is not moving, with what this process knows of workers and code."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from saga_es import App, Participant, RetryPolicy, Saga, StepContext, StepUnavailable
from saga_es.runtime.calls import away
from saga_es.runtime.calls.away import AWAY_AFTER
from tests.api.conftest import OpenNode, Served
from tests.api.test_execute import body_of
from tests.api.test_problems import assert_problem
from tests.api.test_saga_reading import UNKNOWN
from tests.conftest import TIMEOUT_S
from tests.support.journeys_served import (
    BY_ANN,
    app_of,
    at_step,
    begin,
    begun,
    child_of,
    is_now,
    journey,
    outing,
    stuck,
    when,
)
from tests.support.participants import Call, Says
from tests.support.participants import Participant as Server
from tests.support.trips import until


@pytest.fixture
def served(open_node: OpenNode) -> Served:
    """A node that knows journeys."""
    return open_node(app_of(journey()))


def explanation(served: Served, saga_id: str) -> dict[str, Any]:
    return body_of(served.client.get(f"/api/saga/{saga_id}/explain"), 200)


def test_a_saga_that_waits_says_for_what(served: Served) -> None:
    """One sentence, the status, and the reasons it is made of."""
    saga_id = begun(served)
    assert explanation(served, saga_id) == {
        "transaction_id": saga_id,
        "status": "IN_PROGRESS",
        "sentence": "The saga waits for the signal 'approval' for as long as it takes.",
        "reasons": ["waits for the signal 'approval' for as long as it takes"],
    }


def test_a_saga_that_is_tried_again_later_says_when_and_why(served: Served) -> None:
    """With the number of the attempt."""
    saga_id = begin(served, busy=True)
    when(served.client, saga_id, lambda story: story["steps"][0]["retry_at"] is not None)
    sentence = explanation(served, saga_id)["sentence"]
    assert re.fullmatch(
        r"The saga tries step 'seat' again at \S+ \S+Z \(retry 2 of 3\), because \S*nobody answers\.", sentence
    )


def test_a_saga_that_is_paused_says_by_whom(served: Served) -> None:
    """And why."""
    saga_id = begun(served)
    body_of(served.client.post(f"/api/saga/{saga_id}/orders/pause", json=BY_ANN), 200)
    (reason,) = explanation(served, saga_id)["reasons"]
    assert re.fullmatch(r"has been paused by ann since \S+ \S+Z: she says so", reason)


def test_a_saga_that_needs_a_person_says_which_commands_can_help(served: Served) -> None:
    """Ready to be given."""
    (reason,) = explanation(served, stuck(served))["reasons"]
    assert reason.endswith("; what can help: retry, skip seat, replace-input seat, resolve")
    assert "it is sold" in reason


def test_a_saga_that_has_ended_says_how(served: Served) -> None:
    """Completed, here."""
    saga_id = begun(served)
    body_of(served.client.post(f"/api/saga/{saga_id}/signals/approval", json="yes"), 202)
    when(served.client, saga_id, is_now("COMPLETED"))
    assert "has ended COMPLETED" in explanation(served, saga_id)["sentence"]


def test_a_saga_whose_worker_is_gone_says_so(served: Served, open_node: OpenNode) -> None:
    """Nobody who knows the definition is left; what it waits for is told, too."""
    saga_id = begun(served)
    owner = when(served.client, saga_id, lambda _: True)["owner"]
    served.node.close()
    heir = open_node(app_of())
    first, second = explanation(heir, saga_id)["reasons"]
    assert first.startswith(
        f"is owned by {owner}, which is gone, and waits for a worker that has saga 'journey' of plan"
    )
    assert first.endswith("; living: 1 worker without saga 'journey'")
    assert second.startswith("waits for the signal 'approval'")


def test_a_saga_whose_code_is_gone_says_which(served: Served, open_node: OpenNode) -> None:
    """It waits for a worker that has the code, and the living workers are told."""
    saga_id = begun(served)
    served.node.close()
    changed = Saga("journey")
    changed.wait_for("approval", timeout_s=None)
    heir = open_node(app_of(changed))
    reasons = explanation(heir, saga_id)["reasons"]
    state = heir.node.store.sagas.find(saga_id)
    assert state is not None
    wanted = f"of plan {state.plan_id}; living: 1 worker with {changed.plan_id}"
    assert reasons[0].endswith(wanted)
    assert "which is gone, and waits for a worker that has step 'letter'" in reasons[0]
    assert reasons[1].startswith("waits for the signal 'approval'")


def test_a_saga_that_runs_another_says_what_that_one_waits_for(open_node: OpenNode) -> None:
    """So nobody has to ask twice."""
    inner = journey()
    served = open_node(app_of(outing(inner)))
    saga_id = begin(served, "outing", guests=[])
    child = child_of(served.client, saga_id)
    when(served.client, child, at_step("approval"))
    (reason,) = explanation(served, saga_id)["reasons"]
    waits = "waits for the signal 'approval' for as long as it takes"
    assert reason == f"runs saga 'journey' for step 'journey': {child}, which {waits}"


@pytest.mark.parametrize("id_", [UNKNOWN, "x" * 65, "%00"])
def test_a_saga_that_there_is_not_is_a_404(served: Served, id_: str) -> None:
    """Whatever the id looks like."""
    assert_problem(served.client.get(f"/api/saga/{id_}/explain"), 404)


def test_how_far_a_running_step_is_stands_in_its_saga_and_in_the_explanation(open_node: OpenNode) -> None:
    """While it runs, and afterwards in its saga alone."""
    saga, gate = Saga("import"), threading.Event()

    @saga.step(compensation=None, timeout_s=600)
    def load(context: StepContext) -> None:
        context.progress({"rows": 7})
        gate.wait(TIMEOUT_S)

    served = open_node(App(sagas=[saga]))
    handle = served.node.engine.start(saga)

    def last_progress() -> Any:
        told = served.client.get(f"/api/saga/status/{handle.saga_id}").get_json()
        return told["steps"][0]["last_progress"]

    until(last_progress)
    found = last_progress()
    assert found == {"at": found["at"], "direction": "action", "attempt": 1, "details": {"rows": 7}}
    (reason,) = explanation(served, handle.saga_id)["reasons"]
    assert reason.endswith('that it goes on: {"rows":7}; its time-out is 600 s after it last says so')
    gate.set()
    assert handle.result(TIMEOUT_S).completed
    assert last_progress() == found


def test_a_saga_whose_call_is_held_back_says_who_is_away(open_node: OpenNode) -> None:
    """For how long, when the next call tries, and why the last attempt failed; whether a retry or a first call."""
    tour = Saga("tour")

    @tour.step(compensation=None)
    def hall() -> None:
        raise StepUnavailable("the hall is closed")

    served = open_node(App(sagas=[tour]))
    engine = served.node.engine
    ids = [engine.start(tour).saga_id for _ in range(3 * AWAY_AFTER)]
    until(lambda: engine.worker.absence(ids[-1], "hall"))
    pattern = (
        r"waits with step 'hall': step 'tour/hall' has been away for \d+ s, and the next call tries in \d+ s"
        r"( \(the last attempt failed: .*the hall is closed\))?"
    )
    until(lambda: re.fullmatch(pattern, explanation(served, ids[-1])["reasons"][0]))


def test_a_saga_that_is_not_begun_because_many_wait_already_says_for_whom(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is PENDING; what it waits for is a worker that has capacity, and this one says why it has none."""
    monkeypatch.setattr(away, "MOST_HELD", AWAY_AFTER)
    tour = Saga("tour")

    @tour.step(compensation=None, retry=RetryPolicy(attempts=20))
    def hall() -> None:
        raise StepUnavailable("the hall is closed")

    served = open_node(App(sagas=[tour]))
    engine = served.node.engine
    for _ in range(6 * AWAY_AFTER):
        engine.start(tour)
    until(lambda: engine.worker.absence_for("tour"))
    assert re.fullmatch(
        r"The saga waits for a worker that knows 'tour' and has capacity: here many like it wait already, "
        r"because step 'tour/hall' has been away for \d+ s\.",
        explanation(served, engine.start(tour).saga_id)["sentence"],
    )


SHORT = {
    "sagas_at_once": r"here 1 sagas have a call in flight, and --sagas-at-once is 1",
    "at_once": r"here 1 sagas of 'hold' have a call in flight, and at_once of it is 1",
    "call_threads": r"here \d+ calls of 'hold' wait for their turn, and --call-threads is 1",
    "payload_memory_mb": r"here [\d.]+ MB of inputs .* in memory; from 0\.9 MB on none begins .--payload-memory-mb.",
}


@pytest.mark.parametrize("limit", SHORT)
def test_a_saga_that_waits_for_capacity_says_of_what_there_is_too_little(open_node: OpenNode, limit: str) -> None:
    """How much there is, how much there may be, and which setting says so."""
    saga, gate = Saga("hold", at_once=1 if limit == "at_once" else None), threading.Event()

    @saga.step(compensation=None, timeout_s=600)
    def act() -> None:
        gate.wait(TIMEOUT_S)

    served = open_node(App(sagas=[saga]), **({} if limit == "at_once" else {limit: 1}))
    engine, large = served.node.engine, {"text": "x" * 500_000} if limit == "payload_memory_mb" else {}
    handles = [engine.start(saga, large) for _ in range(20 if limit == "call_threads" else 3)]
    until(lambda: engine.worker.shortage("hold"))
    handles.append(engine.start(saga, large))
    sentence = explanation(served, handles[-1].saga_id)["sentence"]
    assert re.fullmatch(
        rf"The saga waits for a worker that knows 'hold' and has capacity: {SHORT[limit]}\.", sentence
    ), sentence
    gate.set()
    assert all(handle.result(TIMEOUT_S).completed for handle in handles)


def test_a_saga_whose_call_waits_for_a_thread_says_how_many_do(open_node: OpenNode) -> None:
    """From the moment on at which it waits: its time-out does not run yet."""
    saga, gate = Saga("hold"), threading.Event()

    @saga.step(compensation=None, timeout_s=600)
    def act() -> None:
        gate.wait(TIMEOUT_S)

    served = open_node(App(sagas=[saga]), call_threads=1)
    handles = [served.node.engine.start(saga) for _ in range(3)]
    until(lambda: served.node.engine.worker.queue_of(handles[-1].saga_id, "act"))
    (reason,) = explanation(served, handles[-1].saga_id)["reasons"]
    assert re.fullmatch(
        r"has waited since .*Z for its turn to call step 'act' \(attempt 1\): "
        r"here 2 calls of 'hold' wait for their turn, and --call-threads is 1",
        reason,
    ), reason
    (reason,) = explanation(served, handles[0].saga_id)["reasons"]
    assert reason.startswith("waits for the answer of step 'act'")
    gate.set()
    assert all(handle.result(TIMEOUT_S).completed for handle in handles)


def test_a_saga_whose_call_waits_for_its_turn_at_a_participant_says_what_it_bears(open_node: OpenNode) -> None:
    """The limits are those of the participant, and the waiting call has not begun."""
    saga, bank, answered = Saga("pay"), Participant("bank"), threading.Event()
    saga.request("act", bank.post("/pays"), compensation=None, timeout_s=600)

    def script(_: Call) -> Says:
        answered.wait(TIMEOUT_S)
        return Says()

    with Server(script) as there:
        served = open_node(
            App(sagas=[saga]), participants={"bank": there.url}, limits={"bank": {"calls": 1, "rate": 100}}
        )
        handles = [served.node.engine.start(saga) for _ in range(3)]
        until(lambda: served.node.engine.worker.queue_of(handles[-1].saga_id, "act"))
        there.wait_for_calls(1)
        (reason,) = explanation(served, handles[-1].saga_id)["reasons"]
        assert re.fullmatch(
            r"has waited since .*Z for its turn to call step 'act' \(attempt 1\): here 2 calls wait for their turn "
            r"at participant 'bank', which gets at most 1 at once and 100 a second",
            reason,
        ), reason
        answered.set()
        assert all(handle.result(TIMEOUT_S).completed for handle in handles)
