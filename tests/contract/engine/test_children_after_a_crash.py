"""A parent and its child after a crash: each is taken over by whoever knows it, and they still hear of each other."""

from __future__ import annotations

import threading

import pytest

from saga_es.commands import Cancel, Pause, Resume
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.errors import StepRejected
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.payments import INPUT, child_of, order, payment, state_of
from tests.support.trips import Diary, Stop, crash, events_of, has_happened, raising, until, worker_of


@pytest.mark.parametrize("at", ["charge", "cleared", "ship", "refund"])
def test_a_parent_and_its_child_outlive_a_crash(
    store: Store, open_engine: OpenEngine, gate: threading.Event, at: str
) -> None:
    """Wherever it hits: the child under way, waiting, or ended; or when it is undone. Both end."""
    before, after = Diary(), Diary()
    stop = Stop(gate)
    refuse = raising(StepRejected("no stock"))
    turns = {"ship": refuse} if at == "refund" else {}
    child = payment(before, {at: stop}, waits=at == "cleared")
    first = open_engine(order(child, before, {**turns, **({"ship": stop} if at == "ship" else {})}), child)
    handle = first.start("order", INPUT)
    if at == "cleared":
        until(lambda: has_happened(first, child_of(first, handle.saga_id), e.WaitStarted))
    else:
        assert stop.arrived.wait(TIMEOUT_S)
    crash(store, first)
    child = payment(after, waits=at == "cleared")
    second = open_engine(order(child, after, turns), child)
    if at == "cleared":
        second.signal(child_of(second, handle.saga_id), "cleared")
    result = second.follow(handle.saga_id).result(TIMEOUT_S)
    assert result.status is (SagaStatus.COMPENSATED if turns else SagaStatus.COMPLETED)
    whole = ["reserve", "charge", "book", "ship", *(["refund", "release"] if turns else [])]
    assert before.names + after.names == whole[: len(before.names)] + whole[-len(after.names) :]
    assert set(before.names) & set(after.names) <= {at}


def test_a_child_on_another_worker_is_heard_of(store: Store, open_engine: OpenEngine, gate: threading.Event) -> None:
    """After a crash one engine takes the child, another the parent, which hears of the child's end all the same."""
    diary = Diary()
    child = payment(Diary(), {"charge": Stop(gate)})
    first = open_engine(order(child, Diary()), child)
    handle = first.start("order", INPUT)
    child_id = child_of(first, handle.saga_id)
    crash(store, first)
    stop = Stop(gate)
    there = payment(diary, {"charge": stop})
    pays = open_engine(there)
    assert stop.arrived.wait(TIMEOUT_S)
    ships = open_engine(order(payment(Diary()), diary), payment(Diary()))
    until(lambda: has_happened(ships, handle.saga_id, e.SagaTakenOver))
    gate.set()
    assert ships.follow(handle.saga_id).result(TIMEOUT_S).completed
    assert diary.names == ["charge", "book", "ship"]
    assert e.SagaTakenOver(worker_of(pays), worker_of(first)) in events_of(ships, child_id)


def test_a_child_on_another_worker_aborts_with_its_parent(store: Store, open_engine: OpenEngine) -> None:
    """A cancel reaches the parent here, and by a notification the child there; both are compensated."""
    diary = Diary()
    child = payment(diary, waits=True)
    first = open_engine(order(child, diary), child)
    handle = first.start("order", INPUT)
    child_id = child_of(first, handle.saga_id)
    until(lambda: has_happened(first, child_id, e.WaitStarted))
    crash(store, first)
    pays = open_engine(child)
    until(lambda: has_happened(pays, child_id, e.SagaTakenOver))
    ships = open_engine(order(child, diary), child)
    ships.submit(handle.saga_id, Cancel("Ann", "changed her mind"))
    assert ships.follow(handle.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert diary.names == ["reserve", "charge", "refund", "release"]
    assert state_of(store, child_id).owner == worker_of(pays)


def test_a_parent_that_is_paused_over_a_crash_stays_so(store: Store, open_engine: OpenEngine) -> None:
    """The child is taken over and completes; the parent is taken over, and waits to be resumed."""
    diary = Diary()
    child = payment(diary, waits=True)
    saga = order(child, diary)
    first = open_engine(saga, child)
    handle = first.start("order", INPUT)
    child_id = child_of(first, handle.saga_id)
    first.submit(handle.saga_id, Pause("Ann", "looks odd"))
    crash(store, first)
    second = open_engine(saga, child)
    second.signal(child_id, "cleared")
    assert second.follow(child_id).result(TIMEOUT_S).completed
    until(lambda: has_happened(second, handle.saga_id, e.SagaTakenOver))
    assert "ship" not in diary.names
    second.submit(handle.saga_id, Resume("Ann", "looks well"))
    assert second.follow(handle.saga_id).result(TIMEOUT_S).completed
    assert diary.names == ["reserve", "charge", "book", "ship"]
