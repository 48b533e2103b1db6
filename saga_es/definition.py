"""What users write: a saga, its steps and their compensations.

A step is a function, or a request to a participant. Both say what they need by the names of their parameters:

- `input`: what the saga was started with;
- the name of an earlier step: what that step answered (for a compensation: None where the answer was lost);
- `key`: the idempotency key of this call, a UUID, the same on every attempt and after every crash;
- `action_key`: in a compensation, the key the action's call had;
- `error`: in a compensation, why the saga turned round;
- `saga_id`: the saga's id.

Mistakes are `DefinitionError`s while the saga is being written, not surprises while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import msgspec

from saga_es.core.plan import BACKWARD, FORWARD, LONGEST_S, Kind, Plan, RetryPolicy, StepPlan, plan_id
from saga_es.errors import DefinitionError
from saga_es.request import Function, Request, parameters

F = TypeVar("F", bound=Function)

NAME_LIMIT = 100
"""Characters of a saga's or a step's name."""

_CALL_NAMES = frozenset({"input", "key", "saga_id"})
_UNDO_NAMES = frozenset({"action_key", "error"})
_REQUIRED: Any = object()


Callee = Function | Request
"""What a step calls."""


class Step(msgspec.Struct, frozen=True):
    """One step as written: its plan, and what to call either way."""

    plan: StepPlan
    action: Callee
    compensation: Callee | None


class Saga:
    """A saga definition.

    Steps run one after the other, in the order in which they are written, unless `after` says what a step waits
    for: steps that wait for nothing that is not done run at the same time. Each step has a compensation, or says
    `compensation=None` when there is nothing to undo.

    Args:
        name: The definition's name, as it stands in the log and in lists.
    """

    def __init__(self, name: str) -> None:
        if not 0 < len(name) <= NAME_LIMIT:
            raise DefinitionError(f"a saga's name has 1 to {NAME_LIMIT} characters, not {len(name)}")
        self.name = name
        self._steps: dict[str, Step] = {}
        self._undecided: set[str] = set()
        self._plan: Plan | None = None
        self._plan_id: str | None = None

    # ── Writing ──────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def step(self, action: F) -> F: ...
    @overload
    def step(
        self,
        *,
        title: str | None = ...,
        after: Sequence[Function | str] | None = ...,
        kind: Kind = ...,
        retry: RetryPolicy = ...,
        timeout_s: float = ...,
        compensation: None = ...,
    ) -> Callable[[F], F]: ...
    def step(
        self,
        action: F | None = None,
        *,
        title: str | None = None,
        after: Sequence[Function | str] | None = None,
        kind: Kind = "compensatable",
        retry: RetryPolicy = FORWARD,
        timeout_s: float = 30.0,
        compensation: Any = _REQUIRED,
    ) -> F | Callable[[F], F]:
        """Make the decorated function (`def` or `async def`) the next step, named like the function.

        Args:
            action: The function, when the decorator is written without brackets.
            title: What people read; the name in words if left out.
            after: The steps that must be done before this one starts, as functions or names; the one written
                before it if left out. An empty list: it starts at once.
            kind: `"pivot"`: once it is done, the saga only goes forward. `"retriable"`: comes after the pivot, and
                is tried until it succeeds; it has no compensation.
            retry: How often and how far apart the action is tried.
            timeout_s: Seconds one attempt may take before its outcome counts as unknown.
            compensation: None when there is nothing to undo; otherwise leave it out and use `compensates`.

        Raises:
            DefinitionError: The name is taken, or a parameter names nothing known at this point.
        """

        def decorate(function: F) -> F:
            name = function.__name__
            self._add(Step(_step_plan(name, title, _names(after), kind, retry, timeout_s), function, None))
            if compensation is None or kind == "retriable":
                self._put(name, compensation=None, policy=None)
            return function

        return decorate if action is None else decorate(action)

    def compensates(self, step: Function | str, *, retry: RetryPolicy = BACKWARD) -> Callable[[F], F]:
        """Make the decorated function the compensation of a step.

        Args:
            step: The step's function, or its name.
            retry: How often and how far apart the compensation is tried.

        Raises:
            DefinitionError: There is no such step, it has a compensation already, or a parameter is unknown.
        """
        name = step if isinstance(step, str) else step.__name__

        def decorate(function: F) -> F:
            self._put(name, function, retry)
            return function

        return decorate

    def request(  # noqa: PLR0913 (options, each by name)
        self,
        name: str,
        action: Request,
        *,
        compensation: Request | None,
        title: str | None = None,
        after: Sequence[Function | str] | None = None,
        kind: Kind = "compensatable",
        retry: RetryPolicy = FORWARD,
        compensation_retry: RetryPolicy = BACKWARD,
        timeout_s: float = 30.0,
    ) -> None:
        """Add a step that is a request to a participant, and its compensation likewise.

        Args:
            name: The step's key; later steps get its JSON answer by this name.
            action: What is called.
            compensation: What undoes it; None when there is nothing to undo.
            title: What people read; the name in words if left out.
            after: As for `step`.
            kind: As for `step`.
            retry: How often and how far apart the action is tried.
            compensation_retry: The same for the compensation.
            timeout_s: Seconds one attempt may take before its outcome counts as unknown.

        Raises:
            DefinitionError: The name is taken, or a path or body names nothing known at this point.
        """
        self._add(Step(_step_plan(name, title, _names(after), kind, retry, timeout_s), action, None))
        self._put(name, compensation, None if compensation is None else compensation_retry)

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def plan(self) -> Plan:
        """The plan of this definition as it is now.

        Raises:
            DefinitionError: A step has neither a compensation nor `compensation=None`, or there are no steps.
        """
        if self._plan is None:
            self._plan = self._build()
        return self._plan

    @property
    def plan_id(self) -> str:
        """The id of that plan: it changes when the plan does."""
        if self._plan_id is None:
            self._plan_id = plan_id(self.plan)
        return self._plan_id

    def callee(self, step: str, *, compensation: bool) -> Callee | None:
        """What the step calls; None when this definition has no such step or compensation (any more)."""
        written = self._steps.get(step)
        if written is None:
            return None
        return written.compensation if compensation else written.action

    # ── Checking ─────────────────────────────────────────────────────────────────────────────────────────

    def _build(self) -> Plan:
        if not self._steps:
            raise DefinitionError(f"saga {self.name!r} has no steps")
        if self._undecided:
            name = min(self._undecided)
            raise DefinitionError(
                f"saga {self.name!r}: step {name!r} has no compensation; write one with @compensates({name}), "
                "or say @step(compensation=None) if there is nothing to undo"
            )
        plan = Plan(self.name, tuple(step.plan for step in self._steps.values()))
        self._check_kinds(plan)
        return plan

    def _check_kinds(self, plan: Plan) -> None:
        """Nothing that can fail may come after the pivot, or beside it: the saga could not go back."""
        pivots = [step.name for step in plan.steps if step.kind == "pivot"]
        if len(pivots) > 1:
            raise DefinitionError(
                f"saga {self.name!r} has {len(pivots)} pivots, {' and '.join(pivots)}; it may have one"
            )
        safe = plan.behind(pivots[0]) if pivots else frozenset()
        for step in plan.steps:
            if step.kind == "retriable" and step.name not in safe:
                raise DefinitionError(
                    f"saga {self.name!r}: step {step.name!r} is retriable, so it must come after a pivot"
                )
            if step.kind == "compensatable" and pivots and pivots[0] not in plan.behind(step.name):
                raise DefinitionError(
                    f"saga {self.name!r}: step {step.name!r} may fail when the pivot {pivots[0]!r} is done, and the "
                    "saga could not go back; let it come before the pivot, or say kind='retriable'"
                )

    def _add(self, step: Step) -> None:
        name = step.plan.name
        if not name.isidentifier() or len(name) > NAME_LIMIT or name in _CALL_NAMES | _UNDO_NAMES:
            raise DefinitionError(
                f"saga {self.name!r}: {name!r} cannot name a step; use an identifier of at most {NAME_LIMIT} characters"
            )
        if name in self._steps:
            raise DefinitionError(f"saga {self.name!r} has two steps named {name!r}")
        for other in step.plan.after or ():
            if other not in self._steps:
                raise DefinitionError(
                    f"saga {self.name!r}: step {name!r} is to come after {other!r}, but no step of that name is "
                    f"written before it; there are {', '.join(self._steps) or 'none'}"
                )
        self._steps[name] = step
        try:
            self._check_names(name, step.action, self._before(name) | _CALL_NAMES)
        except DefinitionError:
            del self._steps[name]
            raise
        self._undecided.add(name)
        self._plan = self._plan_id = None

    def _before(self, name: str) -> frozenset[str]:
        """The steps that are surely done when this one starts."""
        plan = Plan(self.name, tuple(step.plan for step in self._steps.values()))
        return frozenset(other for other in self._steps if name in plan.behind(other))

    def _put(self, name: str, compensation: Callee | None, policy: RetryPolicy | None) -> None:
        step = self._steps.get(name)
        if step is None:
            raise DefinitionError(
                f"saga {self.name!r}: a compensation for {name!r}, but no step of that name; "
                f"there are {', '.join(self._steps) or 'none'}"
            )
        if name not in self._undecided:
            raise DefinitionError(f"saga {self.name!r}: the compensation of step {name!r} is already settled")
        if compensation is not None and step.plan.kind == "retriable":
            raise DefinitionError(f"saga {self.name!r}: step {name!r} is retriable, and so is never compensated")
        if compensation is not None:
            known = self._before(name) | {name} | _CALL_NAMES | _UNDO_NAMES
            self._check_names(name, compensation, known)
        plan = msgspec.structs.replace(step.plan, compensation=policy)
        self._steps[name] = msgspec.structs.replace(step, plan=plan, compensation=compensation)
        self._undecided.discard(name)
        self._plan = self._plan_id = None

    def _check_names(self, step: str, callee: Callee, known: frozenset[str]) -> None:
        unknown = [name for name in needs(callee) if name not in known]
        if unknown:
            raise DefinitionError(
                f"saga {self.name!r}: step {step!r} asks for {', '.join(map(repr, unknown))}, "
                f"which is known to no earlier step; there are {', '.join(sorted(known))}"
            )


def needs(callee: Callee) -> tuple[str, ...]:
    """The names a callee asks for."""
    return callee.needs if isinstance(callee, Request) else parameters(callee)


def _names(steps: Sequence[Function | str] | None) -> tuple[str, ...] | None:
    if steps is None:
        return None
    return tuple(dict.fromkeys(step if isinstance(step, str) else step.__name__ for step in steps))


def _step_plan(
    name: str, title: str | None, after: tuple[str, ...] | None, kind: Kind, retry: RetryPolicy, timeout_s: float
) -> StepPlan:
    if not 0 < timeout_s <= LONGEST_S:
        rule = f"finite, and at most {LONGEST_S:.0f} (a year)" if timeout_s > 0 else "more than 0"
        raise DefinitionError(f"step {name!r}: timeout_s must be {rule}, not {timeout_s}")
    words = name.replace("_", " ").capitalize()
    return StepPlan(name=name, title=title or words, after=after, kind=kind, retry=retry, timeout_s=timeout_s)
