"""Acting on committed events: every intent is performed once, also after a pause, and in a pause not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta
from queue import SimpleQueue

import pytest

from saga_es import Saga
from saga_es.core import events as e
from saga_es.core.decide import decide
from saga_es.core.evolve import fold
from saga_es.core.facts import CallReturned
from saga_es.core.outcomes import Direction, Unavailable, Unknown
from saga_es.core.state import SagaState
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.port import Call, Returned
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.dispatch import Dispatch
from saga_es.runtime.held_calls import Timer
from saga_es.runtime.inbox import CallTimedOut, FactArrived, Item, StartRequest
from saga_es.runtime.needed_code import CodeHere
from saga_es.runtime.waiting.timers import Timers
from saga_es.testing.clock import VirtualClock
from tests.support.story import SAGA_ID, started

TIMEOUT_S = 5.0
WHO = ("Ann", "because")

child = Saga("child")
trip = Saga("order")


@child.step(compensation=None)
def sleep() -> None:
    """Nothing is done."""


@trip.step(compensation=None)
def book() -> str:
    """Say that it was called."""
    return "booked"


@trip.step(compensation=None)
def pay(book: str) -> str:
    """Say that it was called, and with what."""
    return f"{book} and paid"


trip.child("nap", child)


class Shell:
    """A saga whose intents are performed, and what comes of that."""

    def __init__(self, executor: Executor, saga: Saga = trip) -> None:
        self.inbox: SimpleQueue[Item] = SimpleQueue()
        self.clock = VirtualClock()
        self.timers: Timers[Timer] = Timers()
        self.dispatch = Dispatch(executor, self.timers, self.clock, CodeHere([saga, child]), self.inbox.put)
        self.state = SagaState(SAGA_ID, saga.plan)

    def commit(self, *events: e.SagaEvent) -> None:
        """These events are in the log, and are acted on."""
        self.state = fold(self.state, events)
        self.dispatch.perform(self.state, events)
        self.dispatch.send()

    def answers(self, count: int) -> list[tuple[str, int]]:
        """The calls that come back next."""
        told = [self.inbox.get(timeout=TIMEOUT_S) for _ in range(count)]
        facts = [item.fact for item in told if isinstance(item, FactArrived)]
        return [(fact.step, fact.attempt) for fact in facts if isinstance(fact, CallReturned)]


@pytest.fixture
def shell() -> Iterator[Shell]:
    """With one thread: calls come back in the order in which they were made."""
    executor = Executor(threads=1)
    yield Shell(executor)
    executor.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """For steps to hang on; open in the end."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_an_intent_that_comes_with_the_end_of_a_pause_is_performed_once(shell: Shell) -> None:
    """To look what is under way after the pause must not double what the same append began."""
    shell.commit(started({}), e.StepStarted("book", 1))
    shell.commit(e.SagaPaused(*WHO))
    shell.commit(e.StepCompleted("book", "booked"))
    shell.commit(e.SagaResumed(*WHO), e.StepStarted("pay", 1))
    assert shell.answers(1) == [("book", 1)]  # it had come back before, in vain
    shell.commit(e.StepCompleted("pay", "paid"), e.StepStarted("nap", 1))
    assert shell.answers(2) == [("pay", 1), ("nap", 1)]


def test_a_call_that_is_out_goes_on_through_a_pause(shell: Shell) -> None:
    """It is not made again at its end."""
    shell.commit(started({}), e.StepStarted("book", 1))
    shell.commit(e.SagaPaused(*WHO))
    shell.commit(e.SagaResumed(*WHO))
    shell.commit(e.StepCompleted("book", "booked"), e.StepStarted("pay", 1))
    assert shell.answers(2) == [("book", 1), ("pay", 1)]


def test_what_a_paused_saga_was_taken_over_with_is_called_when_it_is_cancelled(shell: Shell) -> None:
    """Nothing can be undone before its answer is known, so somebody has to ask for it."""
    shell.state = fold(
        shell.state, [started({}), e.StepStarted("book", 1), e.SagaPaused(*WHO), e.SagaTakenOver("w2", "w1")]
    )
    shell.dispatch.resume(shell.state)
    assert shell.dispatch.in_flight == 0
    shell.commit(e.SagaCancelled(*WHO))
    assert shell.answers(1) == [("book", 1)]


def test_a_saga_that_is_ready_in_a_pause_is_started_after_it(shell: Shell) -> None:
    """The making of its input was under way; to start it would be to begin something."""
    shell.state = fold(shell.state, [started({}), e.StepStarted("nap", 1), e.SagaPaused(*WHO)])
    shell.commit(e.ChildStarted("nap", "child", "saga-2", {}))
    assert shell.inbox.empty()
    shell.commit(e.SagaResumed(*WHO))
    begin = shell.inbox.get(timeout=TIMEOUT_S)
    assert isinstance(begin, StartRequest)
    assert (begin.saga_id, begin.parent) == ("saga-2", SAGA_ID)


def test_calls_of_a_saga_that_is_no_longer_ours_hold_up_no_others(gate: threading.Event) -> None:
    """Whoever has it now makes them anew: the one that hangs loses its place, and the one that waits never begins."""
    begun: SimpleQueue[str] = SimpleQueue()
    hanging = Saga("order")

    @hanging.step(after=[], compensation=None)
    def book() -> None:
        begun.put("book")
        gate.wait(TIMEOUT_S)

    @hanging.step(after=[], compensation=None)
    def pay() -> None:
        begun.put("pay")

    executor = Executor(threads=1)
    shell = Shell(executor, hanging)
    shell.commit(started({}), e.StepStarted("book", 1), e.StepStarted("pay", 1))
    assert begun.get(timeout=TIMEOUT_S) == "book"
    shell.dispatch.forget(shell.state)
    quick = Saga("order")
    quick.step(compensation=None)(pay)
    other = Shell(executor, quick)
    other.commit(started({}), e.StepStarted("pay", 1))
    assert other.answers(1) == [("pay", 1)]
    assert [begun.get(timeout=TIMEOUT_S), begun.empty(), shell.inbox.empty()] == ["pay", True, True]
    executor.close()


# ── Time-outs ────────────────────────────────────────────────────────────────────────────────────────────


class Elsewhere(Executor):
    """Notes calls, and begins none; a test says what is left of their time."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Call] = []
        self.given_up: list[str] = []
        self.left: dict[str, float] = {}

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Note them."""
        del returned
        self.made += calls
        return []

    def left_s(self, call: Call) -> float:
        """What the test says; a call has not begun of which it says nothing."""
        return self.left.get(call.step, super().left_s(call))

    def give_up(self, call: Call) -> bool:
        """Note it."""
        self.given_up.append(call.step)
        return call.step in self.left


TIMEOUT_OF_STEPS_S = 30.0


def test_the_timer_of_a_call_that_has_not_begun_is_set_again() -> None:
    """As often as its whole time-out passes: it is no attempt, and nobody hears of it."""
    shell = Shell(executor := Elsewhere())
    shell.commit(started({}), e.StepStarted("book", 1))
    for _ in range(5):
        shell.clock.sleep(TIMEOUT_OF_STEPS_S)
        assert shell.dispatch.due(shell.clock.now(), 100) == []
        assert shell.timers.next_due() == shell.clock.now() + timedelta(seconds=TIMEOUT_OF_STEPS_S)
    assert (executor.given_up, shell.dispatch.in_flight) == ([], 1)


def test_a_call_that_began_late_has_the_rest_of_its_time() -> None:
    """Then it is late, and given up."""
    shell = Shell(executor := Elsewhere())
    shell.commit(started({}), e.StepStarted("book", 1))
    shell.clock.sleep(TIMEOUT_OF_STEPS_S)
    executor.left["book"] = 12.0
    assert shell.dispatch.due(shell.clock.now(), 100) == []
    assert shell.timers.next_due() == shell.clock.now() + timedelta(seconds=12)
    shell.clock.sleep(12)
    executor.left["book"] = 0.0
    (late,) = shell.dispatch.due(shell.clock.now(), 100)
    assert isinstance(late, CallTimedOut)
    assert late.fact == CallReturned("book", Direction.ACTION, 1, Unknown("no answer within 30 s"))
    assert executor.given_up == ["book"]


def test_an_action_that_has_not_begun_when_its_saga_aborts_never_will() -> None:
    """So there is nothing to wait for, and nothing to undo; one that has begun is waited for."""
    both = Saga("order")
    both.step(after=[], compensation=None)(book)
    both.step(after=[], compensation=None)(a_free_pay)
    shell = Shell(executor := Elsewhere(), both)
    shell.commit(started({}), e.StepStarted("book", 1), e.StepStarted("a_free_pay", 1))
    executor.made[0].began_at = 0.0
    shell.commit(e.SagaCancelled(*WHO))
    assert executor.given_up == ["a_free_pay"]
    told = shell.inbox.get(timeout=TIMEOUT_S)
    assert isinstance(told, FactArrived)
    assert isinstance(told.fact, CallReturned)
    assert isinstance(told.fact.outcome, Unavailable)
    assert fold(shell.state, decide(shell.state, told.fact, shell.clock.now())).step("a_free_pay").in_doubt is False
    assert shell.inbox.empty()


def test_an_action_that_another_worker_may_have_begun_is_called_though_its_saga_aborts() -> None:
    """Nobody knows what it has done."""
    shell = Shell(executor := Elsewhere())
    shell.state = fold(shell.state, [started({}), e.StepStarted("book", 1), e.SagaTakenOver("w2", "w1")])
    shell.dispatch.resume(shell.state)
    shell.commit(e.SagaCancelled(*WHO))
    assert [call.step for call in executor.made] == ["book"]
    assert (executor.given_up, shell.inbox.empty()) == ([], True)


def a_free_pay() -> None:
    """Nothing is done."""


def test_calls_that_were_not_handed_over_when_the_loop_fails_are_never_made(shell: Shell) -> None:
    """The loop starts over as another worker, which makes them under their keys when it takes the saga over."""
    begun: list[e.SagaEvent] = [started({}), e.StepStarted("book", 1)]
    shell.state = fold(shell.state, begun)
    shell.dispatch.perform(shell.state, begun)
    shell.dispatch.drop_unsent()
    assert shell.dispatch.send() == 0


def test_a_saga_that_is_no_longer_ours_has_no_call_in_flight_here(gate: threading.Event) -> None:
    """Its place is free for another saga at once, whether it comes back or not."""
    hanging = Saga("order")

    @hanging.step(compensation=None)
    def book() -> None:
        gate.wait(TIMEOUT_S)

    executor = Executor(threads=1)
    shell = Shell(executor, hanging)
    capacity = Capacity(1)
    shell.dispatch = Dispatch(executor, shell.timers, shell.clock, CodeHere([hanging]), shell.inbox.put, capacity)
    for _ in range(2):
        shell.state = SagaState(SAGA_ID, hanging.plan)
        shell.commit(started({}), e.StepStarted("book", 1))
        assert (shell.dispatch.in_flight, capacity.left) == (1, 0)
        shell.dispatch.forget(shell.state)
        assert (shell.dispatch.in_flight, capacity.left) == (0, 1)
    gate.set()
    executor.close()
