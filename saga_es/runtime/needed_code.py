"""The code that a saga still needs, and which of it is missing in a process. Pure.

A saga goes on under the plan that it started with, and calls the functions that its definition has under the same names
now. So a saga misses a step that was removed from the definition until it has passed that step. It misses a function,
too, that asks for a value that the saga's plan does not know at that point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

import msgspec

from saga_es.core.facts import CannotGoOn
from saga_es.core.outcomes import Direction
from saga_es.core.plan import Child, Plan, StepPlan, plan_id, step_of
from saga_es.core.state import DONE, SagaState, SagaStatus, StepState, StepStatus
from saga_es.definition.code import Asked, Code, StepCode, code_of
from saga_es.definition.saga import Saga
from saga_es.definition.steps import Step, known_names
from saga_es.runtime.calls.outcomes import text


class Missing(msgspec.Struct, frozen=True):
    """Code that a saga needs and that a process does not have.

    Attributes:
        wanted: What it is, in the words of "a worker that has …".
        why: Why it counts as missing.
        is_sure: Whether the saga needs it if all goes well; otherwise only if the saga aborts or an answer is lost.
        is_left: Whether the code is there, and the process is told to leave the saga to others.
    """

    wanted: str
    why: str
    is_sure: bool = True
    is_left: bool = False

    def __str__(self) -> str:
        return self.why if self.is_sure else f"{self.why} (needed if the saga aborts, or an answer is lost)"


class CodeHere:
    """The code of this process. Used by one thread: what was looked up is kept, for every call looks it up.

    Args:
        definitions: The definitions.
        leaves_older: Whether new sagas of older plans are left to other workers.
        drains: Whether all sagas that another worker can run are left to that.

    Attributes:
        definitions: The definitions by name.
        drains: As given.
    """

    def __init__(self, definitions: Iterable[Saga], *, leaves_older: bool = False, drains: bool = False) -> None:
        self.definitions: Mapping[str, Saga] = {saga.name: saga for saga in definitions}
        self._leaves_older = leaves_older
        self.drains = drains
        self._written: dict[tuple[str, str, Direction], Step | Missing] = {}

    @cached_property
    def code(self) -> Code:
        """The code as data. A mistake in a definition is told here, and not when the object is made."""
        return code_of(self.definitions.values(), leaves_older=self._leaves_older, drains=self.drains)

    def written(self, state: SagaState, step: str, direction: Direction) -> Step | Missing:
        """The code of a call: the present code of the step, or else older code that is kept for such plans."""
        key = (state.plan_id, step, direction)
        if key not in self._written:
            key = (state.plan_id, step_of(step), direction)  # of an element, the code of its step
            if key not in self._written:
                self._written[key] = self._find(state.plan, key[1], direction)
        return self._written[key]

    def child(self, step: str, saga: str) -> Saga | Missing:
        """The definition of a step's child saga."""
        return self.definitions.get(saga) or _no_definition(saga, step)

    def _find(self, plan: Plan, name: str, direction: Direction) -> Step | Missing:
        saga = self.definitions.get(plan.saga)
        for step in saga.variants(name) if saga else ():
            if _misfit(StepCode.of(step), plan, plan.step(name), direction) is None:
                return step
        missing = missing_call(self.code, plan, name, direction)
        assert missing is not None, "no variant fits"
        return missing


def cannot_call(error: Exception) -> CannotGoOn:
    """The fact for a saga whose call could not be made."""
    return CannotGoOn(f"a call could not be made: {type(error).__name__}: {text(error)}")


# ── What is missing ──────────────────────────────────────────────────────────────────────────────────────


# ── What happens to a saga ───────────────────────────────────────────────────────────────────────────────
def missing(state: SagaState, code: Code) -> tuple[Missing, ...]:
    """The code that a saga may need until its end and that is missing: first what it surely needs, each once.

    A new saga of an older plan that a worker is told to leave to others lacks that worker's will to begin it.
    """
    if state.status.ended:
        return ()
    here = code.get(state.plan.saga)
    if here is None:
        needs = list(needed(state))
        return (_no_definition(state.plan.saga),) if needs else ()
    if here.leaves_older and state.status is SagaStatus.PENDING and state.plan_id != here.plan_id:
        return (_left_to_others(state),)
    return _each_once(_lacking(need, state.plan, code) for need in needed(state))


def missing_for_plan(plan: Plan, code: Code) -> tuple[Missing, ...]:
    """The code that a saga of this plan may need, from its start, and that is missing."""
    return missing(SagaState("", plan, plan_id=plan_id(plan)), code)


def missing_call(code: Code, plan: Plan, name: str, direction: Direction) -> Missing | None:
    """Why a call of a step cannot be made; None if it can. An action includes the step's condition."""
    saga = code.get(plan.saga)
    if saga is None:
        return _no_definition(plan.saga, name)
    planned, first = plan.step(name), None
    for variant in saga.steps.get(name, (_NOTHING,)):
        misfit = _misfit(variant, plan, planned, direction)
        if misfit is None:
            return None
        first = first or misfit
    return first


_NOTHING = StepCode()


def retired_code_needed(state: SagaState, code: Code) -> set[tuple[str, str, int]]:
    """The retired code that a saga may need until its end: the definition, the step, and its place among the retired.

    A saga calls the first code of a step that fits its plan.
    """
    saga, plan = code.get(state.plan.saga), state.plan
    found: set[tuple[str, str, int]] = set()
    for need in needed(state) if saga else ():
        variants = saga.steps.get(need.step, ()) if saga else ()
        direction = need.direction or Direction.ACTION
        fits = [_misfit(variant, plan, plan.step(need.step), direction) is None for variant in variants]
        index = fits.index(True) if any(fits) else None
        if index is not None and variants[index].is_retired:
            place = 1 + sum(variant.is_retired for variant in variants[:index])
            found.add((plan.saga, need.step, place))
    return found


def _each_once(found: Iterable[Missing | None]) -> tuple[Missing, ...]:
    """Each once; what is surely needed first."""
    kept: dict[str, Missing] = {}
    for one in found:
        if one is not None and (one.why not in kept or one.is_sure):
            kept[one.why] = one
    return tuple(sorted(kept.values(), key=lambda one: not one.is_sure))


def _lacking(need: Need, plan: Plan, code: Code) -> Missing | None:
    """Why the need is not met; None if it is met."""
    work = plan.step(need.step).work
    if need.direction is not None:
        lacking = missing_call(code, plan, need.step, need.direction)
    else:
        assert isinstance(work, Child), "only a step that runs a saga needs its definition"
        lacking = None if work.saga in code else _no_definition(work.saga, need.step)
    return None if lacking is None else msgspec.structs.replace(lacking, is_sure=need.is_sure)


def _misfit(code: StepCode, plan: Plan, planned: StepPlan, direction: Direction) -> Missing | None:
    """Why this code cannot make a call of a planned step; None if it can."""
    is_action = direction is Direction.ACTION
    if not _only_waits(planned):
        child = planned.work.saga if isinstance(planned.work, Child) else None
        if code.saga != child or code.asks(direction) is None:
            return _gone(plan, planned.name, str(direction))
        if code.over is not (planned.over is not None):
            return _other_over(plan, planned, str(direction))
        asks = _asks_too_much(code.asks(direction), plan, planned, direction, str(direction))
        if asks is not None:
            return asks
    if not (is_action and planned.condition):
        return None
    if code.condition is None:
        return _gone(plan, planned.name, "condition")
    return _asks_too_much(code.condition, plan, planned, direction, "condition")


def _gone(plan: Plan, step: str, what: str) -> Missing:
    return Missing(_wanted(step, what), f"the code of step {step!r} is gone: saga {plan.saga!r} has no {what} for it")


def _other_over(plan: Plan, planned: StepPlan, what: str) -> Missing:
    name = planned.name
    here, there = ("once", "for each element of a list") if planned.over else ("for each element of a list", "once")
    why = f"the code of step {name!r} is gone: it is done {here} now, and {there} in {plan_id(plan)}"
    return Missing(f"{_wanted(name, what)}, done {there}", why)


def _asks_too_much(asked: Asked, plan: Plan, planned: StepPlan, direction: Direction, what: str) -> Missing | None:
    known = known_names(plan, planned.name, direction)
    unknown = [name for name in asked or () if name not in known]
    if not unknown:
        return None
    names = " and ".join(map(repr, unknown))
    wanted = f"{_wanted(planned.name, what)}, without the parameter {names}"
    whose = "" if what == "action" else f"the {what} of "
    return Missing(
        wanted, f"{whose}step {planned.name!r} asks for {names}, which {plan_id(plan)} does not know at that point"
    )


def _wanted(step: str, what: str) -> str:
    return f"step {step!r}" if what == "action" else f"the {what} of step {step!r}"


def _left_to_others(state: SagaState) -> Missing:
    wanted = f"saga {state.plan.saga!r} and begins new sagas"
    return Missing(wanted, f"new sagas of {state.plan_id} are left to other workers", is_left=True)


def _no_definition(saga: str, step: str | None = None) -> Missing:
    gone = f"no saga {saga!r} is defined here"
    return Missing(f"saga {saga!r}", gone if step is None else f"the code of step {step!r} is gone: {gone}")


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
