"""Evolve: the state of a saga after one more event. Every state is made this way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from typing import Any, assert_never

from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.migration import migrated
from saga_es.core.plan import Signal, StepPlan
from saga_es.core.state import SagaState, SagaStatus, StepState, StepStatus, digest


def fold(state: SagaState, events: Iterable[e.SagaEvent]) -> SagaState:
    """The state after many more events."""
    return reduce(evolve, events, state)


def evolve(state: SagaState, event: e.SagaEvent) -> SagaState:  # noqa: C901, PLR0911, PLR0912 (a table: one case an event)
    """The state after one more event."""
    version = state.version + 1
    match event:  # frequent events come first: a case costs 0.15 us
        case e.StepStarted(step, attempt):
            return _step(state, step, **_CALLED, status=StepStatus.IN_PROGRESS, attempts=attempt, child=None)
        case e.StepCompleted():
            return _completed(state, event)
        case e.SagaStarted():
            return _started(state, event)
        case e.SagaCompleted():
            return replace(state, version=version, status=SagaStatus.COMPLETED)
        case e.StepFailed():
            return _failed(state, event)
        case e.CompensationStarted(step, attempt):
            forgiven = state.step(step).forgiven if attempt > 1 else 0
            counters = {"compensation_attempts": attempt, "forgiven": forgiven, "crashes": 0}
            return _step(state, step, **_CALLED, **counters, status=StepStatus.COMPENSATING, stuck=False)
        case e.CompensationCompleted(step) | e.CompensationSkipped(step):
            return _undone(state, step)
        case e.CompensationFailed(step, error=error, retry_at=retry_at, frame=frame):
            waits = {"waiting": event if retry_at else None, "stuck": retry_at is None}
            return _step(state, step, error=error, frame=frame, crashes=0, **waits)
        case e.StepSkipped(step):
            skipped = _step(state, step, **_ANSWERED, status=StepStatus.SKIPPED, in_doubt=False, wait=None)
            return _without_effect(skipped, step)
        case e.StepFannedOut(step, size):
            return replace(state, version=version, fan_outs={**state.fan_outs, step: size})
        case e.WaitStarted(step):
            return _step(state, step, **_ANSWERED, status=StepStatus.IN_PROGRESS, wait=event)
        case e.ChildStarted(step):
            return _step(state, step, **_ANSWERED, status=StepStatus.IN_PROGRESS, child=event)
        case e.ProbeStarted(step):
            return _step(state, step, probing=True, interrupted=False)
        case e.ProbeAnswered():
            return _probe_answered(state, event)
        case e.SignalReceived(signal, payload, key):
            signals = {**state.signals, signal: (*state.signals.get(signal, ()), payload)}
            keys = state.signal_keys if key is None else _with_key(state, signal, key, payload)
            return replace(state, version=version, signals=signals, signal_keys=keys)
        case e.InputReplaced(step, input_):
            return _step(state, step, input=input_)
        case e.SagaTakenOver(worker):
            return _taken_over(state, worker)
        case e.SagaReleased():
            return replace(state, version=version, owner=None)
        case e.StepProgressed():  # it is told to people; nothing is decided by it
            return replace(state, version=version)
        case e.SagaBegan():
            return replace(state, version=version, status=SagaStatus.IN_PROGRESS)
        case e.SagaAborted(step, error):
            return _aborted(state, step, error)
        case e.SagaCancelled(actor, reason):
            return replace(_aborted(state, None, f"cancelled by {actor}: {reason}"), paused=None)
        case e.SagaPaused():
            return replace(state, version=version, paused=event)
        case e.SagaResumed():
            return replace(state, version=version, paused=None)
        case e.RetryOrdered(at=at):
            steps = {name: _due(step, at) for name, step in state.steps.items()}
            return replace(state, version=version, steps=steps)
        case e.SagaMigrated():
            return migrated(state, event)
        case e.SagaReopened():
            return _reopened(state, event)
        case e.SagaResolved(status):
            return replace(state, version=version, status=SagaStatus(status), paused=None)
        case e.SagaCompensated():
            return replace(state, version=version, status=SagaStatus.COMPENSATED)
        case e.SagaFailed(reason):
            return replace(state, version=version, status=SagaStatus.FAILED, error=reason)
        case _:
            assert_never(event)


_CALLED: dict[str, Any] = {"waiting": None, "probing": False, "probed": False, "interrupted": False}
"""Reset when a step is called, and when it has answered."""

_ANSWERED: dict[str, Any] = {**_CALLED, "crashes": 0}
"""Reset when there is an outcome: the call did not kill its process."""

_COMPLETED: dict[str, Any] = {
    **_ANSWERED,
    "status": StepStatus.COMPLETED,
    "error": None,
    "wait": None,
    "in_doubt": False,
    "forgiven": 0,
}
"""Set when a step is done, whatever its result."""


def _step(state: SagaState, name: str, **changes: Any) -> SagaState:
    step = replace(state.step(name), **changes)
    return replace(state, version=state.version + 1, steps={**state.steps, name: step})


def _with_key(state: SagaState, signal: str, key: str, payload: Any) -> dict[str, dict[str, str]]:
    return {**state.signal_keys, signal: {**state.signal_keys.get(signal, {}), key: digest(payload)}}


def _without_effect(state: SagaState, name: str) -> SagaState:
    return replace(state, effects=tuple(effect for effect in state.effects if effect != name))


def _with_new_effect(state: SagaState, name: str) -> SagaState:
    return replace(state, effects=(*state.effects, name))


def _with_effect(state: SagaState, name: str) -> SagaState:
    return state if name in state.effects else replace(state, effects=(*state.effects, name))


# ── Steps ────────────────────────────────────────────────────────────────────────────────────────────────


def _completed(state: SagaState, completed: e.StepCompleted) -> SagaState:
    name = completed.step
    before = state.step(name)
    done = _step(state, name, **_COMPLETED, result=completed.result)
    if isinstance(state.plan.step(name).work, Signal):
        done = replace(done, signals={**state.signals, name: state.signals.get(name, ())[1:]})
    # A first attempt that was never in doubt left no effect: to look for one among all is quadratic for a long list.
    if before.status is StepStatus.IN_PROGRESS and before.attempts == 1 and not (before.in_doubt or before.probed):
        return _with_new_effect(done, name)
    return _with_effect(done, name)


def _failed(state: SagaState, failed: e.StepFailed) -> SagaState:
    # Once in doubt, always in doubt: a later refusal says nothing about an earlier attempt that is still under way.
    is_call = state.plan.step(failed.step).work is None
    in_doubt = is_call and (state.step(failed.step).in_doubt or failed.failure == "unknown")
    probed = state.step(failed.step).probed  # a probe that just gave no answer is not repeated before compensation
    why = {"error": failed.error, "frame": failed.frame}
    changes = {**_ANSWERED, **why, "probed": probed, "in_doubt": in_doubt, "wait": None}
    if failed.retry_at is not None:
        return _step(state, failed.step, **(changes | {"waiting": failed}))
    given_up = _step(state, failed.step, **changes, status=StepStatus.FAILED)
    return _with_effect(given_up, failed.step) if in_doubt else given_up


def _undone(state: SagaState, name: str) -> SagaState:
    return _without_effect(_step(state, name, **_ANSWERED, status=StepStatus.COMPENSATED, stuck=False), name)


def _probe_answered(state: SagaState, answered: e.ProbeAnswered) -> SagaState:
    name = answered.step
    step = state.step(name)
    match answered.happened:
        case True:
            status = StepStatus.COMPLETED if step.status is StepStatus.IN_PROGRESS else step.status
            changes = {"result": answered.result, "error": None, "waiting": None, "in_doubt": False, "crashes": 0}
            return _with_effect(_step(state, name, **changes, status=status, probing=False, probed=True), name)
        case False:
            return _without_effect(_step(state, name, in_doubt=False, probing=False, probed=True), name)
        case None:
            return _step(state, name, probing=False, probed=True)


# ── The saga ─────────────────────────────────────────────────────────────────────────────────────────────


def _started(state: SagaState, started: e.SagaStarted) -> SagaState:
    begins = started.worker is not None and started.starts_at is None
    return replace(
        state,
        version=state.version + 1,
        status=SagaStatus.IN_PROGRESS if begins else SagaStatus.PENDING,
        plan_id=started.plan_id,
        input=started.input,
        tags=started.tags,
        parent=started.parent,
        owner=started.worker,
        starts_at=started.starts_at,
        deadline_at=started.deadline_at,
        trace=started.trace,
        by=started.by,
        key=started.key,
    )


def _taken_over(state: SagaState, worker: str) -> SagaState:
    """The calls in flight may have happened: the worker that would have received the answers is gone."""
    # A paused saga makes no calls again, and an owner that let go of the saga lives: the calls killed nobody.
    blamed = state.paused is None and state.owner is not None
    steps = {name: _interrupted(state.plan.step(name), step, blamed=blamed) for name, step in state.steps.items()}
    return replace(state, version=state.version + 1, owner=worker, steps=steps)


def _interrupted(planned: StepPlan, step: StepState, *, blamed: bool) -> StepState:
    if not step.in_flight or step.child is not None:
        return step
    crashes = step.crashes + blamed
    if step.status is not StepStatus.IN_PROGRESS or step.probing or planned.work is not None:
        return replace(step, crashes=crashes)
    return replace(step, in_doubt=True, interrupted=True, crashes=crashes)


def is_doubtful(step: StepState) -> bool:
    """Whether an abort would leave a step in doubt: no answer is to come, and an earlier attempt may have acted."""
    return step.status is StepStatus.IN_PROGRESS and not step.in_flight and step.in_doubt


def _aborted(state: SagaState, step: str | None, error: str) -> SagaState:
    """Steps that wait, or wait for a retry, are FAILED; the steps in doubt among them are compensated."""
    steps = dict(state.steps)
    doubtful = []
    for name, waiting in state.steps.items():
        if waiting.status is not StepStatus.IN_PROGRESS or waiting.in_flight:
            continue
        steps[name] = replace(waiting, status=StepStatus.FAILED, waiting=None, wait=None)
        doubtful += [name] if is_doubtful(waiting) else []
    return replace(
        state,
        version=state.version + 1,
        status=SagaStatus.COMPENSATING,
        aborted=True,
        failed_step=step,
        cause=error,
        error=error,
        steps=steps,
        effects=(*state.effects, *(name for name in doubtful if name not in state.effects)),
    )


def _reopened(state: SagaState, reopened: e.SagaReopened) -> SagaState:
    if reopened.status == "COMPENSATING" and not state.aborted:
        return replace(_aborted(state, None, reopened.reason), owner=None, paused=None)
    return replace(
        state,
        version=state.version + 1,
        status=SagaStatus(reopened.status),
        owner=None,
        paused=None,
        error=state.cause,
        steps={name: _given_another_chance(state, name, step, reopened.at) for name, step in state.steps.items()},
    )


def _given_another_chance(state: SagaState, name: str, step: StepState, at: datetime) -> StepState:
    """A step that was given up waits for a retry, with all the attempts that its policy allows."""
    step = replace(step, crashes=0)
    failure: e.Failure = "unknown" if step.in_doubt else "rejected"
    error = step.error or ""
    if step.stuck:
        undoing = e.CompensationFailed(name, step.compensation_attempts, failure, error, at)
        return replace(step, stuck=False, waiting=undoing, forgiven=step.compensation_attempts)
    if step.status is not StepStatus.FAILED or state.aborted:
        return _due(step, at)
    if not step.attempts:  # no call was made: its list could not be read
        return replace(step, status=StepStatus.PENDING)
    doing = e.StepFailed(name, step.attempts, failure, error, at)
    return replace(step, status=StepStatus.IN_PROGRESS, waiting=doing, forgiven=step.attempts, probed=False)


def _due(step: StepState, at: datetime) -> StepState:
    """The step with its retry due at this time; unchanged when it waits for none."""
    return step if step.waiting is None else replace(step, waiting=replace(step.waiting, retry_at=at))
