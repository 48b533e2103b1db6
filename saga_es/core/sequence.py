"""The way of most sagas: one step after the other, each done at its first attempt. What follows is looked up.

The rules stand in `decide`, `proceed` and `evolve`, and hold for every plan. For a step of a sequence that is done at
its first attempt they come to the same each time: the next step begins, or the saga is complete. So the plan has a
table of that (`Plan.following`), and nothing is searched. Whatever differs from it in the least (a pause, a deadline, a
doubt, a step that waits or was skipped) is decided by the rules. A property test holds that both decide alike.
"""

from __future__ import annotations

from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.evolve import evolve
from saga_es.core.facts import CallReturned
from saga_es.core.outcomes import Completed, Direction
from saga_es.core.state import SagaState, SagaStatus, StepState, StepStatus

Moved = tuple[list[e.SagaEvent], SagaState]
"""The events that follow, and the state after them."""

FIRST_CALL = StepState(status=StepStatus.IN_PROGRESS, attempts=1)
"""A step whose first call is in flight, and of which nothing else is known."""


def begun(state: SagaState, started: e.SagaStarted) -> Moved | None:
    """What follows when a saga is started: its first step begins; None if the rules have to decide."""
    state = evolve(state, started)
    _, first = state.plan.following.get(None, _UNKNOWN)
    if first is None or state.status is not SagaStatus.IN_PROGRESS or state.deadline_at is not None:
        return None
    state = replace(state, version=state.version + 1, steps={first: FIRST_CALL})
    return [started, e.StepStarted(first, 1)], state


def moved_on(state: SagaState, fact: CallReturned) -> Moved | None:
    """What follows when a call of a sequence has returned for the first time; None if the rules have to decide."""
    if type(fact.outcome) is not Completed or fact.direction is not Direction.ACTION or fact.attempt != 1:
        return None
    name, result = fact.step, fact.outcome.result
    if name not in state.plan.following or not _goes_forward(state, name):
        return None
    called, then = state.plan.following[name]
    if called != len(state.steps):
        return None
    steps = {**state.steps, name: StepState(status=StepStatus.COMPLETED, attempts=1, result=result)}
    effects = (*state.effects, name)
    version = state.version + 2
    if then is None:
        state = replace(state, version=version, steps=steps, effects=effects, status=SagaStatus.COMPLETED)
        return [e.StepCompleted(name, result), e.SagaCompleted()], state
    steps[then] = FIRST_CALL
    state = replace(state, version=version, steps=steps, effects=effects)
    return [e.StepCompleted(name, result), e.StepStarted(then, 1)], state


_UNKNOWN = (-1, None)


def _goes_forward(state: SagaState, name: str) -> bool:
    """Whether the saga goes forward with this step in its first call, all others completed, and nothing else to say."""
    if state.status is not SagaStatus.IN_PROGRESS or state.paused is not None or state.owner is None:
        return False
    if state.deadline_at is not None or state.renamed:
        return False
    for other, step in state.steps.items():  # no `all`: every decision comes here, and a generator costs more
        if step != FIRST_CALL if other == name else step.status is not StepStatus.COMPLETED:
            return False
    return True
