"""Migrating a saga to another plan: what becomes of each of its steps, and why a plan does not fit. Pure.

Steps that have begun stay as they are, under the names that they have in the new plan. What has not begun follows the
new plan. A call that was made under an old name keeps its idempotency key, because the participant knows that key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.paths import root_of
from saga_es.core.plan import Child, Plan, Signal, StepPlan, step_of
from saga_es.core.state import SagaState, SagaStatus, StepState, StepStatus

T = TypeVar("T")


class Fate(StrEnum):
    """What becomes of a step."""

    STAYS = "stays"
    RENAMED = "renamed"
    ADDED = "added"
    DROPPED = "dropped"


class StepChange(msgspec.Struct, frozen=True):
    """One step of the old plan or of the new one.

    Attributes:
        step: Its name in the new plan; its old name when the new plan lacks it.
        was: Its name in the old plan; None when the new plan adds it.
        status: Its status now.
    """

    step: str
    was: str | None
    fate: Fate
    status: StepStatus


class Migration(msgspec.Struct, frozen=True):
    """What a migration would do.

    Attributes:
        renamed: The present name of each step by its name in the old plan, for those whose name changes.
        steps: The steps of the new plan in their order, then those of the old plan that the new one lacks.
        refused: Why the saga cannot be migrated now; empty when it can.
    """

    transaction_id: str
    saga: str
    from_plan: str
    to_plan: str
    renamed: dict[str, str]
    steps: list[StepChange]
    refused: list[str]


def preview_migration(state: SagaState, plan: Plan, plan_id: str, replaces: Mapping[str, str]) -> Migration:
    """What a migration to this plan would do, and why it is refused.

    Args:
        state: The saga.
        plan: The new plan.
        plan_id: Its id.
        replaces: The new name of each step that was renamed, by its old name.
    """
    renamed = renames(state.plan, plan, replaces)
    refused = [] if plan_id == state.plan_id else list(_refusals(state, plan, renamed))
    steps = list(_changes(state, plan, renamed))
    return Migration(state.saga_id, plan.saga, state.plan_id, plan_id, renamed, steps, refused)


def _changes(state: SagaState, plan: Plan, renamed: Mapping[str, str]) -> Iterator[StepChange]:
    before, earlier = _names(state.plan), {now: was for was, now in renamed.items()}
    status = {step.name: _status(state, step.name) for step in state.plan.steps}
    for step in plan.steps:
        was = earlier.get(step.name, step.name)
        fate = Fate.RENAMED if was != step.name else Fate.STAYS if was in before else Fate.ADDED
        yield StepChange(step.name, was if was in before else None, fate, status.get(was, StepStatus.PENDING))
    for name, now in status.items():
        if renamed.get(name, name) not in _names(plan):
            yield StepChange(name, name, Fate.DROPPED, now)


def _status(state: SagaState, name: str) -> StepStatus:
    """The status of a step; one that is done over a list is done with its elements."""
    if name not in state.fan_outs:
        return state.step(name).status
    return StepStatus.COMPLETED if state.is_done(name) else StepStatus.IN_PROGRESS


def renames(old: Plan, new: Plan, replaces: Mapping[str, str]) -> dict[str, str]:
    """The steps of the old plan that have another name in the new one. A step that kept its name is not renamed."""
    before, after = _names(old), _names(new)
    return {was: now for was, now in replaces.items() if was in before and was not in after and now in after - before}


def last_begun(state: SagaState, plan: Plan, renamed: Mapping[str, str]) -> str | None:
    """The step that began last, by its name in the new plan; None if the new plan lacks it, or none has begun."""
    name = next(reversed(state.steps), None)
    now = None if name is None else present_name(name, renamed)
    return now if now is not None and step_of(now) in _names(plan) else None


def _names(plan: Plan) -> set[str]:
    return {step.name for step in plan.steps}


def present_name(name: str, renamed: Mapping[str, str]) -> str:
    """The present name of a step or element."""
    step = step_of(name)
    return renamed[step] + name[len(step) :] if step in renamed else name


# ── The state after it ───────────────────────────────────────────────────────────────────────────────────


def migrated(state: SagaState, event: e.SagaMigrated) -> SagaState:
    """The state after a migration: what has begun has its present name, and what the plan lacks is gone."""
    plan, names, renamed = event.plan, _names(event.plan), event.renamed
    before = state.renamed | renamed
    return replace(
        state,
        version=state.version + 1,
        plan=plan,
        plan_id=event.plan_id,
        steps={now: _moved(state, was, now, plan) for was, now in _kept(state.steps, names, renamed)},
        fan_outs={now: state.fan_outs[was] for was, now in _kept(state.fan_outs, names, renamed)},
        effects=tuple(now for _, now in _kept(dict.fromkeys(state.effects), names, renamed)),
        signals={now: state.signals[was] for was, now in _kept(state.signals, names, renamed)},
        signal_keys={present_name(name, renamed): keys for name, keys in state.signal_keys.items()},
        renamed={
            was: present_name(now, renamed)
            for was, now in before.items()
            if was not in names and present_name(now, renamed) in names
        },
        is_migrated=True,
    )


def _kept(of: Mapping[str, Any], names: set[str], renamed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The old and the present name of each entry that the new plan has a step for."""
    pairs = ((was, present_name(was, renamed)) for was in of)
    return ((was, now) for was, now in pairs if step_of(now) in names)


def _moved(state: SagaState, was: str, now: str, plan: Plan) -> StepState:
    step = state.steps[was]
    has_new_probe = plan.step(now).probe and not state.plan.step(was).probe
    interrupted = step.interrupted and not has_new_probe  # the call was made again: its answer counts, not a probe's
    if was == now:
        return replace(step, interrupted=interrupted) if has_new_probe else step
    return replace(
        step,
        interrupted=interrupted,
        called_as=step.called_as or was,
        waiting=None if step.waiting is None else replace(step.waiting, step=now),
        wait=None if step.wait is None else replace(step.wait, step=now),
        child=None if step.child is None else replace(step.child, step=now),
    )


def present_keys(of: dict[str, T], event: e.SagaMigrated) -> dict[str, T]:
    """What is kept by the names of steps, by their names after a migration; what the plan lacks is left out."""
    return {now: of[was] for was, now in _kept(of, _names(event.plan), event.renamed)}


# ── Why it is refused ────────────────────────────────────────────────────────────────────────────────────


def why_not(state: SagaState, plan: Plan, renamed: Mapping[str, str]) -> str | None:
    """Why the saga cannot be migrated to this plan now, in one sentence; None when it can."""
    return "; ".join(_refusals(state, plan, renamed)) or None


def _refusals(state: SagaState, plan: Plan, renamed: Mapping[str, str]) -> Iterator[str]:
    if state.status in {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}:
        yield f"it has ended: {state.status}"
    elif state.aborted:
        yield "it has aborted: what was done is compensated under the plan under which it was done"
    else:
        yield from _no_place(state, plan, renamed)
        if not _collisions(state, plan, renamed):
            yield from _out_of_order(state, plan, renamed)
        yield from _collisions(state, plan, renamed)


def _begun(state: SagaState) -> dict[str, list[str]]:
    """The steps that have begun, each with its elements that have."""
    begun: dict[str, list[str]] = {step: [] for step in state.fan_outs}
    for name in state.steps:
        begun.setdefault(step_of(name), []).append(name)
    return begun


def _no_place(state: SagaState, plan: Plan, renamed: Mapping[str, str]) -> Iterator[str]:
    """Why a step that has begun, or a signal that was received, has no place in the new plan."""
    names = _names(plan)
    for was, elements in _begun(state).items():
        now = renamed.get(was, was)
        if now in names:
            yield from _unlike(state, was, elements, plan.step(now), renamed)
        else:
            yield from _lost(state, was, elements)
    for name, payloads in state.signals.items():
        now = renamed.get(name, name)
        if payloads and (now not in names or not isinstance(plan.step(now).work, Signal)):
            yield f"it has received the signal {name!r}, for which no step of the new plan waits"


def _lost(state: SagaState, name: str, elements: list[str]) -> Iterator[str]:
    """Why the new plan must have a step."""
    planned = state.plan.step(name)
    lacks = f"step {name!r}, which the new plan lacks,"
    if not state.is_done(name):
        yield f"{lacks} has begun, and is not done"
    elif any(state.step(element).status is StepStatus.COMPLETED for element in elements):
        if planned.kind == "pivot":
            yield f"{lacks} is a pivot that is done"
        elif planned.compensation is not None and _has_effect(state, elements):
            yield f"{lacks} is done, and has a compensation"


def _has_effect(state: SagaState, elements: list[str]) -> bool:
    return any(element in state.effects for element in elements)


def _unlike(
    state: SagaState, was: str, elements: list[str], planned: StepPlan, renamed: Mapping[str, str]
) -> Iterator[str]:
    """Why a step that has begun cannot go on as this step of the new plan."""
    old = state.plan.step(was)
    step = f"step {was!r} has begun"
    if old.kind != planned.kind:
        yield f"{step} as {old.kind}, and is {planned.kind} in the new plan"
    if _sort_of_work(old) != _sort_of_work(planned):
        yield f"{step} as {_sort_of_work(old)}, and is {_sort_of_work(planned)} in the new plan"
    if _over(old, renamed) != planned.over:
        yield f"{step} over {old.over or 'no list'}, and goes over {planned.over or 'no list'} in the new plan"
    is_undone = _has_effect(state, elements) or not state.is_done(was)
    if old.compensation is not None and planned.compensation is None and is_undone:
        yield f"{step}, and the new plan has no compensation for it"
    if old.probe and not planned.probe and any(_awaits_probe(state.step(element)) for element in elements):
        yield f"{step} and is asked whether it has happened, and the new plan has no probe for it"


def _sort_of_work(planned: StepPlan) -> str:
    match planned.work:
        case None:
            return "a call"
        case Child(saga):
            return f"the saga {saga!r}"
        case Signal():
            return "a wait for a signal"
        case _:
            return "a delay"


def _over(planned: StepPlan, renamed: Mapping[str, str]) -> str | None:
    if planned.over is None:
        return None
    root = root_of(planned.over)
    return renamed.get(root, root) + planned.over[len(root) :]


def _awaits_probe(step: StepState) -> bool:
    return step.probing or (isinstance(step.waiting, e.StepFailed) and step.waiting.last)


def _out_of_order(state: SagaState, plan: Plan, renamed: Mapping[str, str]) -> Iterator[str]:
    """Why a step of the new plan comes too late: a step that waits for it there has begun already."""
    names = _names(plan)
    done = {now for was in _begun(state) if (now := renamed.get(was, was)) in names and state.is_done(was)}
    for was in _begun(state):
        now = renamed.get(was, was)
        late = [other for other in plan.after(now) if other not in done] if now in names else []
        if late:
            yield f"step {was!r} has begun, and in the new plan it waits for {_named(late)}"


def _named(steps: list[str]) -> str:
    return f"{', '.join(map(repr, steps))}, which {'is' if len(steps) == 1 else 'are'} not done"


def _collisions(state: SagaState, plan: Plan, renamed: Mapping[str, str]) -> list[str]:
    """Two steps that would be one; and a step that would be called with the keys of another."""
    found = []
    for now in dict.fromkeys(renamed.values()):
        several = [was for was, other in renamed.items() if other == now]
        if len(several) > 1:
            found.append(f"steps {' and '.join(map(repr, several))} would both be {now!r}")
    names = _names(plan)
    for name, step in state.steps.items():
        key, now = step_of(step.called_as or name), step_of(present_name(name, renamed))
        if now in names and key != now and key in names:
            found.append(f"step {key!r} of the new plan would be called with the keys of {now!r}, once called {key!r}")
    return list(dict.fromkeys(found))
