"""What a saga does next: it goes forward step by step, or it compensates, the last step first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from saga_es.core import events as e
from saga_es.core.paths import NOT_THERE, look_up
from saga_es.core.plan import Delay, Signal, StepPlan, index_of, step_of
from saga_es.core.state import SagaState, SagaStatus, StepStatus

LARGEST_FAN_OUT = 1000
"""The most elements of one step; for more, run a saga for each."""


def next_events(state: SagaState, now: datetime) -> list[e.SagaEvent]:
    """The events that follow from the state and the time alone; empty when the saga waits for a fact."""
    if state.paused or state.status.ended or state.owner is None:
        return []
    if state.status is SagaStatus.IN_PROGRESS and not _has_open_question(state):  # most sagas, most of the time
        return deadline_passed(state, now) or _begin_free(state, now)
    interrupted = _interrupted(state)
    if interrupted:
        return interrupted
    match state.status:
        case SagaStatus.PENDING:
            is_due = state.starts_at is None or state.starts_at <= now
            return [e.SagaBegan()] if is_due else []
        case SagaStatus.IN_PROGRESS:
            return _forward(state, now)
        case _:
            return [] if _actions_in_flight(state) else back(state)


def _has_open_question(state: SagaState) -> bool:
    """Whether a step failed, waits, was interrupted, or is to be called again; one look at each, not four."""
    for step in state.steps.values():  # no `any`: every decision comes here, and a generator costs more
        if step.wait is not None or step.probed or step.interrupted or step.status is StepStatus.FAILED:
            return True
    return False


def _interrupted(state: SagaState) -> list[e.SagaEvent]:
    """Probes for the interrupted calls: the worker that would have received their answers is gone."""
    return [
        e.ProbeStarted(name, step.attempts)
        for name, step in state.steps.items()
        if step.interrupted and state.plan.step(name).probe
    ]


def _actions_in_flight(state: SagaState) -> bool:
    return any(step.status is StepStatus.IN_PROGRESS and step.in_flight for step in state.steps.values())


# ── Forward ──────────────────────────────────────────────────────────────────────────────────────────────


def _forward(state: SagaState, now: datetime) -> list[e.SagaEvent]:
    """A step starts as soon as all the steps that it waits for are done."""
    failed = [name for name, step in state.steps.items() if step.status is StepStatus.FAILED]
    if failed:  # past the point of return: await the calls in flight, and begin no more
        return [] if _actions_in_flight(state) else [e.SagaFailed(_why_failed(state, failed[0]))]
    return deadline_passed(state, now) or _called_again(state) or _waits_over(state, now) or _begin_free(state, now)


def deadline_passed(state: SagaState, now: datetime) -> list[e.SagaEvent]:
    """The saga aborts when its deadline has passed, unless its pivot was called."""
    if state.deadline_at is None or state.deadline_at > now or state.beyond_return:
        return []
    s = None if state.is_migrated else state.plan.deadline_s  # a saga keeps the deadline with which it started
    after = f"{state.deadline_at:%Y-%m-%d %H:%M:%S}Z" if s is None else f"{s:g} s after the start"
    return [e.SagaAborted(None, f"the deadline passed: {after}")]


def _called_again(state: SagaState) -> list[e.SagaEvent]:
    """After a probe: the next attempt of a step that waited; the same attempt of a step that was interrupted."""
    return [
        e.StepStarted(name, step.attempts + (1 if step.waiting else 0))
        for name, step in state.steps.items()
        if step.status is StepStatus.IN_PROGRESS and step.probed
    ]


def _begin_free(state: SagaState, now: datetime) -> list[e.SagaEvent]:
    plan = state.plan
    if plan.is_sequence and state.steps and next(reversed(state.steps.values())).status is StepStatus.IN_PROGRESS:
        return []  # steps run one after the other: while one is under way, no other can begin
    done = state.done
    if len(done) >= len(plan.steps) and all(step.name in done for step in plan.steps):
        return [e.SagaCompleted()]
    begun: list[e.SagaEvent] = []
    for step in plan.steps:
        if step.name not in done and done.issuperset(plan.after(step.name)):
            events = _begin(state, step, now)
            if events and isinstance(events[0], e.StepFailed):
                return events  # the others would be begun in vain
            begun += events
    return begun


def _begin(state: SagaState, step: StepPlan, now: datetime) -> list[e.SagaEvent]:
    """The intents of a step, or of its next elements; none if the step is under way."""
    if step.over is None:
        if state.step(step.name).status is not StepStatus.PENDING:
            return []
        is_wait = isinstance(step.work, Delay | Signal) and not step.condition
        return start_waiting(state, step.name, now) if is_wait else [e.StepStarted(step.name, 1)]
    if step.name not in state.fan_outs:
        return _fan_out(state, step.name, step.over)
    elements = state.elements(step.name)
    under_way = sum(state.step(element).status is StepStatus.IN_PROGRESS for element in elements)
    waiting = [element for element in elements if state.step(element).status is StepStatus.PENDING]
    return [e.StepStarted(element, 1) for element in waiting[: max(0, step.at_once - under_way)]]


def _fan_out(state: SagaState, name: str, over: str) -> list[e.SagaEvent]:
    try:
        elements = look_up(over, state.known_to(name))
    except NOT_THERE as error:
        return _fail(state, name, f"there is no {over} to go over: {type(error).__name__}: {error}")
    if not isinstance(elements, list) or len(elements) > LARGEST_FAN_OUT:
        found = f"a list of {len(elements)}" if isinstance(elements, list) else type(elements).__name__
        return _fail(state, name, f"{over} must be a list of at most {LARGEST_FAN_OUT} elements, not {found}")
    return [e.StepFannedOut(name, len(elements))]


def start_waiting(state: SagaState, name: str, now: datetime) -> list[e.SagaEvent]:
    """A step that only waits begins to wait; it fails when the length of its wait cannot be computed."""
    work = state.plan.step(name).work
    seconds: Any = work.timeout_s if isinstance(work, Signal) else None
    try:
        if isinstance(work, Delay):
            seconds = work.seconds
            seconds = float(look_up(seconds, state.known_to(name))) if isinstance(seconds, str) else seconds
        until = None if seconds is None else now + timedelta(seconds=max(seconds, 0.0))  # in this order: NaN stays NaN
    except (*NOT_THERE, OverflowError) as error:
        return _fail(state, name, f"the length of the wait cannot be computed: {type(error).__name__}: {error}")
    return [e.WaitStarted(name, until)]


def _waits_over(state: SagaState, now: datetime) -> list[e.SagaEvent]:
    """The events of one wait that is over, if there is one; the next pass finds the others."""
    waiting = (name for name, step in state.steps.items() if step.wait is not None)
    return next((events for name in waiting if (events := _wait_over(state, name, now))), [])


def _wait_over(state: SagaState, name: str, now: datetime) -> list[e.SagaEvent]:
    wait = state.step(name).wait
    is_over = wait is not None and wait.until is not None and wait.until <= now
    match state.plan.step(name).work:
        case Signal() if state.signals.get(name):
            return [e.StepCompleted(name, state.signals[name][0])]
        case Signal(timeout_s) if is_over:
            return _fail(state, name, f"the signal {name!r} did not come within {timeout_s:g} s")
        case Delay() if is_over:
            return [e.StepCompleted(name)]
        case _:
            return []


def _fail(state: SagaState, name: str, error: str) -> list[e.SagaEvent]:
    """A step fails without a call."""
    failed = e.StepFailed(name, 0, "rejected", error)
    stays = state.beyond_return or state.plan.step(name).kind == "retriable"
    return [failed] if stays else [failed, e.SagaAborted(name, error)]


def _why_failed(state: SagaState, name: str) -> str:
    is_pivot = state.plan.step(name).kind == "pivot"
    why = "cannot be undone, and may have happened" if is_pivot else "must succeed and was refused"
    return f"step {name!r} {why}: {state.step(name).error}"


# ── Compensation ─────────────────────────────────────────────────────────────────────────────────────────


def back(state: SagaState) -> list[e.SagaEvent]:
    """The next compensations: a step is undone when all steps behind it in the plan are undone."""
    undoing = [name for name, step in state.steps.items() if step.status is StepStatus.COMPENSATING]
    stuck = [name for name in undoing if state.step(name).stuck]
    if stuck:  # await the calls in flight, and begin no more
        is_all = stuck == undoing and not state.in_flight
        return [e.SagaFailed(_why_stuck(state, stuck[0]))] if is_all else []
    standing = [name for name in reversed(state.effects) if state.plan.step(name).compensation is not None]
    if not standing:
        return [e.SagaCompensated()]
    steps = {step_of(name) for name in standing}
    free = {step for step in steps if state.plan.behind(step).isdisjoint(steps)}
    next_ = _at_once(state, [name for name in standing if step_of(name) in free])
    return [event for name in next_ if (event := _undo(state, name))]


def _at_once(state: SagaState, free: list[str]) -> Iterator[str]:
    """The elements to undo now: no more of one step at once than were done at once."""
    under_way: dict[str, int] = {}
    for name in free:
        step = step_of(name)
        under_way[step] = under_way.get(step, 0) + 1
        if index_of(name) is None or under_way[step] <= state.plan.step(step).at_once:
            yield name


def _undo(state: SagaState, name: str) -> e.SagaEvent | None:
    step = state.step(name)
    if step.status is StepStatus.COMPENSATING or step.probing:
        return None
    if step.in_doubt and not step.probed and state.plan.step(name).probe:
        return e.ProbeStarted(name, step.attempts)
    return e.CompensationStarted(name, 1)


def _why_stuck(state: SagaState, name: str) -> str:
    step, policy = state.step(name), state.plan.step(name).compensation
    tried = f"attempt {step.compensation_attempts - step.forgiven} of {policy.attempts if policy else 0}"
    return f"the compensation of step {name!r} was given up after {tried}: {step.error}"
