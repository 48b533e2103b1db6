"""A participant that is away costs its sagas time, and neither their attempts nor their ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from saga_es.commands import Cancel, Pause, Resume, Retry
from saga_es.core import events as e
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.errors import StepUnavailable
from saga_es.runtime.calls import away
from saga_es.runtime.calls.answers import Answer, NotSent
from saga_es.store.log.entries import Entry
from saga_es.testing import world as worlds
from saga_es.testing.clock import BEGINNING
from saga_es.testing.faults import Calm, Script
from saga_es.testing.judge import faults_found
from saga_es.testing.world import World
from tests.support.logged import captured_logs

SAGAS = 300
AWAY_S = 60.0
ANN = ("Ann", "because")


@pytest.fixture(autouse=True)
def _long_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "MAX_ITERATIONS", 200_000)


class Venue:
    """A participant that is away from one moment to another; it counts what arrives."""

    def __init__(self, away_from: float = 0.0, away_until: float = AWAY_S) -> None:
        self.world: World | None = None
        self.away_from, self.away_until = away_from, away_until
        self.asked: Counter[str] = Counter()
        self.arrived: list[float] = []

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        assert self.world is not None
        return (self.world.clock.now() - BEGINNING).total_seconds()

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Answer, unless it is away."""
        del method, body, timeout_s
        self.asked[path] += 1
        if self.away_from <= self.now < self.away_until:
            raise NotSent("connection refused")
        self.arrived.append(self.now)
        return Answer(200, {}, b'"%s"' % headers["X-Saga-Id"].encode())


def booking(retry: RetryPolicy | None = None, **more: Any) -> Saga:
    venue, policy = Participant("venue"), retry or RetryPolicy()
    saga = Saga("booking", **more)
    saga.request("hall", venue.post("/hall"), compensation=venue.post("/no-hall"), retry=policy)
    saga.request("seat", venue.post("/seat"), compensation=venue.post("/no-seat"), retry=policy)
    return saga


def world_of(venue: Any, *sagas: Saga, faults: Calm | None = None, workers: int = 1) -> World:
    world = World(sagas, faults, {"venue": venue, "other": venue}, workers)
    venue.world = world
    return world


def start_all(world: World, saga: Saga, count: int = SAGAS, every_s: float = 0.0) -> list[str]:
    ids = [f"{saga.name}-{n}" for n in range(count)]
    for n, saga_id in enumerate(ids):
        world.at(n * every_s, lambda saga_id=saga_id: world.start(saga, {}, saga_id))  # type: ignore[misc]
    return ids


def statuses(world: World, ids: list[str]) -> dict[SagaStatus, int]:
    states = [world.state(saga_id) for saga_id in ids]
    return Counter(state.status for state in states if state is not None)


def events_of(world: World, saga_id: str) -> list[object]:
    return [recorded.event for recorded in world.log.read(saga_id)]


def reads_of(world: World, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each stream is read, from now on."""
    counts, entries_of = Counter[str](), world.log.entries_of

    def counted(stream_ids: Sequence[str]) -> dict[str, list[Entry]]:
        counts.update(stream_ids)
        return entries_of(stream_ids)

    monkeypatch.setattr(world.log, "entries_of", counted)
    return counts


def test_an_outage_of_a_minute_costs_many_sagas_nothing_but_time() -> None:
    """All are COMPLETED, none has more than four events more than without it, and all together few."""
    calm, venue = Venue(away_until=0.0), Venue(away_from=2.0, away_until=2.0 + AWAY_S)
    saga = booking()
    alone, world = world_of(calm, saga), world_of(venue, saga)
    ids = start_all(alone, saga, every_s=0.01)
    start_all(world, saga, every_s=0.01)
    alone.run()
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPLETED: SAGAS}
    more = [len(events_of(world, saga_id)) - len(events_of(alone, saga_id)) for saga_id in ids]
    assert max(more) <= 4
    assert sum(more) <= 2 * 20
    assert faults_found(world) == []
    assert venue.now < 2.5 * AWAY_S


def test_those_that_were_called_when_it_went_away_try_once_more_when_it_is_back() -> None:
    """Each has an attempt that failed and one that did not, and no more."""
    venue = Venue()
    saga = booking()
    world = world_of(venue, saga)
    ids = start_all(world, saga, 200)
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPLETED: 200}
    failed = [sum(isinstance(event, e.StepFailed) for event in events_of(world, saga_id)) for saga_id in ids]
    assert set(failed) <= {1, 2}
    assert failed.count(2) < 10


def test_a_participant_that_is_away_is_asked_ever_less_often() -> None:
    """By one call at a time, whoever makes it."""
    venue = Venue(away_until=600.0)
    saga = booking(RetryPolicy(attempts=100))
    world = world_of(venue, saga)
    ids = start_all(world, saga, 50)
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPLETED: 50}
    assert sum(venue.asked.values()) - 100 < 50 + 30 + 2 * 50


def test_a_participant_that_comes_back_is_not_met_by_all_at_once() -> None:
    """What was held goes on in growing numbers, each answer lets two through."""
    venue = Venue()
    saga = booking()
    world = world_of(venue, saga)
    start_all(world, saga)
    world.run()
    back = min(venue.arrived)
    at_once = Counter(round(at - back, 2) for at in venue.arrived)
    assert at_once[0.0] <= 2
    assert sum(count for at, count in at_once.items() if at <= 0.04) <= 20


def test_sagas_that_come_in_the_middle_of_an_outage_wait_without_an_attempt() -> None:
    """Their calls are no attempts before they begin: not one of these sagas fails once."""
    venue = Venue(away_from=1.0)
    saga = booking()
    world = world_of(venue, saga)
    ids = start_all(world, saga, 200, every_s=0.25)
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPLETED: 200}
    failed = [saga_id for saga_id in ids if any(isinstance(event, e.StepFailed) for event in events_of(world, saga_id))]
    assert len(failed) <= away.AWAY_AFTER + 10


def test_new_sagas_stay_in_the_log_while_many_wait_for_their_participant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker keeps a bounded number of them in memory, and reads the others once it has room for them."""
    monkeypatch.setattr(away, "MOST_HELD", most := 20)
    venue = Venue()
    saga = booking()
    world = world_of(venue, saga)
    ids = start_all(world, saga, 300, every_s=0.15)
    owned: list[int] = []
    for second in range(4, 55):
        world.at(float(second), lambda: owned.append(world.worker.loop.active))
    pending: list[int] = []
    world.at(50.0, lambda: pending.append(statuses(world, ids)[SagaStatus.PENDING]))
    read = reads_of(world, monkeypatch)
    world.run()
    often = read.total()
    assert most / 2 < max(owned) <= most + 2 * away.AWAY_AFTER
    assert pending[0] >= 300 - max(owned)
    assert statuses(world, ids) == {SagaStatus.COMPLETED: 300}
    assert often < 10 * len(ids)
    assert sum(isinstance(event, e.StepFailed) for saga_id in ids for event in events_of(world, saga_id)) < 60
    assert faults_found(world) == []


def test_another_participant_is_not_held_back() -> None:
    """Each is known by itself."""
    venue, other = Venue(), Venue(away_until=0.0)
    saga, visit = booking(), Saga("visit")
    visit.request("ask", Participant("other").post("/"), compensation=None)
    world = World([saga, visit], transports={"venue": venue, "other": other})
    venue.world = other.world = world
    start_all(world, saga, 50)
    world.at(20.0, lambda: start_all(world, visit, 50))
    world.run()
    assert len(other.arrived) == 50
    assert max(other.arrived) < 21.0


def test_a_deadline_holds_while_the_participant_is_away() -> None:
    """A saga whose call never began has nothing to undo."""
    venue = Venue(away_until=100.0)
    saga = booking(deadline_s=30.0)
    world = world_of(venue, saga)
    ids = start_all(world, saga, 100)
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPENSATED: 100}
    ends = [world.log.read(saga_id)[-1].recorded_at for saga_id in ids]
    assert (max(ends) - min(ends)).total_seconds() < 1.0
    assert venue.asked["/seat"] == 0


def test_a_cancel_a_pause_and_a_retry_are_followed_while_the_participant_is_away() -> None:
    """A cancelled saga ends at once, one that is paused calls nobody, and one that a person retries tries."""
    venue = Venue()
    saga = booking()
    world = world_of(venue, saga)
    ids = start_all(world, saga, 40)
    world.ask(ids[-1], Cancel(*ANN), 10.0)
    world.ask(ids[-2], Pause(*ANN), 10.0)
    world.ask(ids[-2], Resume(*ANN), 100.0)
    world.ask(ids[0], Retry(*ANN), 10.0)
    seen: list[int] = []
    world.at(9.9, lambda: seen.append(len(events_of(world, ids[0]))))
    world.at(10.5, lambda: seen.append(len(events_of(world, ids[0]))))
    world.at(10.5, lambda: seen.append(int(world.state(ids[-1]).status.ended)))  # type: ignore[union-attr]
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPLETED: 39, SagaStatus.COMPENSATED: 1}
    assert seen[1] - seen[0] == 3
    assert seen[2] == 1
    paused = [event for event in events_of(world, ids[-2]) if not isinstance(event, e.SagaStarted)]
    place = paused.index(e.SagaPaused(*ANN))
    assert paused[place + 1] == e.SagaResumed(*ANN)
    assert faults_found(world) == []


def test_a_participant_that_never_comes_back_keeps_no_saga_from_its_end() -> None:
    """Each call tries for itself after five minutes."""
    venue = Venue(away_until=1e9)
    saga = booking()
    world = world_of(venue, saga)
    ids = start_all(world, saga, 300)
    world.run()
    assert sum(statuses(world, ids).values()) == 300
    assert set(statuses(world, ids)) <= {SagaStatus.COMPENSATED, SagaStatus.FAILED}
    assert venue.now < 5 * away.LONGEST_HOLD_S
    assert faults_found(world) == []


def test_those_try_first_that_have_attempts_left() -> None:
    """A try is not to cost a saga its last attempt while another can spare one."""
    venue = Venue(away_until=90.0)
    hasty, patient = booking(RetryPolicy(attempts=1)), Saga("patient")
    patient.request("hall", Participant("venue").post("/hall"), compensation=None, retry=RetryPolicy(attempts=20))
    world = world_of(venue, hasty, patient)
    ids = start_all(world, patient, 20)
    world.at(1.0, lambda: start_all(world, hasty, 20))
    world.run()
    assert statuses(world, [*ids, *(f"booking-{n}" for n in range(20))]) == {SagaStatus.COMPLETED: 40}


def test_a_function_that_says_not_now_is_held_back_too() -> None:
    """What it raises otherwise may be about the one saga, and holds up no other."""
    venue = Venue()
    saga, broken = Saga("booking"), Saga("broken")

    @saga.step(compensation=None)
    def hall() -> int:
        if venue.now < AWAY_S:
            raise StepUnavailable("the hall is closed")
        return 1

    @broken.step(compensation=None)
    def fails() -> None:
        raise ValueError("a mistake in the code")

    world = world_of(venue, saga, broken)
    ids, others = start_all(world, saga, 100), start_all(world, broken, 20)
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPLETED: 100}
    assert statuses(world, others) == {SagaStatus.COMPENSATED: 20}
    assert sum(isinstance(event, e.StepFailed) for saga_id in ids for event in events_of(world, saga_id)) < 140
    assert max(world.log.read(saga_id)[-1].recorded_at for saga_id in others) < max(
        world.log.read(saga_id)[-1].recorded_at for saga_id in ids
    )


def test_one_saga_alone_shows_nothing_of_a_participant() -> None:
    """Its own back-off and attempts are enough: what its policy says is what happens."""
    venue = Venue()
    saga = booking()
    world = world_of(venue, saga)
    (saga_id,) = start_all(world, saga, 1)
    world.run()
    assert statuses(world, [saga_id]) == {SagaStatus.COMPENSATED: 1}
    assert venue.now < 30.0


def test_a_worker_that_dies_in_an_outage_is_followed_by_one_that_learns_anew() -> None:
    """What was held back is taken over, and nothing is lost or done twice."""
    venue = Venue()
    saga = booking()
    world = world_of(venue, saga, faults=Script(kill_at=[40, 90, 300]))
    ids = start_all(world, saga, 100)
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPLETED: 100}
    assert faults_found(world) == []


def test_compensations_wait_for_their_participant_and_are_not_given_up() -> None:
    """Sagas that are cancelled while it is away are undone when it is back: none needs a person."""
    venue = Venue(away_from=2.0)
    saga = booking()
    saga.wait_for("answer", timeout_s=None)
    world = world_of(venue, saga)
    ids = start_all(world, saga, 100)
    for saga_id in ids:
        world.ask(saga_id, Cancel(*ANN), 5.0)
    world.run()
    assert statuses(world, ids) == {SagaStatus.COMPENSATED: 100}
    assert venue.asked["/no-hall"] <= 100 + 40


def test_the_log_says_once_that_a_participant_is_away_and_once_that_it_is_back() -> None:
    """With its name, how many wait for it, and what to do."""
    venue = Venue()
    saga = booking()
    world = world_of(venue, saga)
    start_all(world, saga, 100)
    with captured_logs() as logs:
        world.run()
    gone, back = [line for line in logs if line.get("participant") == "venue"]
    assert (gone["log_level"], gone["failed_in_a_row"]) == ("warning", away.AWAY_AFTER)
    assert "cure" in gone
    assert back["log_level"] == "info"
    assert AWAY_S < back["away_s"] < 2.2 * AWAY_S
