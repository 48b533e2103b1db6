"""Sagas whose workers went again and again: tried one by one, so that only the one that kills is counted out."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.runtime.cluster import suspects
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft
from tests.conftest import AT, TIMEOUT_S, OpenEngine, Store
from tests.support.trips import events_of, has_happened, until

SUSPECTS = ("s1", "s2", "s3")


def a_saga(arrived: list[str], gate: threading.Event) -> Saga:
    saga = Saga("careful")

    @saga.step(compensation=None)
    def act(saga_id: str) -> None:
        arrived.append(saga_id)
        gate.wait(TIMEOUT_S)

    return saga


def twice_interrupted(store: Store, saga: Saga, *saga_ids: str) -> None:
    """Sagas whose call was out when their first worker went, and again when the second did."""
    plans = [Draft(id_, PLAN, 0, (event,), AT) for id_, event in store.sagas.unrecorded([saga.plan])]
    past: tuple[Any, ...] = (
        e.SagaStarted(saga.name, saga.plan_id, {}, "w1"),
        e.StepStarted("act", 1),
        e.SagaTakenOver("w2", "w1"),
        e.SagaTakenOver("w3", "w2"),
    )
    store.write(*plans, *(Draft(saga_id, SAGA, 0, past, AT) for saga_id in saga_ids))


def test_suspects_are_tried_one_after_the_other(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """The second is not even taken over, as long as the first has not answered; nobody else waits for them."""
    arrived: list[str] = []
    saga = a_saga(arrived, gate)
    twice_interrupted(store, saga, *SUSPECTS)
    engine = open_engine(saga)
    until(lambda: len(arrived) == 1)
    fresh = engine.start(saga, {}, saga_id="fresh")
    until(lambda: "fresh" in arrived)
    taken = [saga_id for saga_id in SUSPECTS if len(events_of(engine, saga_id)) > 4]
    assert taken == [saga_id for saga_id in arrived if saga_id != "fresh"]
    gate.set()
    assert fresh.result(TIMEOUT_S).completed
    for saga_id in SUSPECTS:
        assert engine.follow(saga_id).result(TIMEOUT_S).status is SagaStatus.COMPLETED
        assert e.StepCompleted("act") in events_of(engine, saga_id)


def test_the_one_that_kills_again_is_failed_and_the_next_is_tried(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """With four takeovers behind it, the fifth is its last; it is not called, and the others go on."""
    arrived: list[str] = []
    saga = a_saga(arrived, gate)
    twice_interrupted(store, saga, *SUSPECTS)
    more = (e.SagaTakenOver("w4", "w3"), e.SagaTakenOver("w5", "w4"))
    store.write(Draft("s1", SAGA, 4, more, AT))
    gate.set()
    engine = open_engine(saga)
    until(lambda: has_happened(engine, "s1", e.SagaFailed))
    assert events_of(engine, "s1")[-1] == e.SagaFailed("5 workers crashed while step 'act' was under way")
    for saga_id in SUSPECTS[1:]:
        assert engine.follow(saga_id).result(TIMEOUT_S).completed
    assert "s1" not in arrived


def test_a_suspect_that_is_paused_holds_nobody_up(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """Nothing of it is called, so nothing is being tried: the next one's turn comes at once."""
    arrived: list[str] = []
    saga = a_saga(arrived, gate)
    twice_interrupted(store, saga, "s1", "s2")
    store.write(Draft("s1", SAGA, 4, (e.SagaPaused("ann", "wait"),), AT))
    gate.set()
    engine = open_engine(saga)
    assert engine.follow("s2").result(TIMEOUT_S).completed
    assert len(events_of(engine, "s1")) == 6, "it was taken over, too"
    assert arrived == ["s2"]


def test_a_suspect_that_does_not_answer_holds_the_others_up_for_a_while_only(
    store: Store, open_engine: OpenEngine, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that lives through a trial is not killed by it, however long the call may take."""
    monkeypatch.setattr(suspects, "TRIAL_S", 0.5)
    arrived: list[str] = []
    saga = a_saga(arrived, gate)
    twice_interrupted(store, saga, *SUSPECTS)
    open_engine(saga)
    until(lambda: set(arrived) == set(SUSPECTS))
    assert not gate.is_set()
