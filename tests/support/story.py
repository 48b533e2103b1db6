"""Given these events, when this happens, then these events follow: the core's rules as short stories, no database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.commands import Command
from saga_es.core.decide import decide
from saga_es.core.evolve import fold
from saga_es.core.facts import CallReturned, Fact, RetryDue, Start, Woken
from saga_es.core.migration import present_name
from saga_es.core.outcomes import Completed, Direction, Outcome
from saga_es.core.plan import Plan, RetryPolicy, StepPlan
from saga_es.core.state import SagaState, direction_of, open_intents
from saga_es.errors import CommandRefused

Past = list[e.SagaEvent]
"""What has happened to a saga."""

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SAGA_ID = "saga-1"
MANY = 200
"""More moments than any saga of these tests can take."""

ONCE = RetryPolicy(attempts=1, jitter=0)
THRICE = RetryPolicy(attempts=3, first_delay_s=1, factor=2, cap_s=30, jitter=0)

START = Start("plan-1", {"name": "Show"}, "w1")
STARTED = e.SagaStarted("order", "plan-1", {"name": "Show"}, "w1")


def a_step(name: str, retry: RetryPolicy = THRICE, compensation: RetryPolicy | None = THRICE, **more: Any) -> StepPlan:
    return StepPlan(name=name, title=name, retry=retry, compensation=compensation, **more)


def a_plan(*steps: str | StepPlan, deadline_s: float | None = None) -> Plan:
    return Plan("order", tuple(a_step(step) if isinstance(step, str) else step for step in steps), deadline_s)


ABC = a_plan("a", "b", "c")
"""Three steps, each tried three times either way, one second apart and then two."""


def action(step: str, outcome: Outcome, attempt: int = 1) -> CallReturned:
    return CallReturned(step, Direction.ACTION, attempt, outcome)


def undo(step: str, outcome: Outcome, attempt: int = 1) -> CallReturned:
    return CallReturned(step, Direction.COMPENSATION, attempt, outcome)


def done(*steps: str) -> list[e.SagaEvent]:
    """The events of steps that were started and completed."""
    return [event for step in steps for event in (e.StepStarted(step, 1), e.StepCompleted(step, f"{step}!"))]


def probed(step: str, outcome: Outcome, attempt: int = 1) -> CallReturned:
    return CallReturned(step, Direction.PROBE, attempt, outcome)


def started(input_: dict[str, Any]) -> e.SagaStarted:
    """A saga was started with this input."""
    return e.SagaStarted("order", "plan-1", input_, "w1")


def seconds(value: float) -> datetime:
    return NOW + timedelta(seconds=value)


class Story:
    """A saga with a past, and what was decided last."""

    def __init__(self, plan: Plan, events: Iterable[e.SagaEvent]) -> None:
        self.state = fold(SagaState(SAGA_ID, plan), events)
        self.decided: list[e.SagaEvent] = []

    def when(self, fact: Fact, now: datetime = NOW) -> Story:
        """Tell the fact; what is decided becomes the saga's past, too."""
        self.decided = decide(self.state, fact, now)
        self.state = fold(self.state, self.decided)
        return self

    def then(self, *events: e.SagaEvent) -> Story:
        """Exactly these events were decided, in this order."""
        assert self.decided == list(events)
        return self

    def refuses(self, order: Command, why: str) -> None:
        """The order is refused, with this reason, and nothing is decided."""
        with pytest.raises(CommandRefused) as caught:
            decide(self.state, order, NOW)
        assert (caught.value.saga_id, caught.value.why) == (SAGA_ID, why)


def given(*events: e.SagaEvent, plan: Plan = ABC) -> Story:
    return Story(plan, events)


# ── A saga from its start to its end ─────────────────────────────────────────────────────────────────────


class Decided(msgspec.Struct):
    """One moment of the loop: the state before, the fact, and the events."""

    before: SagaState
    fact: Fact
    at: datetime
    events: list[e.SagaEvent]


class Loop:
    """The loop in small: it decides, folds, and keeps in its own books what is under way.

    Attributes:
        under_way: The calls that are out and the times that are waited for; one of either a step and direction.
    """

    def __init__(self, plan: Plan) -> None:
        self.state = SagaState(SAGA_ID, plan)
        self.now = NOW
        self.moments: list[Decided] = []
        self.under_way: dict[tuple[str, Direction], e.Intent] = {}

    @property
    def log(self) -> list[e.SagaEvent]:
        """All events, in order."""
        return [event for moment in self.moments for event in moment.events]

    def tell(self, fact: Fact) -> list[e.SagaEvent]:
        """One moment: what is decided is the saga's past now, and is acted on."""
        moment = Decided(self.state, fact, self.now, decide(self.state, fact, self.now))
        self.moments.append(moment)
        self.state = fold(self.state, moment.events)
        for event in moment.events:
            self._perform(event)
        if self.state.status.ended:
            self.under_way.clear()
        return moment.events

    def rings(self, intent: e.StepFailed | e.CompensationFailed | e.WaitStarted) -> list[e.SagaEvent]:
        """The time that is waited for has come."""
        match intent:
            case e.WaitStarted(step, until):
                fact: Fact = Woken()
                due, direction = until, Direction.ACTION
            case e.StepFailed(step, attempt, retry_at=due):
                direction = Direction.ACTION
                fact = RetryDue(step, direction, attempt)
            case e.CompensationFailed(step, attempt, retry_at=due):
                direction = Direction.COMPENSATION
                fact = RetryDue(step, direction, attempt)
        del self.under_way[step, direction]
        self.now = max(self.now, due or self.now)
        return self.tell(fact)

    def _perform(self, event: e.SagaEvent) -> None:  # noqa: C901 (a table: one case an event)
        match event:
            case e.StepStarted() | e.ProbeStarted() | e.ChildStarted() | e.WaitStarted() | e.CompensationStarted():
                self._begin(event)
            case e.StepFailed(retry_at=datetime()) | e.CompensationFailed(retry_at=datetime()):
                self._begin(event)
            case e.StepCompleted(step) | e.StepFailed(step) | e.StepSkipped(step):
                self.under_way.pop((step, Direction.ACTION), None)
            case e.CompensationCompleted(step) | e.CompensationFailed(step) | e.CompensationSkipped(step):
                self.under_way.pop((step, Direction.COMPENSATION), None)
            case e.ProbeAnswered(step):
                self.under_way.pop((step, Direction.PROBE), None)
            case e.SagaReleased():
                self.under_way.clear()
            case e.SagaTakenOver():
                self.under_way.clear()  # whoever would have heard is gone
                self._resume()
            case e.SagaResumed() | e.RetryOrdered():
                self._resume()
            case e.SagaMigrated(renamed=renamed):
                under_way = {
                    (present_name(step, renamed), direction): intent
                    for (step, direction), intent in self.under_way.items()
                }
                self.under_way = {
                    key: msgspec.structs.replace(intent, step=key[0]) for key, intent in under_way.items()
                }
                self._resume()
            case e.SagaAborted() | e.SagaCancelled():
                waits = [
                    key for key, intent in self.under_way.items() if isinstance(intent, e.StepFailed | e.WaitStarted)
                ]
                for key in waits:
                    del self.under_way[key]
                self._resume()
            case _:
                pass

    def _resume(self) -> None:
        """Do all that the log says is under way, and is not here."""
        for intent in open_intents(self.state):
            if (intent.step, direction_of(intent)) not in self.under_way or hasattr(intent, "retry_at"):
                self._begin(intent)

    def _begin(self, intent: e.Intent) -> None:
        self.under_way[intent.step, direction_of(intent)] = intent


# ── One that is left to itself ───────────────────────────────────────────────────────────────────────────

Answer = Callable[[e.StepStarted | e.CompensationStarted], Outcome]


class Journey(msgspec.Struct):
    """Everything that happened to one saga that was left to itself."""

    moments: list[Decided]
    state: SagaState

    @property
    def log(self) -> list[e.SagaEvent]:
        """All events, in order."""
        return [event for moment in self.moments for event in moment.events]


def all_well(intent: e.StepStarted | e.CompensationStarted) -> Outcome:
    return Completed(f"{intent.step}!")


def failing(step: str, outcome: Outcome) -> Answer:
    """Everything goes well, but for the action of one step."""
    return lambda intent: outcome if isinstance(intent, e.StepStarted) and intent.step == step else all_well(intent)


def drive(plan: Plan, answer: Answer = all_well) -> Journey:
    """Start, answer every call and wait for every time, until nothing is left."""
    loop = Loop(plan)
    loop.tell(START)
    while loop.under_way:
        assert len(loop.moments) < MANY, "this saga does not end"
        assert list(loop.under_way.values()) == open_intents(loop.state), (
            "the log says the same about what is under way"
        )
        match next(iter(loop.under_way.values())):
            case e.StepStarted(step, attempt) as intent:
                loop.tell(action(step, answer(intent), attempt))
            case e.CompensationStarted(step, attempt) as intent:
                loop.tell(undo(step, answer(intent), attempt))
            case e.StepFailed() | e.CompensationFailed() | e.WaitStarted() as intent:
                loop.rings(intent)
            case intent:
                raise AssertionError(f"{intent} needs more than an answer")
    return Journey(loop.moments, loop.state)
