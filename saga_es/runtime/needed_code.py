"""The code that a saga still needs, and which of it is missing here. Pure.

A saga goes on under the plan that it started with, and calls the functions that its definition has under the same names
now. So a saga misses a step that was removed from the definition when it comes to that step, and not after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from saga_es.core.facts import CannotGoOn
from saga_es.core.outcomes import Direction
from saga_es.core.plan import Child, Plan, StepPlan, step_of
from saga_es.core.state import DONE, SagaState, StepState, StepStatus
from saga_es.definition.saga import Saga
from saga_es.definition.steps import Step
from saga_es.runtime.calls.outcomes import text


def written(definitions: Mapping[str, Saga], plan: Plan, step: str, direction: Direction) -> Step | CannotGoOn:
    """The code of a call, or the fact that the saga cannot go on without it."""
    name = step_of(step)
    saga = definitions.get(plan.saga)
    if saga is None:
        return CannotGoOn(f"the code of step {name!r} is gone: no saga {plan.saga!r} is defined here")
    found = saga.written(name)
    planned = plan.step(name)
    if found is None or (found.callee(direction) is None and not _only_waits(planned)):
        lacking = str(direction)
    elif direction is Direction.ACTION and planned.condition and found.condition is None:
        lacking = "condition"
    else:
        return found
    return CannotGoOn(f"the code of step {name!r} is gone: saga {saga.name!r} has no {lacking} for it")


def child_written(definitions: Mapping[str, Saga], step: str, saga: str) -> Saga | CannotGoOn:
    """The definition of a step's child, or the fact that the parent cannot go on without it."""
    why = f"the code of step {step_of(step)!r} is gone: no saga {saga!r} is defined here"
    return definitions.get(saga) or CannotGoOn(why)


def cannot_call(error: Exception) -> CannotGoOn:
    """The fact for a saga whose call could not be made."""
    return CannotGoOn(f"a call could not be made: {type(error).__name__}: {text(error)}")


# ── What happens to a saga ───────────────────────────────────────────────────────────────────────────────


class Verdict(StrEnum):
    """What happens to an unfinished saga with the present code."""

    GOES_ON = "goes_on"
    MAY_FAIL = "may_fail"
    """The saga ends FAILED if it aborts, or if an answer is lost."""
    FAILS = "fails"
    WAITS = "waits"
    """No worker with this code takes the saga over: it waits for a worker that knows its definition."""
    UNREADABLE = "unreadable"


class Prospect(msgspec.Struct, frozen=True):
    """A verdict, and the reasons for it: the missing code."""

    verdict: Verdict
    missing: tuple[str, ...] = ()


def prospect(state: SagaState, definitions: Mapping[str, Saga]) -> Prospect:
    """What happens to a saga if its worker stops now and another worker goes on with this code."""
    if state.plan.saga not in definitions:
        return Prospect(Verdict.WAITS, (f"no saga {state.plan.saga!r} is defined here",))
    needs = list(needed(state))
    for verdict, is_sure in ((Verdict.FAILS, True), (Verdict.MAY_FAIL, False)):
        lacking = [_lacking(need, state.plan, definitions) for need in needs if need.is_sure is is_sure]
        missing = tuple(dict.fromkeys(reason for reason in lacking if reason is not None))
        if missing:
            return Prospect(verdict, missing)
    return Prospect(Verdict.GOES_ON)


# ── What a saga needs ────────────────────────────────────────────────────────────────────────────────────


class Need(NamedTuple):
    """Code that a saga needs: a call of one of its steps, or (without a direction) the definition of a child.

    Attributes:
        is_sure: Whether the saga needs it if all goes well; otherwise only after a failure or a lost answer.
    """

    step: str
    direction: Direction | None
    is_sure: bool


def needed(state: SagaState) -> Iterator[Need]:
    """What the saga needs until its end. What several elements of a fan-out need comes several times."""
    for planned in state.plan.steps:
        is_whole = planned.over is None or planned.name not in state.fan_outs
        for element in [planned.name] if is_whole else state.elements(planned.name):
            step = state.step(element)
            if state.aborted:
                yield from _to_be_undone(planned, step, has_effect=element in state.effects)
            else:
                yield from _to_be_done(planned, step)
                yield from _in_case(planned, step, can_abort=not _is_past_pivot(state))


def _to_be_done(planned: StepPlan, step: StepState) -> Iterator[Need]:
    """The calls of a step of a saga that goes forward, or of a step that was in flight when the saga aborted."""
    name, is_child = planned.name, isinstance(planned.work, Child)
    if step.status in DONE or step.wait is not None:
        return
    if is_child:
        yield Need(name, None, is_sure=True)
    is_made = step.child is not None and step.waiting is None  # the child's input
    if is_made or (_only_waits(planned) and not planned.condition):
        return
    probes = _is_probed_first(planned, step)
    if probes:
        yield Need(name, Direction.PROBE, is_sure=True)
    yield Need(name, Direction.ACTION, is_sure=not probes)


def _in_case(planned: StepPlan, step: StepState, *, can_abort: bool) -> Iterator[Need]:
    """What a step needs if a call's answer is lost, or if the saga aborts."""
    if planned.probe and step.status not in DONE:
        yield Need(planned.name, Direction.PROBE, is_sure=False)
    if can_abort and planned.compensation is not None and step.status is not StepStatus.SKIPPED:
        yield _undoing(planned, is_sure=False)


def _to_be_undone(planned: StepPlan, step: StepState, *, has_effect: bool) -> Iterator[Need]:
    in_progress = step.status is StepStatus.IN_PROGRESS  # its answer is awaited before it is compensated
    if in_progress:  # a child that was not started yet will not be started
        yield from (need for need in _to_be_done(planned, step) if need.direction or step.child)
    if planned.compensation is None or not (in_progress or has_effect):
        return
    probes = _is_probed_first(planned, step)
    if probes:
        yield Need(planned.name, Direction.PROBE, is_sure=True)
    yield _undoing(planned, is_sure=not probes and (has_effect or planned.work is None))


def _undoing(planned: StepPlan, *, is_sure: bool) -> Need:
    return Need(planned.name, None if isinstance(planned.work, Child) else Direction.COMPENSATION, is_sure)


def _is_probed_first(planned: StepPlan, step: StepState) -> bool:
    """Whether the step is probed first: once its worker is gone, a call in flight is in doubt."""
    if not planned.probe or step.status in {StepStatus.PENDING, StepStatus.COMPENSATING}:
        return step.probing
    is_called = step.status is StepStatus.IN_PROGRESS and step.in_flight
    return step.probing or is_called or (step.in_doubt and not step.probed)


def _is_past_pivot(state: SagaState) -> bool:
    return any(step.kind == "pivot" and state.is_done(step.name) for step in state.plan.steps)


def _only_waits(planned: StepPlan) -> bool:
    return planned.work is not None and not isinstance(planned.work, Child)


def _lacking(need: Need, plan: Plan, definitions: Mapping[str, Saga]) -> str | None:
    """Why the need is not met; None if it is met."""
    work = plan.step(need.step).work
    if need.direction is not None:
        found: object = written(definitions, plan, need.step, need.direction)
    else:
        assert isinstance(work, Child), "only a step that runs a saga needs its definition"
        found = child_written(definitions, need.step, work.saga)
    return found.reason if isinstance(found, CannotGoOn) else None
