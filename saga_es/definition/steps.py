"""The steps of a saga as they were written: plans, code, and the checks on both."""

from __future__ import annotations

from collections.abc import Iterable
from types import MethodType
from typing import Any, assert_never, get_args

import msgspec
from msgspec.structs import replace

from saga_es.core.outcomes import Direction
from saga_es.core.paths import PATH, root_of
from saga_es.core.plan import LONGEST_S, Delay, Kind, Plan, RetryPolicy, StepPlan
from saga_es.core.values import text_of
from saga_es.definition.annotations import CONTEXT
from saga_es.definition.requests import Request
from saga_es.definition.signatures import Asked, Function, asked_by, is_async
from saga_es.errors import DefinitionError

NAME_LIMIT = 100
"""The most characters of a saga's or a step's name."""

MOST_AT_ONCE = 1000

CALL_NAMES = frozenset({"input", "key", "saga_id"})
"""The names that every call may ask for."""

ELEMENT_NAMES = frozenset({"item", "index"})
"""The names that the calls of a step over a list may ask for, too."""

UNDO_NAMES = frozenset({"action_key", "error"})
"""The names that a compensation may ask for, too."""

Callee = Function | Request
"""The code of one call of a step."""


class Step(msgspec.Struct, frozen=True):
    """One step as written: its plan, and the code behind it.

    Attributes:
        action: The action; None in a step that waits. In a step that runs a child saga, it makes the child's input.
        condition: Returns whether the step is done or skipped.
        probe: Says whether the action has happened.
        cancellable: Whether a task of the action is cancelled when the saga aborts.
        is_retired: Whether the code is kept for sagas of older plans alone.
    """

    plan: StepPlan
    action: Callee | None = None
    compensation: Callee | None = None
    condition: Function | None = None
    probe: Callee | None = None
    cancellable: bool = False
    is_retired: bool = False

    def callee(self, direction: Direction) -> Callee | None:
        """The code that is called in this direction; None when there is none."""
        match direction:
            case Direction.ACTION:
                return self.action
            case Direction.COMPENSATION:
                return self.compensation
            case Direction.PROBE:
                return self.probe
            case _:
                assert_never(direction)

    @property
    def callees(self) -> tuple[Callee, ...]:
        """Everything that the step may call."""
        there = (self.action, self.compensation, self.condition, self.probe)
        return tuple(callee for callee in there if callee is not None)


def asked(callee: Callee) -> Asked:
    """The names that a callee asks for."""
    return callee.asked if isinstance(callee, Request) else asked_by(callee)


def needs(callee: Callee) -> tuple[str, ...]:
    """The values that a callee needs from the saga: its context is a function's own."""
    names = asked(callee).needs
    return names if isinstance(callee, Request) else tuple(name for name in names if name != CONTEXT)


def known_names(plan: Plan, name: str, direction: Direction) -> frozenset[str]:
    """The names that a call of a step may ask for."""
    elements = ELEMENT_NAMES if plan.step(name).over is not None else frozenset()
    known = steps_before(plan, name) | CALL_NAMES | elements
    return known | UNDO_NAMES | {name} if direction is Direction.COMPENSATION else known


def steps_before(plan: Plan, name: str) -> frozenset[str]:
    """The steps that are certainly done when this step starts."""
    return frozenset(step.name for step in plan.steps if name in plan.behind(step.name))


def named(function: Function) -> str:
    """The name of a function, which is the name of its step.

    Raises:
        DefinitionError: It has none.
    """
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise DefinitionError(f"{function!r} has no name for its step; give one, as in step(name='pay')")
    return name


def _checked(plan: StepPlan) -> StepPlan:
    name = plan.name
    check_seconds(f"step {name!r}", "timeout_s", plan.timeout_s)
    if plan.kind not in get_args(Kind):
        raise DefinitionError(f"step {name!r}: a kind is one of {', '.join(get_args(Kind))}, not {plan.kind!r}")
    at_once: Any = plan.at_once  # as the user wrote it, of any type
    if not isinstance(at_once, int) or not 1 <= at_once <= MOST_AT_ONCE:
        raise DefinitionError(f"step {name!r}: at_once must be 1 to {MOST_AT_ONCE}, not {plan.at_once}")
    for path in (plan.over, plan.work.seconds if isinstance(plan.work, Delay) else None):
        if isinstance(path, str) and not PATH.fullmatch(path):
            raise DefinitionError(f"step {name!r}: {path!r} is not a path; write name, or name[key]")
    if plan.over is not None and plan.kind == "pivot":
        raise DefinitionError(f"step {name!r} is a pivot, which is one call: it cannot be done over a list")
    return plan


def check_seconds(what: str, name: str, seconds: Any) -> None:
    """Check that a duration is positive and at most a year.

    Raises:
        DefinitionError: It is not.
    """
    if not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_S:
        positive = isinstance(seconds, int | float) and seconds > 0
        rule = f"finite, and at most {LONGEST_S:.0f} (a year)" if positive else "more than 0"
        raise DefinitionError(f"{what}: {name} must be {rule}, not {seconds}")


def _roots(*paths: float | str | None) -> tuple[str, ...]:
    """The names at the start of paths; other values are ignored."""
    return tuple(root_of(path) for path in paths if isinstance(path, str))


class Steps:
    """The steps of one saga, in the order in which they are written.

    Attributes:
        replaced: The present name of each step that had other names in earlier versions, by those names.
    """

    def __init__(self, saga: str) -> None:
        self._saga = saga
        self._steps: dict[str, Step] = {}
        self.replaced: dict[str, str] = {}
        self._undecided: set[str] = set()
        self._group: list[str] | None = None
        self._frontier: tuple[str, ...] | None = None

    def find(self, name: str) -> Step | None:
        """The step of this name; None when there is none."""
        return self._steps.get(name)

    def name_of(self, step: Function | str) -> str:
        """The name of a step, given as its function or by name."""
        if isinstance(step, str):
            return text_of(step)
        its = (name for name, there in self._steps.items() if _is_same(there.action, step))
        return next(its, None) or named(step)

    def names_of(self, steps: Iterable[Function | str] | None) -> tuple[str, ...] | None:
        """The names of steps, each once."""
        return None if steps is None else tuple(dict.fromkeys(map(self.name_of, steps)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all steps, in the order in which they were written."""
        return tuple(self._steps)

    def plans(self) -> tuple[StepPlan, ...]:
        """The plans of all steps, in the order in which they were written.

        Raises:
            DefinitionError: There are no steps, or a step does not say how it is compensated.
        """
        if not self._steps:
            raise DefinitionError(f"saga {self._saga!r} has no steps")
        self.check_decided()
        return tuple(step.plan for step in self._steps.values())

    def check_decided(self) -> None:
        """Check that each step says how it is compensated.

        Raises:
            DefinitionError: A step does not.
        """
        if self._undecided:
            name = min(self._undecided)
            raise DefinitionError(
                f"saga {self._saga!r}: step {name!r} has no compensation; write one with @compensates({name}), "
                "or say @step(compensation=None) if there is nothing to undo"
            )

    def open_group(self) -> None:
        """Begin a group: its steps wait for the step before the group, and not for each other."""
        if self._group is not None:
            raise DefinitionError(
                f"saga {self._saga!r}: a group cannot hold another; say what waits for what by `after`"
            )
        self._group = []
        self._frontier = self._frontier if self._frontier is not None else tuple(self._steps)[-1:]

    def close_group(self) -> None:
        """End the group: the next step waits for all steps of the group."""
        self._frontier, self._group = tuple(self._group or ()) or self._frontier, None

    def add(self, step: Step, after: tuple[str, ...] | None) -> None:
        """Add a step; without `after` it waits for the step or the group written before it."""
        after = self._frontier if after is None else after
        plan = replace(_checked(step.plan), after=after, condition=step.condition is not None)
        self._check_place(plan)
        self._steps[plan.name] = step = replace(step, plan=plan)
        try:
            self._check_plain(step)
            for callee in step.callees:
                self._check_known(plan.name, needs(callee), self._known(plan.name))
            seconds = plan.work.seconds if isinstance(plan.work, Delay) else None
            self._check_known(plan.name, _roots(plan.over, seconds), steps_before(self._plan(), plan.name) | {"input"})
        except DefinitionError:
            del self._steps[plan.name]
            raise
        self._undecided.add(plan.name)
        if self._group is None:
            self._frontier = None
        else:
            self._group.append(plan.name)

    def compensate(self, name: str, compensation: Callee, policy: RetryPolicy) -> None:
        """Set the compensation of a step, and how it is tried."""
        step = self._there(name, "compensation")
        if name not in self._undecided:
            raise DefinitionError(f"saga {self._saga!r}: the compensation of step {name!r} is already settled")
        if step.plan.kind == "retriable":
            raise DefinitionError(f"saga {self._saga!r}: step {name!r} is retriable, and so is never compensated")
        self._check_known(name, needs(compensation), self._known(name, Direction.COMPENSATION))
        self._steps[name] = replace(step, compensation=compensation)
        self.settle(name, policy)

    def settle(self, name: str, policy: RetryPolicy | None = None) -> None:
        """Set how a step's compensation is tried; without a policy there is nothing to undo."""
        step = self._steps[name]
        self._steps[name] = replace(step, plan=replace(step.plan, compensation=policy))
        self._undecided.discard(name)

    def probe(self, name: str, probe: Callee) -> None:
        """Set the probe of a step."""
        step = self._there(name, "probe")
        if step.probe is not None or step.plan.work is not None:
            why = "has a probe already" if step.probe is not None else "makes no call, so there is nothing to probe"
            raise DefinitionError(f"saga {self._saga!r}: step {name!r} {why}")
        if isinstance(probe, Request) and probe.accepts_202:
            why = f"the probe of step {name!r} is answered at once; leave accepts_202 out"
            raise DefinitionError(f"saga {self._saga!r}: {why}")
        self._check_known(name, needs(probe), self._known(name))
        self._steps[name] = replace(step, plan=replace(step.plan, probe=True), probe=probe)

    def replace(self, name: str, earlier: Iterable[str]) -> None:
        """Record that a step had these names in earlier versions."""
        self._there(name, "replacement")
        for was in earlier:
            if was in self._steps:
                raise DefinitionError(
                    f"saga {self._saga!r}: step {name!r} cannot replace {was!r}, which is a step of this version"
                )
            if self.replaced.setdefault(was, name) != name:
                raise DefinitionError(
                    f"saga {self._saga!r}: {was!r} is replaced by {self.replaced[was]!r} and by {name!r}"
                )

    # ── Checking ─────────────────────────────────────────────────────────────────────────────────────────

    def _check_place(self, plan: StepPlan) -> None:
        name = plan.name
        if not name.isidentifier() or len(name) > NAME_LIMIT or name in CALL_NAMES | UNDO_NAMES | ELEMENT_NAMES:
            raise DefinitionError(
                f"saga {self._saga!r}: {name!r} cannot name a step; "
                f"use an identifier of at most {NAME_LIMIT} characters"
            )
        if name in self.replaced:
            raise DefinitionError(
                f"saga {self._saga!r}: {name!r} was the name of step {self.replaced[name]!r}; give this step another"
            )
        if name in self._steps:
            raise DefinitionError(f"saga {self._saga!r} has two steps named {name!r}")
        for other in plan.after or ():
            if other not in self._steps:
                raise DefinitionError(
                    f"saga {self._saga!r}: step {name!r} comes after {other!r}, but no step of that name is "
                    f"written before it; there are {', '.join(self._steps) or 'none'}"
                )

    def _known(self, name: str, direction: Direction = Direction.ACTION) -> frozenset[str]:
        """The names that the calls of a step may ask for."""
        return known_names(self._plan(), name, direction)

    def _plan(self) -> Plan:
        return Plan(self._saga, tuple(step.plan for step in self._steps.values()))

    def _there(self, name: str, what: str) -> Step:
        step = self._steps.get(name)
        if step is None:
            raise DefinitionError(
                f"saga {self._saga!r}: a {what} for {name!r}, but no step of that name; "
                f"there are {', '.join(self._steps) or 'none'}"
            )
        return step

    def _check_known(self, name: str, needed: Iterable[str], known: frozenset[str]) -> None:
        unknown = [one for one in needed if one not in known]
        if unknown:
            raise DefinitionError(
                f"saga {self._saga!r}: step {name!r} asks for {', '.join(map(repr, unknown))}, "
                f"which is known to no earlier step; there are {', '.join(sorted(known))}"
                + ("; give the method of an object, not the function in its class" if unknown[0] == "self" else "")
            )

    def _check_plain(self, step: Step) -> None:
        """Check that what makes a value at once, a condition or a body, does not have to be awaited."""
        bodies = [callee.body for callee in step.callees if isinstance(callee, Request)]
        for function in (step.condition, *bodies):
            if function is not None and is_async(function):
                raise DefinitionError(
                    f"saga {self._saga!r}: step {step.plan.name!r}: {function!r} is an `async def`; a condition or a "
                    "body is a `def`, which computes its value from its parameters: await in a step before it"
                )


def _is_same(action: Callee | None, function: Function) -> bool:
    """Whether this is the function; a method is another object each time it is looked up."""
    return action is function or (isinstance(function, MethodType) and action == function)


def check_kinds(plan: Plan) -> None:
    """Check that no step that can fail comes after the pivot, or beside it: the saga could not go back.

    Raises:
        DefinitionError: Such a step exists, there are several pivots, or a retriable step comes before the pivot.
    """
    pivots = [step.name for step in plan.steps if step.kind == "pivot"]
    if len(pivots) > 1:
        raise DefinitionError(f"saga {plan.saga!r} has {len(pivots)} pivots, {' and '.join(pivots)}; it may have one")
    safe = plan.behind(pivots[0]) if pivots else frozenset()
    for step in plan.steps:
        if step.kind == "retriable" and step.name not in safe:
            raise DefinitionError(f"saga {plan.saga!r}: step {step.name!r} is retriable, so it must come after a pivot")
        can_fail = step.kind == "compensatable" and not step.cannot_fail
        if can_fail and pivots and pivots[0] not in plan.behind(step.name):
            raise DefinitionError(
                f"saga {plan.saga!r}: step {step.name!r} may fail when the pivot {pivots[0]!r} is done, and the "
                "saga could not go back; write it before the pivot, or use kind='retriable'"
            )
