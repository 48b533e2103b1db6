"""What users write: a saga, its steps and their compensations.

A step is a function, or a request to a participant. Both say what they need by the names of their parameters:

- `input`: what the saga was started with;
- the name of an earlier step: what that step answered (for a compensation: None where the answer was lost);
- `key`: the idempotency key of this call, a UUID, the same on every attempt and after every crash;
- `action_key`: in a compensation, the key the action's call had;
- `saga_id`: the saga's id.

Mistakes are `DefinitionError`s while the saga is being written, not surprises while it runs.
"""

from __future__ import annotations

import inspect
import math
import re
import string
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload
from urllib.parse import quote

import msgspec

from saga_es.core.plan import BACKWARD, FORWARD, Plan, RetryPolicy, StepPlan, plan_id
from saga_es.errors import DefinitionError

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)

NAME_LIMIT = 100
"""Characters of a saga's or a step's name."""

_FIELD = re.compile(r"[A-Za-z_]\w*(\[\w+\])*")
_CALL_NAMES = frozenset({"input", "key", "saga_id"})
_REQUIRED: Any = object()


class Request(msgspec.Struct, frozen=True):
    """A call to a participant over HTTP, as a value; made with `Participant.post` and its siblings.

    Attributes:
        participant: Who is called; where it lives is a setting.
        path: May hold `{names}` like those of a step function, with indexes: `/seats/{booking[seat_id]}`.
        body: A function that makes the JSON body, given what its parameters name.
    """

    participant: str
    method: str
    path: str
    body: Function | None = None

    def __post_init__(self) -> None:
        _names_in(self.path)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names the path and the body refer to."""
        return tuple(dict.fromkeys([*_names_in(self.path), *(_parameters(self.body) if self.body else ())]))

    def url_path(self, given: Mapping[str, Any]) -> str:
        """The path with its names filled in, each value quoted so that it stays one segment."""
        return _QuotingFormatter().vformat(self.path, (), given)

    def json_body(self, given: Mapping[str, Any]) -> Any:
        """The body as a value to be written as JSON; None when the request has none."""
        return None if self.body is None else self.body(**{name: given[name] for name in _parameters(self.body)})


class Participant:
    """A service that takes part in sagas, known by a name.

    Its calls go to the base URL of the setting `SAGA_ES_PARTICIPANT_<NAME>`; without one, to the application
    in this process.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def post(self, path: str, body: Function | None = None) -> Request:
        """A POST to this participant."""
        return Request(self.name, "POST", path, body)

    def put(self, path: str, body: Function | None = None) -> Request:
        """A PUT to this participant."""
        return Request(self.name, "PUT", path, body)

    def delete(self, path: str, body: Function | None = None) -> Request:
        """A DELETE to this participant."""
        return Request(self.name, "DELETE", path, body)


Callee = Function | Request
"""What a step calls."""


class Step(msgspec.Struct, frozen=True):
    """One step as written: its plan, and what to call either way."""

    plan: StepPlan
    action: Callee
    compensation: Callee | None


class Saga:
    """A saga definition.

    Steps run in the order in which they are written. Each step has a compensation, or says
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
        retry: RetryPolicy = ...,
        timeout_s: float = ...,
        compensation: None = ...,
    ) -> Callable[[F], F]: ...
    def step(
        self,
        action: F | None = None,
        *,
        title: str | None = None,
        retry: RetryPolicy = FORWARD,
        timeout_s: float = 30.0,
        compensation: Any = _REQUIRED,
    ) -> F | Callable[[F], F]:
        """Make the decorated function (`def` or `async def`) the next step, named like the function.

        Args:
            action: The function, when the decorator is written without brackets.
            title: What people read; the name in words if left out.
            retry: How often and how far apart the action is tried.
            timeout_s: Seconds one attempt may take before its outcome counts as unknown.
            compensation: None when there is nothing to undo; otherwise leave it out and use `compensates`.

        Raises:
            DefinitionError: The name is taken, or a parameter names nothing known at this point.
        """

        def decorate(function: F) -> F:
            name = function.__name__
            self._add(Step(_step_plan(name, title, retry, timeout_s, BACKWARD), function, None))
            if compensation is None:
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

    def request(
        self,
        name: str,
        action: Request,
        *,
        compensation: Request | None,
        title: str | None = None,
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
            retry: How often and how far apart the action is tried.
            compensation_retry: The same for the compensation.
            timeout_s: Seconds one attempt may take before its outcome counts as unknown.

        Raises:
            DefinitionError: The name is taken, or a path or body names nothing known at this point.
        """
        self._add(Step(_step_plan(name, title, retry, timeout_s, BACKWARD), action, None))
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
        return Plan(self.name, tuple(step.plan for step in self._steps.values()))

    def _add(self, step: Step) -> None:
        name = step.plan.name
        if not name.isidentifier() or len(name) > NAME_LIMIT or name in _CALL_NAMES or name == "action_key":
            raise DefinitionError(
                f"saga {self.name!r}: {name!r} cannot name a step; use an identifier of at most {NAME_LIMIT} characters"
            )
        if name in self._steps:
            raise DefinitionError(f"saga {self.name!r} has two steps named {name!r}")
        self._check_names(name, step.action, frozenset(self._steps) | _CALL_NAMES)
        self._steps[name] = step
        self._undecided.add(name)
        self._plan = self._plan_id = None

    def _put(self, name: str, compensation: Callee | None, policy: RetryPolicy | None) -> None:
        step = self._steps.get(name)
        if step is None:
            raise DefinitionError(
                f"saga {self.name!r}: a compensation for {name!r}, but no step of that name; "
                f"there are {', '.join(self._steps) or 'none'}"
            )
        if name not in self._undecided:
            raise DefinitionError(f"saga {self.name!r}: the compensation of step {name!r} is already settled")
        if compensation is not None:
            earlier = list(self._steps)[: list(self._steps).index(name) + 1]
            self._check_names(name, compensation, frozenset(earlier) | _CALL_NAMES | {"action_key"})
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
    return callee.needs if isinstance(callee, Request) else _parameters(callee)


def _parameters(function: Function) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"the parameters of {function!r} cannot be read; wrap it in a function") from error
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DefinitionError(f"{function!r} must name each of its parameters, not {parameter}")
    return tuple(p.name for p in parameters if p.default is p.empty)


def _step_plan(
    name: str, title: str | None, retry: RetryPolicy, timeout_s: float, compensation: RetryPolicy
) -> StepPlan:
    if not timeout_s > 0 or math.isinf(timeout_s):
        rule = "finite" if math.isinf(timeout_s) else "more than 0"
        raise DefinitionError(f"step {name!r}: timeout_s must be {rule}, not {timeout_s}")
    words = name.replace("_", " ").capitalize()
    return StepPlan(name=name, title=title or words, retry=retry, compensation=compensation, timeout_s=timeout_s)


def _names_in(path: str) -> list[str]:
    """The names a path asks for: `{name}` or `{name[index]}`, and nothing cleverer."""
    try:
        parts = list(string.Formatter().parse(path))
    except ValueError as error:
        raise DefinitionError(f"the path {path!r} cannot be read: {error}") from error
    names = []
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        if conversion or "{" in (spec or "") or not _FIELD.fullmatch(field):
            raise DefinitionError(
                f"the path {path!r} may hold {{name}} and {{name[index]}}, but not reach into attributes: {{{field}}}"
            )
        names.append(field.partition("[")[0])
    return names


class _QuotingFormatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        segment = quote(str(super().format_field(value, format_spec)), safe="")
        if segment in {"", ".", ".."}:  # these mean another path altogether
            raise ValueError(f"{value!r} cannot be a segment of a path")
        return segment
