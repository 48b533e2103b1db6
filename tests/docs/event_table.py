"""Which fact leads to which event: found by driving `decide` from small plans through what can happen.

`make docs` writes the tables into docs/saga-model.md, between the markers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, assert_never, get_args

from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.commands import (
    Cancel,
    Fail,
    Migrate,
    Pause,
    ReplaceInput,
    Reply,
    Resolve,
    Resume,
    Retry,
    Revoke,
    SendSignal,
    Skip,
)
from saga_es.core.decide import decide
from saga_es.core.evolve import evolve, fold
from saga_es.core.facts import (
    CallProgressed,
    CallReturned,
    CannotGoOn,
    ChildEnded,
    CodeMissing,
    Fact,
    OwnerGone,
    RetryDue,
    Start,
    Woken,
)
from saga_es.core.operate import still_open
from saga_es.core.outcomes import ChildReady, Completed, Direction, Outcome, Rejected, Skipped, Unavailable, Unknown
from saga_es.core.plan import Child, Delay, Plan, RetryPolicy, Signal, StepPlan
from saga_es.core.state import SagaState, SagaStatus, StepState, open_intents
from saga_es.errors import CommandRefused

PAGE = Path(__file__).resolve().parents[2] / "docs" / "saga-model.md"
BEGIN, END = "<!-- made by `make docs`: begin -->", "<!-- made by `make docs`: end -->"

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=300)
"""When every time that a saga waits for has come."""

MOST_STATES = 300
"""States looked at for each plan: enough for every pair the rules allow, and few enough to be quick."""

TWICE = RetryPolicy(attempts=2, jitter=0)
ONCE = RetryPolicy(attempts=1, jitter=0)
A_LIST = {"list": [1, 2]}


def _step(name: str, **options: Any) -> StepPlan:
    return StepPlan(name=name, title=name, **{"retry": ONCE, "compensation": ONCE, **options})


PARTS: tuple[dict[str, Any], ...] = (
    {},
    {"probe": True},
    {"condition": True},
    {"over": "input[list]"},
    {"work": Child("other")},
    {"work": Signal(60), "compensation": None},
    {"work": Delay(60), "compensation": None},
    {"work": Delay(60), "compensation": None, "condition": True},
)
"""All that a step can be."""

PLANS = (
    *(Plan("order", (_step("a", **a), _step("b", **b))) for a in PARTS for b in PARTS),
    *(Plan("order", (_step("a", after=()), _step("b", after=(), **b)), deadline_s=60) for b in PARTS),
    Plan("order", (_step("a", retry=TWICE, compensation=TWICE),)),
    Plan("order", (_step("a", kind="pivot", compensation=None), _step("b", kind="retriable"))),
)


# ── Exploring ────────────────────────────────────────────────────────────────────────────────────────────


class Leads(NamedTuple):
    """That a fact leads to an event: of itself, or because the saga goes on after it."""

    fact: str
    event: str
    of_itself: bool


class Changes(NamedTuple):
    """That an event makes one status of a saga another; of none, before its start."""

    before: SagaStatus | None
    after: SagaStatus
    event: str


@cache
def found() -> tuple[frozenset[Leads], frozenset[Changes]]:
    """All that leads from facts to events, and from status to status, in any plan."""
    leads, changes = set[Leads](), set[Changes]()
    for state, fact, now, events in (turn for plan in PLANS for turn in _explored(plan)):
        own = _own(state, fact, now, events)
        leads |= {Leads(_name(fact), _name(event), i < own) for i, event in enumerate(events)}
        states = list(accumulate(events, evolve, initial=state))
        for before, after, event in zip(states, states[1:], events, strict=False):
            if not before.version or before.status != after.status:
                changes.add(Changes(before.status if before.version else None, after.status, _name(event)))
    return frozenset(leads), frozenset(changes)


def _explored(plan: Plan) -> Iterator[tuple[SagaState, Fact, datetime, list[e.SagaEvent]]]:
    """Breadth first, from the start: every state, and all that may happen to it."""
    first = SagaState("saga-1", plan)
    seen, waiting = {_shape(first)}, deque([first])
    while waiting:
        state = waiting.popleft()
        for fact, now in _moments(state):
            try:
                events = decide(state, fact, now)
            except CommandRefused:
                continue
            yield state, fact, now, events
            after = fold(state, events)
            if _shape(after) not in seen and len(seen) < MOST_STATES:
                seen.add(_shape(after))
                waiting.append(after)


def _moments(state: SagaState) -> Iterator[tuple[Fact, datetime]]:
    """What may happen, and when: that a time has come, only those notice that are there to look."""
    for fact in _facts(state):
        yield fact, NOW
        if isinstance(fact, Woken | OwnerGone | Resume):
            yield fact, LATER


def _own(state: SagaState, fact: Fact, now: datetime, events: list[e.SagaEvent]) -> int:
    """How many of the events, which come first, the fact leads to of itself: a saga that nobody owns does not go on."""
    if isinstance(fact, Start | OwnerGone):
        return 1
    return len(decide(replace(state, owner=None), fact, now)) if events else 0


def _shape(state: SagaState) -> tuple[Any, ...]:
    """What the rules can tell apart: neither how many events led here, nor the words of an error."""
    return (
        bool(state.version),
        state.status,
        state.aborted,
        state.paused is None,
        state.owner is None,
        state.effects,
        state.is_migrated,
        state.starts_at,
        state.deadline_at,
        tuple(state.fan_outs),
        tuple((name, len(given)) for name, given in state.signals.items()),
        tuple((name, _shape_of_step(step)) for name, step in state.steps.items()),
    )


def _shape_of_step(step: StepState) -> tuple[Any, ...]:
    counters = (step.attempts, step.compensation_attempts, step.forgiven)
    waiting = step.waiting and (type(step.waiting), getattr(step.waiting, "last", False))
    flags = (step.probing, step.probed, step.in_doubt, step.interrupted, step.stuck)
    return (step.status, *(min(count, 2) for count in counters), waiting, step.wait, step.child is None, *flags)


def _facts(state: SagaState) -> Iterator[Fact]:
    if not state.version:
        yield from _starts(state.plan)
        return
    for intent in open_intents(state):
        yield from _answers(state, intent)
    yield from (Woken(), OwnerGone("w2"), CodeMissing("the code is gone"), CannotGoOn("it is refused"))
    yield from _orders(state)


def _starts(plan: Plan) -> Iterator[Start]:
    yield from (Start("plan-1", input_, "w1") for input_ in (A_LIST, {}))
    if plan.deadline_s:  # the others need not wait as well
        yield Start("plan-1", A_LIST, None)
        yield Start("plan-1", A_LIST, "w1", starts_at=LATER)


def _answers(state: SagaState, intent: e.Intent) -> Iterator[Fact]:
    match intent:
        case e.StepStarted(step, attempt):
            outcomes = _outcomes(state.plan.step(step))
            yield from (CallReturned(step, Direction.ACTION, attempt, outcome) for outcome in outcomes)
            yield CallProgressed(step, Direction.ACTION, attempt)
            replies = OUTCOMES if state.plan.step(step).work is None else ()  # as only a request has them
            yield from (Reply(step, Direction.ACTION, attempt, outcome) for outcome in replies)
        case e.CompensationStarted(step, attempt):
            yield from (CallReturned(step, Direction.COMPENSATION, attempt, outcome) for outcome in OUTCOMES)
            yield from (Reply(step, Direction.COMPENSATION, attempt, outcome) for outcome in OUTCOMES)
        case e.ProbeStarted(step, attempt):
            yield from (CallReturned(step, Direction.PROBE, attempt, outcome) for outcome in OUTCOMES)
        case e.ChildStarted(step, saga_id=child):
            yield ChildEnded(step, child, "COMPLETED")
            yield ChildEnded(step, child, "COMPENSATED")
            yield ChildEnded(step, child, "FAILED")
        case e.StepFailed(step, attempt):
            yield RetryDue(step, Direction.ACTION, attempt)
        case e.CompensationFailed(step, attempt):
            yield RetryDue(step, Direction.COMPENSATION, attempt)
        case e.WaitStarted():
            pass  # it is woken
        case _:
            assert_never(intent)


OUTCOMES: tuple[Completed | Rejected | Unavailable | Unknown, ...] = (
    Completed(),
    Rejected("no"),
    Unavailable("not now"),
    Unknown("lost"),
)


def _outcomes(step: StepPlan) -> Iterator[Outcome]:
    yield from OUTCOMES
    if step.condition:
        yield Skipped()
    if isinstance(step.work, Child):
        yield ChildReady("saga-2", {})


def _orders(state: SagaState) -> Iterator[Fact]:
    yield from (order("me", "why") for order in (Cancel, Pause, Resume, Retry, Fail, Resolve, Revoke))
    more = replace(state.plan, steps=(*state.plan.steps, _step("more", kind=state.plan.steps[-1].kind)))
    yield Migrate("plan-2", more, {}, "me", "why")
    yield from (SendSignal(step.name) for step in state.plan.steps if isinstance(step.work, Signal))
    for step in still_open(state):
        yield Skip(step, "me", "why")
        yield ReplaceInput(step, A_LIST, "me", "why")


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────


def tables() -> str:
    """The three tables of the page: the life of a saga, the facts, and the events."""
    return "\n\n".join("\n".join(table()) for table in (_life, _facts_table, _events_table))


def _life() -> Iterator[str]:
    _, changes = found()
    yield from ("```mermaid", "stateDiagram-v2")
    for before in (None, *SagaStatus):
        for after in SagaStatus:
            events = [name for name in _names(e.SagaEvent) if Changes(before, after, name) in changes]
            if events:
                yield f"    {before or '[*]'} --> {after}: {', '.join(events)}"
    yield "```"


def _facts_table() -> Iterator[str]:
    yield from ("| fact | what happened |", "|---|---|")
    yield from (f"| `{fact.__name__}` | {_said_by(fact)} |" for fact in get_args(Fact))


def _events_table() -> Iterator[str]:
    leads, _ = found()
    yield from ("| event | what it says | recorded for | or when the saga goes on after |", "|---|---|---|---|")
    for event in get_args(e.SagaEvent):
        name = event.__name__
        for_, after = (
            ", ".join(f"`{fact}`" for fact in _names(Fact) if Leads(fact, name, of_itself) in leads)
            for of_itself in (True, False)
        )
        yield f"| `{name}` | {_said_by(event)} | {for_} | {after} |"


def with_tables(page: str) -> str:
    """The page, with the tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _names(union: Any) -> list[str]:
    return [kind.__name__ for kind in get_args(union)]


def _name(value: object) -> str:
    return type(value).__name__


def _said_by(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
