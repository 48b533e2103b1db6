"""Given these events, when this happens, then these events follow: the core's rules as short stories, no database."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from saga_es.core.decide import decide
from saga_es.core.events import (
    CompensationFailed,
    CompensationStarted,
    SagaEvent,
    SagaStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from saga_es.core.facts import (
    CallReturned,
    Completed,
    Direction,
    Fact,
    Outcome,
    RetryDue,
    Start,
)
from saga_es.core.plan import Plan, RetryPolicy, StepPlan
from saga_es.core.state import SagaState, evolve, fold, open_intents

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SAGA_ID = "saga-1"
MANY = 200
"""More turns than any saga of these tests can take."""

ONCE = RetryPolicy(attempts=1, jitter=0)
THRICE = RetryPolicy(attempts=3, first_delay_s=1, factor=2, cap_s=30, jitter=0)

START = Start("plan-1", {"name": "Show"}, "w1")
STARTED = SagaStarted("order", "plan-1", {"name": "Show"}, "w1")


def a_step(name: str, retry: RetryPolicy = THRICE, compensation: RetryPolicy | None = THRICE) -> StepPlan:
    return StepPlan(name=name, title=name, retry=retry, compensation=compensation)


def a_plan(*steps: str | StepPlan) -> Plan:
    return Plan("order", tuple(a_step(step) if isinstance(step, str) else step for step in steps))


ABC = a_plan("a", "b", "c")
"""Three steps, each tried three times either way, one second apart and then two."""


def action(step: str, outcome: Outcome, attempt: int = 1) -> CallReturned:
    return CallReturned(step, Direction.ACTION, attempt, outcome)


def undo(step: str, outcome: Outcome, attempt: int = 1) -> CallReturned:
    return CallReturned(step, Direction.COMPENSATION, attempt, outcome)


def done(*steps: str) -> list[SagaEvent]:
    """The events of steps that were started and completed."""
    return [event for step in steps for event in (StepStarted(step, 1), StepCompleted(step, f"{step}!"))]


def seconds(value: float) -> datetime:
    return NOW + timedelta(seconds=value)


class Story:
    """A saga with a past, and what was decided last."""

    def __init__(self, plan: Plan, events: Iterable[SagaEvent]) -> None:
        self.state = fold(SagaState(SAGA_ID, plan), events)
        self.decided: list[SagaEvent] = []

    def when(self, fact: Fact, now: datetime = NOW) -> Story:
        """Tell the fact; what is decided becomes the saga's past, too."""
        self.decided = decide(self.state, fact, now)
        self.state = fold(self.state, self.decided)
        return self

    def then(self, *events: SagaEvent) -> Story:
        """Exactly these events were decided, in this order."""
        assert self.decided == list(events)
        return self


def given(*events: SagaEvent, plan: Plan = ABC) -> Story:
    return Story(plan, events)


# ── A saga from its start to its end ─────────────────────────────────────────────────────────────────────

Answer = Callable[[StepStarted | CompensationStarted], Outcome]


class Decided(msgspec.Struct):
    """One turn of the loop: the state before, the fact, and the events."""

    before: SagaState
    fact: Fact
    at: datetime
    events: list[SagaEvent]


class Journey(msgspec.Struct):
    """Everything that happened to one saga that was left to itself."""

    turns: list[Decided]
    state: SagaState

    @property
    def log(self) -> list[SagaEvent]:
        """All events, in order."""
        return [event for turn in self.turns for event in turn.events]


def all_well(intent: StepStarted | CompensationStarted) -> Outcome:
    return Completed(f"{intent.step}!")


def failing(step: str, outcome: Outcome) -> Answer:
    """Everything goes well, but for the action of one step."""
    return lambda intent: outcome if isinstance(intent, StepStarted) and intent.step == step else all_well(intent)


def drive(plan: Plan, answer: Answer = all_well) -> Journey:
    """The loop in small: decide, evolve, perform the intents, and tell what came back, until nothing is left."""
    state, now, turns = SagaState(SAGA_ID, plan), NOW, list[Decided]()
    facts: deque[Fact] = deque([START])
    while facts:
        assert len(turns) < MANY, "this saga does not end"
        fact = facts.popleft()
        turn = Decided(state, fact, now, decide(state, fact, now))
        turns.append(turn)
        for event in turn.events:
            state = evolve(state, event)
            match event:
                case StepStarted(step, attempt):
                    facts.append(action(step, answer(event), attempt))
                case CompensationStarted(step, attempt):
                    facts.append(undo(step, answer(event), attempt))
                case StepFailed(step, attempt, retry_at=datetime() as due):
                    now = due
                    facts.append(RetryDue(step, Direction.ACTION, attempt))
                case CompensationFailed(step, attempt, retry_at=datetime() as due):
                    now = due
                    facts.append(RetryDue(step, Direction.COMPENSATION, attempt))
                case _:
                    pass
        assert len(facts) == len(open_intents(state)), "the log says the same as the loop about what is under way"
    return Journey(turns, state)
