"""Sagas are read from any log: folded under the plans they started with, each for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from saga_es.core import events as e
from saga_es.core.plan import plan_id
from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import NotFound, PayloadUnencodable, UnreadableEvent
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft, Entry
from saga_es.store.ports import Written
from saga_es.store.sagas import Sagas
from tests.conftest import AT, note_draft
from tests.support.altered import altered
from tests.support.any_store import AnyStore


def car() -> None: ...


def saga_of(name: str) -> Saga:
    saga = Saga(name)
    saga.step(compensation=None)(car)
    return saga


@pytest.fixture
def started(any_store: AnyStore) -> AnyStore:
    """A saga in its first step, one that is done, one that cannot be read, one without a plan, and no saga."""
    plan = saga_of("trip").plan
    start = e.SagaStarted("trip", plan_id(plan), {}, "w-1")
    done = (start, e.StepStarted("car", 1), e.StepCompleted("car", None), e.SagaCompleted())
    drafts = (
        Draft(plan_id(plan), PLAN, 0, (e.PlanRecorded(plan),), AT),
        Draft("goes on", SAGA, 0, (start, e.StepStarted("car", 1)), AT),
        Draft("done", SAGA, 0, done, AT),
        Draft("planless", SAGA, 0, (e.SagaStarted("trip", "no such plan", {}, "w-1"),), AT),
        note_draft("n-1", "a"),
    )
    assert any_store.write(*drafts) == [Written()] * len(drafts)
    odd = any_store.writer.prepare(Draft("odd", SAGA, 0, (start, e.StepStarted("car", 1)), AT))
    assert any_store.writer.write([altered(odd, type="StepInvented")]) == [Written()]
    return any_store


def test_a_saga_is_what_its_events_come_to(started: AnyStore) -> None:
    """Under the plan that it started with."""
    found = started.sagas.find("goes on")
    assert found is not None
    assert (found.status, found.version, found.owner, found.plan) == (
        SagaStatus.IN_PROGRESS,
        2,
        "w-1",
        saga_of("trip").plan,
    )


def test_what_is_no_saga_is_not_found(started: AnyStore) -> None:
    """No stream at all, or a stream of another category; and why, if it is asked."""
    assert [started.sagas.find(saga_id) for saga_id in ("nobody", "n-1")] == [None, None]
    assert isinstance(started.sagas.absent("nobody"), NotFound)
    assert isinstance(started.sagas.refused_start("nobody", "no room"), PayloadUnencodable)


def test_of_many_one_that_cannot_be_read_stands_for_itself_alone(started: AnyStore) -> None:
    """Those that there are; an event that is not known, or a plan that is not there, is one saga's trouble."""
    found = started.sagas.find_many(["goes on", "done", "odd", "planless", "nobody", "n-1"])
    kinds = {saga_id: type(state) for saga_id, state in found.items()}
    assert kinds == {"goes on": SagaState, "done": SagaState, "odd": UnreadableEvent, "planless": UnreadableEvent}
    for saga_id in ("odd", "planless"):
        with pytest.raises(UnreadableEvent):
            started.sagas.find(saga_id)


def test_a_plan_is_recorded_once(started: AnyStore) -> None:
    """Those that the log does not hold yet are told by their ids, each once."""
    other = saga_of("other")
    missing = Sagas(started.log).unrecorded([saga_of("trip").plan, other.plan, other.plan])
    assert missing == [(plan_id(other.plan), e.PlanRecorded(other.plan))]
    assert started.sagas.plan(plan_id(saga_of("trip").plan)) == saga_of("trip").plan


def test_a_plan_whose_content_is_not_what_its_id_says_is_no_plan(any_store: AnyStore) -> None:
    """A saga under it is unreadable: it would run without the compensations that its definition has."""
    plan, forged = saga_of("trip").plan, saga_of("forged").plan
    any_store.write(
        Draft(plan_id(plan), PLAN, 0, (e.PlanRecorded(forged),), AT),
        Draft("lured", SAGA, 0, (e.SagaStarted("trip", plan_id(plan), {}, "w-1"),), AT),
    )
    with pytest.raises(UnreadableEvent, match="has the content of"):
        any_store.sagas.find("lured")
    assert isinstance(any_store.sagas.find_many(["lured"])["lured"], UnreadableEvent)


def test_no_more_is_read_at_once_than_asked_for_once_sizes_are_known(
    any_store: AnyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least one saga is found, however large; a large one is counted with for a while."""
    saga, log = saga_of("trip"), any_store.sagas.log
    sizes = [9_000] * 12 + [100] * 12
    ids = [f"s{number:02}" for number in range(len(sizes))]
    started = [e.SagaStarted("trip", saga.plan_id, {"text": "x" * size}, "w-1") for size in sizes]
    plan = Draft(saga.plan_id, PLAN, 0, (e.PlanRecorded(saga.plan),), AT)
    any_store.write(plan, *(Draft(id_, SAGA, 0, (event,), AT) for id_, event in zip(ids, started, strict=True)))
    read: list[int] = []
    entries_of = log.entries_of

    def counted(stream_ids: Sequence[str]) -> Mapping[str, list[Entry]]:
        found = entries_of(stream_ids)
        if saga.plan_id not in stream_ids:
            read.append(sum(len(entry.text) for entries in found.values() for entry in entries))
        return found

    monkeypatch.setattr(log, "entries_of", counted)
    assert list(any_store.sagas.find_within(ids, 1)[0]) == ids[:1]
    found: list[str] = []
    left: Sequence[str] = ids
    rounds = 0
    while left:
        more, left = any_store.sagas.find_within(left, 40_000)
        found, rounds = [*found, *more], rounds + 1
    assert found == ids
    assert max(read) <= 40_000
    assert rounds <= 6
