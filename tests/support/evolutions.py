"""Random new versions of a plan: steps renamed, added, dropped, reordered, and changed."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from saga_es.core.commands import Migrate
from saga_es.core.paths import root_of
from saga_es.core.plan import Plan, StepPlan, plan_id
from saga_es.definition.steps import check_kinds
from saga_es.errors import DefinitionError
from tests.support.random_plans import POLICIES, WHO, a_step_of


def an_evolution_of(dice: Random, plan: Plan) -> Migrate:
    """A command that migrates a saga of this plan to a random new version of it."""
    while True:
        replaces: dict[str, str] = {}
        steps = list(plan.steps)
        for _ in range(dice.randint(1, 3)):
            steps = _changed(dice, steps, replaces)
        try:
            made = Plan(plan.saga, tuple(steps), dice.choice([plan.deadline_s, None, 30.0]))
            check_kinds(made)
        except DefinitionError:
            continue
        if steps:
            return Migrate(plan_id(made), made, replaces, *WHO)


def _changed(  # noqa: C901, PLR0911 (a table: one case a change)
    dice: Random, steps: list[StepPlan], replaces: dict[str, str]
) -> list[StepPlan]:
    match dice.choice(["rename", "rename", "add", "add last", "drop", "change", "reorder"]):
        case "rename" if steps:
            was = dice.choice(steps).name
            now = f"{was[0]}_{len(replaces)}"
            if any(step.name == now for step in steps):
                return steps
            for earlier, name in list(replaces.items()):
                if name == was:
                    replaces[earlier] = now
            replaces[was] = now
            return [_renamed(step, was, now) for step in steps]
        case "add":
            place = dice.randint(0, len(steps))
            before = [step.name for step in steps[:place]]
            new = replace(a_step_of(dice, before[:7], "compensatable"), name=f"n{len(steps)}", over=None)
            later = [replace(step, after=(*(step.after or ()), new.name)) for step in steps[place:]]
            return [*steps[:place], new, *later] if all(step.name != new.name for step in steps) else steps
        case "add last":
            kind = "retriable" if any(step.kind == "pivot" for step in steps) else "compensatable"
            new = a_step_of(dice, [step.name for step in steps][:7], kind)  # type: ignore[arg-type]
            new = replace(new, name=f"z{len(steps)}", after=tuple(step.name for step in steps), over=None)
            return [*steps, new] if all(step.name != new.name for step in steps) else steps
        case "drop" if len(steps) > 1:
            return _without(dice, steps)
        case "change" if steps:
            place = dice.randrange(len(steps))
            return [*steps[:place], _other(dice, steps[place]), *steps[place + 1 :]]
        case "reorder" if len(steps) > 1:
            place = dice.randrange(len(steps) - 1)
            first, second = steps[place : place + 2]
            first = replace(first, after=(second.name,))
            second = replace(second, after=tuple(name for name in second.after or () if name != first.name))
            return [*steps[:place], second, first, *steps[place + 2 :]]
        case _:
            return steps


def _renamed(step: StepPlan, was: str, now: str) -> StepPlan:
    over = step.over
    if over is not None and root_of(over) == was:
        over = now + over[len(was) :]
    after = tuple(now if name == was else name for name in step.after or ())
    return replace(step, name=now if step.name == was else step.name, after=after, over=over)


def _without(dice: Random, steps: list[StepPlan]) -> list[StepPlan]:
    gone = dice.choice(steps)
    left = []
    for step in steps:
        if step is gone:
            continue
        after = tuple(dict.fromkeys(name for name in step.after or () if name != gone.name))
        after = after if after == step.after else (*after, *(n for n in gone.after or () if n not in after))
        over = "input[two]" if step.over is not None and root_of(step.over) == gone.name else step.over
        left.append(replace(step, after=after, over=over))
    return left


def _other(dice: Random, step: StepPlan) -> StepPlan:
    match dice.choice(["retry", "compensation", "probe", "condition", "work"]):
        case "retry":
            return replace(step, retry=dice.choice(POLICIES), timeout_s=5.0, at_once=dice.randint(1, 3))
        case "compensation" if step.kind == "compensatable" and step.work is None:
            return replace(step, compensation=dice.choice([None, *POLICIES]))
        case "probe" if step.work is None:
            return replace(step, probe=not step.probe)
        case "condition" if step.kind == "compensatable":
            return replace(step, condition=not step.condition)
        case "work" if step.over is None and step.kind == "compensatable":
            return replace(step, work=None, compensation=POLICIES[0])
        case _:
            return step
