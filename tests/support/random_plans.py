"""Random journeys: any plan, any answers, any orders and takeovers in between; then nobody interferes any more."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from itertools import count
from random import Random
from typing import Literal

from hypothesis import strategies as st
from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.commands import Cancel, Fail, Pause, ReplaceInput, Resolve, Resume, Retry, Revoke, SendSignal, Skip
from saga_es.core.facts import CallProgressed, CannotGoOn, ChildEnded, CodeMissing, Fact, OwnerGone, Start, Woken
from saga_es.core.operate import still_open
from saga_es.core.outcomes import ChildReady, Completed, Outcome, Rejected, Skipped, Unavailable, Unknown
from saga_es.core.plan import Child, Delay, Kind, Plan, RetryPolicy, Signal, StepPlan, Work
from saga_es.core.state import SagaState, SagaStatus, direction_of
from saga_es.definition.steps import check_kinds
from saga_es.errors import CommandRefused
from tests.support.story import NOW, Loop, action, probed, seconds, undo

INPUT = {"two": [1, 2], "none": [], "many": [1, 2, 3, 4], "no_list": 7, "wait_s": 3}
WHO = ("Ann", "because")

OUTCOMES: list[Outcome] = [
    Completed(),
    Completed({"id": 1}),
    Rejected("no"),
    Unavailable("busy", 5, ("Busy",)),
    Unknown("lost"),
    Unknown("broken", ("Broken",)),
]
POLICIES = [
    RetryPolicy(attempts=1, jitter=0),
    RetryPolicy(attempts=2, first_delay_s=0, jitter=0),
    RetryPolicy(attempts=3, first_delay_s=1, jitter=0.5, give_up_on=("Broken",)),
]

# ── Plans ────────────────────────────────────────────────────────────────────────────────────────────────

WORKS: list[Work | None] = [Delay(2), Delay("input[wait_s]"), Delay("input[no_list][x]"), Signal(None), Signal(9)]
OVER = ["input[two]", "input[two]", "input[many]", "input[none]", "input[no_list]", "a"]


def a_step_of(dice: Random, before: list[str], kind: Kind) -> StepPlan:
    """A step that comes after some of these."""
    work = dice.choice(WORKS) if kind == "compensatable" and dice.random() < 0.3 else None
    work = Child("c") if work is None and dice.random() < 0.2 else work
    waits = isinstance(work, Delay | Signal)
    undoable = not waits and kind == "compensatable" and dice.random() < 0.8
    fans_out = not waits and kind != "pivot" and dice.random() < 0.4
    return StepPlan(
        name="abcdefgh"[len(before)],
        title="",
        after=tuple(dice.sample(before, min(len(before), dice.randint(0, 2)))),
        kind=kind,
        retry=dice.choice(POLICIES),
        compensation=dice.choice(POLICIES) if undoable else None,
        work=work,
        over=dice.choice(OVER) if fans_out else None,
        at_once=dice.randint(1, 3),
        condition=kind == "compensatable" and dice.random() < 0.25,
        probe=work is None and dice.random() < 0.5,
    )


def a_plan_of(dice: Random) -> Plan:
    """Any plan that a definition could have: with a pivot, everything before it leads to it."""
    made: list[StepPlan] = []
    for _ in range(dice.randint(0, 4)):
        made.append(a_step_of(dice, [step.name for step in made], "compensatable"))
    if not made or dice.random() < 0.4:
        pivot = a_step_of(dice, [step.name for step in made], "pivot")
        made.append(replace(pivot, after=tuple(step.name for step in made)))
        for _ in range(dice.randint(0, 2)):
            later = a_step_of(dice, [step.name for step in made], "retriable")
            made.append(replace(later, after=tuple({*(later.after or ()), pivot.name})))
    plan = Plan("order", tuple(made), dice.choice([None, None, 4.0, 60.0]))
    check_kinds(plan)
    return plan


# ── Journeys ─────────────────────────────────────────────────────────────────────────────────────────────


def journeys(longest: int = 60) -> st.SearchStrategy[Loop]:
    """Sagas somewhere on their way: each thrown with dice of its own, which hypothesis seeds."""
    return st.randoms(use_true_random=True).map(lambda dice: a_journey(dice, longest))


def sequences(longest: int = 60) -> st.SearchStrategy[Loop]:
    """Sagas of plans whose steps come one after the other, somewhere on their way."""
    return st.randoms(use_true_random=True).map(lambda dice: a_journey(dice, longest, in_sequence(a_plan_of(dice))))


def in_sequence(plan: Plan) -> Plan:
    """The plan with each step after the one before, and none over a list."""
    return Plan(plan.saga, tuple(replace(step, after=None, over=None) for step in plan.steps), plan.deadline_s)


def a_journey(dice: Random, longest: int = 60, plan: Plan | None = None) -> Loop:
    """A saga somewhere on its way."""
    loop = Loop(plan or a_plan_of(dice))
    starts_at = seconds(5) if dice.random() < 0.1 else None
    loop.tell(Start("plan-1", INPUT, dice.choice(["w1", "w1", "w1", None]), starts_at=starts_at))
    workers = count(2)
    for _ in range(dice.randint(0, longest)):
        happen(dice, loop, workers)
    return loop


def happen(dice: Random, loop: Loop, workers: count[int]) -> None:
    """One thing happens: mostly an answer comes or a time, now and then somebody interferes."""
    if loop.under_way and dice.random() < 0.8:
        answer(dice, loop, dice.choice(list(loop.under_way.values())))
        return
    fact = dice.choice(interferences(loop.state, workers))
    if isinstance(fact, Woken):
        loop.now += timedelta(seconds=dice.randint(0, 10))
    with suppress(CommandRefused):
        loop.tell(fact)


def answer(dice: Random, loop: Loop, intent: e.Intent) -> None:  # noqa: C901 (a table: one case an intent)
    """What comes of an intent, whatever that is: half of the time, all is well."""
    planned = loop.state.plan.step(intent.step)
    if dice.random() < 0.1:
        loop.tell(CallProgressed(intent.step, direction_of(intent), dice.choice((1, 2)), "so far"))
        return
    if dice.random() < 0.5 and not (isinstance(intent, e.WaitStarted) and intent.until is None):
        answer_well(loop, intent)
        return
    skipped: list[Outcome] = [Skipped(), Skipped()] if planned.condition else []
    match intent:
        case e.StepStarted(step, attempt) if planned.work is not None:
            loop.tell(action(step, dice.choice([*OUTCOMES[2:], *skipped]), attempt))
        case e.StepStarted(step, attempt):
            loop.tell(action(step, dice.choice([*OUTCOMES, *skipped]), attempt))
        case e.CompensationStarted(step, attempt):
            loop.tell(undo(step, dice.choice(OUTCOMES), attempt))
        case e.ProbeStarted(step, attempt):
            loop.tell(probed(step, dice.choice(OUTCOMES), attempt))
        case e.ChildStarted(step, saga_id=child):
            loop.tell(ChildEnded(step, child, dice.choice(ENDS), {"x": 1}, "why"))
        case e.WaitStarted(until=None):
            pass
        case e.StepFailed() | e.CompensationFailed() | e.WaitStarted():
            loop.rings(intent)


ENDS: list[Literal["COMPLETED", "COMPENSATED", "FAILED"]] = ["COMPLETED", "COMPENSATED", "FAILED"]


def interferences(state: SagaState, workers: count[int]) -> list[Fact]:
    """What anybody might do to a saga, whether it can be done or not; nothing of it too often."""
    taken, signals = OwnerGone(f"w{next(workers)}"), signals_of(state)
    if state.status.ended:
        return [Retry(*WHO), Revoke(*WHO), Resolve(*WHO), Resolve(*WHO, "COMPLETED"), *ways_out(state)]
    if state.owner is None:
        return [taken, taken, taken, *signals, Cancel(*WHO), Fail(*WHO), Pause(*WHO), Resume(*WHO)]
    if state.paused:
        return [taken, *signals, Woken(), Cancel(*WHO), Resume(*WHO), Resume(*WHO)]
    others: list[Fact] = [
        CannotGoOn("it is refused"),
        CodeMissing("its code is gone"),
        Cancel(*WHO),
        Revoke(*WHO),
        Fail(*WHO),
    ]
    return [taken, taken, *signals, *signals, Woken(), Woken(), Pause(*WHO), Pause(*WHO), Retry(*WHO), *others]


def signals_of(state: SagaState) -> list[Fact]:
    names = [step.name for step in state.plan.steps if isinstance(step.work, Signal)]
    return [SendSignal(name, 1, key) for name in names for key in (None, "k")]


def ways_out(state: SagaState) -> list[Fact]:
    names = still_open(state)
    return [*(Skip(name, *WHO) for name in names), *(ReplaceInput(name, {"two": [1]}, *WHO) for name in names)]


# ── To the end ───────────────────────────────────────────────────────────────────────────────────────────

PATIENCE = 300
"""More turns than any of these sagas can need."""


def let_it_end(loop: Loop) -> Loop:
    """Nobody interferes any more: whoever paused it resumes it, some worker has it, and all that is asked answers."""
    if loop.state.paused and not loop.state.status.ended:
        loop.tell(Resume(*WHO))
    if loop.state.owner is None and not loop.state.status.ended:
        loop.tell(OwnerGone("w-last"))
    turns = 0
    while not loop.state.status.ended:
        turns += 1
        assert turns < PATIENCE, "this saga does not end"
        if loop.state.status is SagaStatus.PENDING:
            loop.now = max(loop.now, loop.state.starts_at or NOW)
            loop.tell(Woken())
        else:
            assert loop.under_way, "nothing of this saga is under way, and it has not ended"
            answer_well(loop, next(iter(loop.under_way.values())))
    return loop


def answer_well(loop: Loop, intent: e.Intent) -> None:
    planned = loop.state.plan.step(intent.step)
    match intent:
        case e.StepStarted(step, attempt) if isinstance(planned.work, Child):
            loop.tell(action(step, ChildReady(f"{step}/{attempt}", {}), attempt))
        case e.StepStarted(step, attempt):
            loop.tell(action(step, Completed(), attempt))
        case e.CompensationStarted(step, attempt):
            loop.tell(undo(step, Completed(), attempt))
        case e.ProbeStarted(step, attempt):
            loop.tell(probed(step, Completed(), attempt))
        case e.ChildStarted(step, saga_id=child):
            loop.tell(ChildEnded(step, child, "COMPENSATED" if loop.state.aborted else "COMPLETED"))
        case e.WaitStarted(step, None):
            loop.tell(SendSignal(step))
        case e.StepFailed() | e.CompensationFailed() | e.WaitStarted():
            loop.rings(intent)
