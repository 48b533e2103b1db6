"""Sagas that are steps of other sagas: run, waited for, and undone as a whole, on whichever worker they are."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import pytest

from saga_es.commands import Cancel, Pause, Resolve, Resume, Retry
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import StepRejected, StepUnavailable
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.payments import INPUT, PAID, child_of, order, payment, state_of
from tests.support.trips import Diary, events_of, has_happened, raising, until, worker_of

# ── Forward ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_child_is_a_saga_of_its_own_and_its_results_are_its_steps_result(
    store: Store, open_engine: OpenEngine
) -> None:
    """It gets its parent's input, names its parent, and both have ended COMPLETED."""
    diary = Diary()
    child = payment(diary)
    engine = open_engine(order(child, diary), child)
    handle = engine.start("order", INPUT)
    result = handle.result(TIMEOUT_S)
    assert result.results == {"reserve": "reserved", "pay": PAID, "ship": "shipped"}
    assert diary.names == ["reserve", "charge", "book", "ship"]
    child_id = child_of(engine, handle.saga_id)
    started = events_of(engine, child_id)[0]
    assert started == e.SagaStarted("payment", child.plan_id, INPUT, worker_of(engine), parent=handle.saga_id)
    assert state_of(store, child_id).status is SagaStatus.COMPLETED
    assert engine.follow(child_id).result(TIMEOUT_S).results == PAID


def test_many_children_of_one_step_run_each_on_its_own(open_engine: OpenEngine) -> None:
    """A saga for each element: no two share an id, the results are in order, and so many run at once as may."""
    diary = Diary()
    child = payment(diary)
    engine = open_engine(order(child, diary, over="input[amounts]"), child)
    handle = engine.start("order", {"amounts": [3, 1, 2, 5, 4]})
    assert [one["charge"]["charged"] for one in handle.result(TIMEOUT_S).results["pay"]] == [3, 1, 2, 5, 4]
    children = [event for event in events_of(engine, handle.saga_id) if isinstance(event, e.ChildStarted)]
    assert [event.step for event in children] == [f"pay[{n}]" for n in range(5)]
    assert len({event.saga_id for event in children} | set(diary.keys("charge"))) == 10


def test_a_child_of_a_child_is_run_too(open_engine: OpenEngine) -> None:
    """Three sagas deep, there and back again."""
    diary = Diary()
    inner = payment(diary)

    def is_too_much(input: dict[str, int]) -> bool:  # noqa: A002 (the name a condition asks for)
        return input["n"] > 7

    middle, outer = Saga("middle"), Saga("outer")
    middle.child("pay", inner)
    outer.child("middle", middle)

    @outer.step(compensation=None, when=is_too_much)
    def refuse() -> None:
        raise StepRejected("too much")

    engine = open_engine(outer, middle, inner)
    assert engine.start(outer, INPUT).result(TIMEOUT_S).results == {"middle": {"pay": PAID}}
    assert engine.start(outer, {"n": 8}).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert diary.names == ["charge", "book", "charge", "book", "refund"]


# ── Back ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_child_that_was_compensated_turns_its_parent_round(open_engine: OpenEngine) -> None:
    """It undid itself, so there is nothing to undo of it; what came before it is undone, for the child's reason."""
    diary = Diary()
    child = payment(diary, {"book": raising(StepRejected("no funds"))})
    engine = open_engine(order(child, diary), child)
    result = engine.start("order", INPUT).result(TIMEOUT_S)
    assert (result.status, result.failed_step, result.error) == (SagaStatus.COMPENSATED, "pay", "no funds")
    assert diary.names == ["reserve", "charge", "book", "refund", "release"]


def test_a_child_that_had_completed_is_compensated_when_its_parent_aborts(
    store: Store, open_engine: OpenEngine
) -> None:
    """Long after its end it goes back, whole, before what came earlier; and ends COMPENSATED."""
    diary = Diary()
    child = payment(diary)
    engine = open_engine(order(child, diary, {"ship": raising(StepRejected("no stock"))}), child)
    handle = engine.start("order", INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert diary.names == ["reserve", "charge", "book", "ship", "refund", "release"]
    child_id = child_of(engine, handle.saga_id)
    assert state_of(store, child_id).status is SagaStatus.COMPENSATED
    assert has_happened(engine, child_id, e.SagaReopened)


def test_all_children_of_a_step_are_compensated(open_engine: OpenEngine) -> None:
    """One of five is refused: those that were done are undone, each with its own key; those not begun never are."""
    diary = Diary()
    child = Saga("payment")

    @child.step
    def charge(input: dict[str, Any], key: str) -> int:  # noqa: A002 (the name a step asks for)
        diary.note("charge", key)
        if input["n"] == 3:
            raise StepRejected("no funds")
        return int(input["n"])

    @child.compensates(charge)
    def refund(charge: int, key: str) -> None:
        diary.note(f"refund {charge}", key)

    engine = open_engine(order(child, diary, over="input[amounts]"), child)
    handle = engine.start("order", {"amounts": [1, 2, 3, 4, 5]})
    result = handle.result(TIMEOUT_S)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "pay[2]")
    done = {name for name in diary.names if name.startswith("refund")}
    assert {"refund 1", "refund 2"} <= done <= {"refund 1", "refund 2", "refund 4"}
    assert len([name for name in diary.names if name.startswith("refund")]) == len(done)
    assert diary.names[-1] == "release"


def test_a_cancelled_parent_has_its_child_abort(open_engine: OpenEngine) -> None:
    """The child waits for a signal that will not come any more: it is compensated, and then its parent is."""
    diary = Diary()
    child = payment(diary, waits=True)
    engine, other = open_engine(order(child, diary), child), open_engine()
    for giver in (engine, other):
        handle = engine.start("order", INPUT)
        child_id = child_of(engine, handle.saga_id)
        until(partial(has_happened, engine, child_id, e.WaitStarted))
        giver.submit(handle.saga_id, Cancel("Ann", "changed her mind"))
        assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
        assert e.SagaCancelled(f"saga {handle.saga_id}", "cancelled by Ann: changed her mind") in events_of(
            engine, child_id
        )
    assert diary.names == ["reserve", "charge", "refund", "release"] * 2


def test_a_cancelled_child_turns_its_parent_round(open_engine: OpenEngine) -> None:
    """A child takes orders like any saga."""
    diary = Diary()
    child = payment(diary, waits=True)
    engine = open_engine(order(child, diary), child)
    handle = engine.start("order", INPUT)
    engine.submit(child_of(engine, handle.saga_id), Cancel("Ann", "wrong card"))
    result = handle.result(TIMEOUT_S)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "pay")
    assert result.error == "cancelled by Ann: wrong card"


def test_a_paused_parent_hears_of_its_childs_end(open_engine: OpenEngine) -> None:
    """The child goes on, and the parent begins nothing until it is resumed."""
    diary = Diary()
    child = payment(diary, waits=True)
    engine = open_engine(order(child, diary), child)
    handle = engine.start("order", INPUT)
    child_id = child_of(engine, handle.saga_id)
    engine.submit(handle.saga_id, Pause("Ann", "looks odd"))
    engine.signal(child_id, "cleared")
    assert engine.follow(child_id).result(TIMEOUT_S).completed
    assert "ship" not in diary.names
    engine.submit(handle.saga_id, Resume("Ann", "looks well"))
    assert handle.result(TIMEOUT_S).completed
    assert diary.names == ["reserve", "charge", "book", "ship"]


# ── FAILED ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["COMPENSATED", "COMPLETED"])
def test_a_parent_goes_on_when_its_failed_child_was_set_right_by_hand(
    store: Store, open_engine: OpenEngine, status: Literal["COMPENSATED", "COMPLETED"]
) -> None:
    """The child cannot be undone, so both are FAILED; a person says how the child ended, and retries the parent."""
    diary = Diary()
    child = payment(diary, {"book": raising(StepRejected("no")), "refund": raising(StepUnavailable("bank is shut"))})
    engine = open_engine(order(child, diary), child)
    handle = engine.start("order", INPUT)
    result = handle.result(TIMEOUT_S)
    child_id = child_of(engine, handle.saga_id)
    assert result.status is SagaStatus.FAILED
    assert child_id in str(result.error)
    assert state_of(store, child_id).status is SagaStatus.FAILED
    engine.submit(child_id, Resolve("Ann", "called the bank", status))
    engine.submit(handle.saga_id, Retry("Ann", "the payment is settled"))
    until(lambda: state_of(store, handle.saga_id).status in {SagaStatus.COMPENSATED, SagaStatus.COMPLETED})
    assert state_of(store, handle.saga_id).status == status
    assert diary.names[-1] == ("release" if status == "COMPENSATED" else "ship")


def test_a_parent_that_is_retried_while_its_child_is_failed_says_so_again(
    store: Store, open_engine: OpenEngine
) -> None:
    """Nothing was set right: it is FAILED as before, with the reason, and not stuck."""
    diary = Diary()
    child = payment(diary, {"book": raising(StepRejected("no")), "refund": raising(StepUnavailable("bank is shut"))})
    engine = open_engine(order(child, diary), child)
    handle = engine.start("order", INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    version = state_of(store, handle.saga_id).version
    engine.submit(handle.saga_id, Retry("Ann", "hoping"))
    until(lambda: state_of(store, handle.saga_id).version > version + 2)
    assert state_of(store, handle.saga_id).status is SagaStatus.FAILED
    assert [type(event) for event in events_of(engine, handle.saga_id)[version:]] == [
        *(e.SagaReopened, e.SagaTakenOver, e.SagaFailed),
    ]


def test_a_child_that_must_succeed_is_run_anew_when_a_person_commands_it(store: Store, open_engine: OpenEngine) -> None:
    """It was compensated, and the pivot is behind: the parent is FAILED. Retried, another saga is run in its place."""
    diary = Diary()
    child = payment(diary, {"book": raising(StepRejected("no"), 1)})
    saga = Saga("order")

    @saga.step(kind="pivot", compensation=None)
    def ship() -> str:
        return "shipped"

    saga.child("pay", child, kind="retriable")
    engine = open_engine(saga, child)
    handle = engine.start(saga, INPUT)
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    first = child_of(engine, handle.saga_id)
    engine.submit(handle.saga_id, Retry("Ann", "there are funds now"))
    until(lambda: state_of(store, handle.saga_id).status is SagaStatus.COMPLETED)
    assert child_of(engine, handle.saga_id) != first
    assert diary.names == ["charge", "book", "refund", "charge", "book"]


def test_a_compensation_that_a_child_refuses_waits_for_a_person(store: Store, open_engine: OpenEngine) -> None:
    """The refund is given up: child and parent are FAILED. The child is retried, then the parent: both are undone."""
    diary = Diary()
    child = payment(diary, {"refund": raising(StepUnavailable("bank is shut"), 3)})
    engine = open_engine(order(child, diary, {"ship": raising(StepRejected("no stock"))}), child)
    handle = engine.start("order", INPUT)
    result = handle.result(TIMEOUT_S)
    assert result.status is SagaStatus.FAILED
    assert "compensation of step 'pay' was given up" in str(result.error)
    child_id = child_of(engine, handle.saga_id)
    engine.submit(child_id, Retry("Ann", "the bank is open"))
    until(lambda: state_of(store, child_id).status is SagaStatus.COMPENSATED)
    engine.submit(handle.saga_id, Retry("Ann", "the payment is undone"))
    until(lambda: state_of(store, handle.saga_id).status is SagaStatus.COMPENSATED)
    assert diary.names[-2:] == ["refund", "release"]


def test_a_child_whose_definition_is_gone_waits_until_an_engine_knows_it(open_engine: OpenEngine) -> None:
    """Its worker lets go of the parent, which completes with an engine that knows both definitions."""
    diary = Diary()
    child = payment(diary)
    engine = open_engine(order(child, diary))
    handle = engine.start("order", INPUT)
    until(lambda: isinstance(events_of(engine, handle.saga_id)[-1], e.SagaReleased))
    assert diary.names == ["reserve"]
    engine.close()
    second = open_engine(order(child, diary), child)
    until(lambda: "ship" in diary.names)
    assert second.follow(handle.saga_id).result(TIMEOUT_S).completed
