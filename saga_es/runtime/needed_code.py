"""The code that a saga still needs, and what of it is missing here. Pure.

A saga goes on under the plan that it started with, and calls what its definition has under the same names now. So a
step that is gone from the definition is missed when the saga comes to it, and by no saga that has passed it.
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


def written(definitions: Mapping[str, Saga], plan: Plan, step: str, direction: Direction) -> Step | CannotGoOn:
    """The code of a call; or why a saga cannot go on without it."""
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
    """The saga that a step runs; or why the saga of that step cannot go on without it."""
    why = f"the code of step {step_of(step)!r} is gone: no saga {saga!r} is defined here"
    return definitions.get(saga) or CannotGoOn(why)


# ── What becomes of a saga ───────────────────────────────────────────────────────────────────────────────


class Verdict(StrEnum):
    """What becomes of an unfinished saga with the code that is here."""

    GOES_ON = "goes_on"
    MAY_FAIL = "may_fail"
    """It ends FAILED if it aborts, or if an answer is lost."""
    FAILS = "fails"
    WAITS = "waits"
    """No worker with this code takes it over: it waits for one that knows its definition."""
    UNREADABLE = "unreadable"


class Prospect(msgspec.Struct, frozen=True):
    """A verdict, and the reasons: what is missing."""

    verdict: Verdict
    missing: tuple[str, ...] = ()


def prospect(state: SagaState, definitions: Mapping[str, Saga]) -> Prospect:
    """What becomes of a saga with this code, if its worker stops now and another goes on."""
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
    """Code that a saga needs: a call of one of its steps, or (no direction) the definition of the saga it runs.

    Attributes:
        is_sure: It is needed on the way that the saga is on; otherwise only if something fails, or an answer is lost.
    """

    step: str
    direction: Direction | None
    is_sure: bool


def needed(state: SagaState) -> Iterator[Need]:
    """What the saga needs until its end; what several parts of a step need comes several times."""
    for planned in state.plan.steps:
        is_whole = planned.over is None or planned.name not in state.fan_outs
        for part in [planned.name] if is_whole else state.elements(planned.name):
            step = state.step(part)
            if state.aborted:
                yield from _to_be_undone(planned, step, has_effect=part in state.effects)
            else:
                yield from _to_be_done(planned, step)
                yield from _in_case(planned, step, can_abort=not _is_past_pivot(state))


def _to_be_done(planned: StepPlan, step: StepState) -> Iterator[Need]:
    """The calls of a step on the way forward, and of one that was out when the saga aborted."""
    name, is_child = planned.name, isinstance(planned.work, Child)
    if step.status in DONE or step.wait is not None:
        return
    if is_child:
        yield Need(name, None, is_sure=True)
    is_made = step.child is not None and step.waiting is None  # the input of the saga that it runs
    if is_made or (_only_waits(planned) and not planned.condition):
        return
    asks = _is_asked(planned, step)
    if asks:
        yield Need(name, Direction.PROBE, is_sure=True)
    yield Need(name, Direction.ACTION, is_sure=not asks)


def _in_case(planned: StepPlan, step: StepState, *, can_abort: bool) -> Iterator[Need]:
    """What is needed if a call's answer is lost, or the saga aborts."""
    if planned.probe and step.status not in DONE:
        yield Need(planned.name, Direction.PROBE, is_sure=False)
    if can_abort and planned.compensation is not None and step.status is not StepStatus.SKIPPED:
        yield _undoing(planned, is_sure=False)


def _to_be_undone(planned: StepPlan, step: StepState, *, has_effect: bool) -> Iterator[Need]:
    is_out = step.status is StepStatus.IN_PROGRESS  # its answer is awaited before it is undone
    if is_out:  # a saga that is not there yet will not be started
        yield from (need for need in _to_be_done(planned, step) if need.direction or step.child)
    if planned.compensation is None or not (is_out or has_effect):
        return
    asks = _is_asked(planned, step)
    if asks:
        yield Need(planned.name, Direction.PROBE, is_sure=True)
    yield _undoing(planned, is_sure=not asks and (has_effect or planned.work is None))


def _undoing(planned: StepPlan, *, is_sure: bool) -> Need:
    return Need(planned.name, None if isinstance(planned.work, Child) else Direction.COMPENSATION, is_sure)


def _is_asked(planned: StepPlan, step: StepState) -> bool:
    """Whether it is asked first if the step has happened: a call that is out is in doubt once its worker is gone."""
    if not planned.probe or step.status in {StepStatus.PENDING, StepStatus.COMPENSATING}:
        return step.probing
    is_called = step.status is StepStatus.IN_PROGRESS and step.in_flight
    return step.probing or is_called or (step.in_doubt and not step.probed)


def _is_past_pivot(state: SagaState) -> bool:
    return any(step.kind == "pivot" and state.is_done(step.name) for step in state.plan.steps)


def _only_waits(planned: StepPlan) -> bool:
    return planned.work is not None and not isinstance(planned.work, Child)


def _lacking(need: Need, plan: Plan, definitions: Mapping[str, Saga]) -> str | None:
    """Why the need is not met; None when it is."""
    work = plan.step(need.step).work
    if need.direction is not None:
        found: object = written(definitions, plan, need.step, need.direction)
    else:
        assert isinstance(work, Child), "only a step that runs a saga needs its definition"
        found = child_written(definitions, need.step, work.saga)
    return found.reason if isinstance(found, CannotGoOn) else None
