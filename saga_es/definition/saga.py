"""What users write: a saga, its steps and their compensations.

A step is a function, or a request to a participant. Both say what they need by the names of their parameters:

- `input`: what the saga was started with;
- the name of an earlier step: what that step answered (for a compensation: None where the answer was lost);
- `key`: the idempotency key of this call, a UUID, the same on every attempt and after every crash;
- `action_key`: in a compensation, the key the action's call had;
- `error`: in a compensation, why the saga aborted;
- `item`, `index`: in a step that is done over a list, the element and its place, from 0;
- `saga_id`: the saga's id.

Mistakes are `DefinitionError`s while the saga is being written, not surprises while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from saga_es.core.plan import (
    BACKWARD,
    FORWARD,
    Child,
    Delay,
    Kind,
    Plan,
    RetryPolicy,
    Signal,
    StepPlan,
    Work,
    plan_id,
)
from saga_es.definition.requests import Function, Request
from saga_es.definition.steps import NAME_LIMIT, Step, Steps, check_kinds, check_seconds, name_of, names_of
from saga_es.errors import DefinitionError

F = TypeVar("F", bound=Function)

_REQUIRED: Any = object()


class Saga:
    """A saga definition.

    Steps run one after the other, in the order in which they are written, unless `after` or `together` says
    otherwise. Each step has a compensation, or says `compensation=None` when there is nothing to undo.

    Args:
        name: The definition's name, as it stands in the log and in lists.
        deadline_s: Seconds after its start at which a saga aborts, if it has not called its pivot.
        at_once: How many of these sagas one worker runs together, counted while a call of theirs is out; further ones
            stay PENDING. Without it, the worker's own limit is the only one.
    """

    def __init__(self, name: str, *, deadline_s: float | None = None, at_once: int | None = None) -> None:
        if not 0 < len(name) <= NAME_LIMIT:
            raise DefinitionError(f"a saga's name has 1 to {NAME_LIMIT} characters, not {len(name)}")
        if deadline_s is not None:
            check_seconds(f"saga {name!r}", "deadline_s", deadline_s)
        self.name = name
        if at_once is not None and at_once < 1:
            raise DefinitionError(f"saga {name!r}: at_once is at least 1, not {at_once}")
        self.deadline_s = deadline_s
        self.at_once = at_once
        self.children: list[Saga] = []
        self._steps = Steps(name)
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
        when: Function | None = ...,
        over: Function | str | None = ...,
        at_once: int = ...,
        kind: Kind = ...,
        retry: RetryPolicy = ...,
        timeout_s: float = ...,
        compensation: None = ...,
    ) -> Callable[[F], F]: ...
    def step(  # noqa: PLR0913 (options, each by name)
        self,
        action: F | None = None,
        *,
        title: str | None = None,
        after: Sequence[Function | str] | None = None,
        when: Function | None = None,
        over: Function | str | None = None,
        at_once: int = 16,
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
            when: A pure function of what it asks for; when it says no, the step is skipped.
            over: A step that answers a list, or a path to one such as `cart[lines]`: the function is called for
                each element, with `item` and `index`; the result is the list of results.
            at_once: How many elements may be under way together.
            kind: `"pivot"`: once it is done, the saga only goes forward. `"retriable"`: comes after the pivot, and
                is tried until it succeeds; it has no compensation.
            retry: How often and how far apart the action is tried.
            timeout_s: Seconds one attempt may take before its outcome counts as unknown.
            compensation: None when there is nothing to undo; otherwise leave it out and use `compensates`.

        Raises:
            DefinitionError: The name is taken, or a parameter names nothing known at this point.
        """
        options: dict[str, Any] = {"kind": kind, "retry": retry, "timeout_s": timeout_s, "at_once": at_once}

        def decorate(function: F) -> F:
            plan = _step_plan(function.__name__, title, over=None if over is None else name_of(over), **options)
            self._add(Step(plan, function, condition=when), after)
            if compensation is None or kind == "retriable":
                self._steps.settle(plan.name)
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

        def decorate(function: F) -> F:
            self._steps.compensate(name_of(step), function, retry)
            self._plan = self._plan_id = None
            return function

        return decorate

    def probes(self, step: Function | str) -> Callable[[F], F]:
        """Make the decorated function the probe of a step: asked whether an action has happened that did not answer.

        It answers like the action would have: it returns the result when it has happened, and raises `StepRejected`
        when it has not, and never will; anything else it raises means that it cannot be told. Its `key` is that of
        the action's call.

        Args:
            step: The step's function, or its name.

        Raises:
            DefinitionError: There is no such step, it has a probe already, or a parameter is unknown.
        """

        def decorate(function: F) -> F:
            self._steps.probe(name_of(step), function)
            self._plan = self._plan_id = None
            return function

        return decorate

    def request(  # noqa: PLR0913 (options, each by name)
        self,
        name: str,
        action: Request,
        *,
        compensation: Request | None,
        probe: Request | None = None,
        title: str | None = None,
        after: Sequence[Function | str] | None = None,
        when: Function | None = None,
        over: Function | str | None = None,
        at_once: int = 16,
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
            probe: What is asked when the action did not answer: 2xx with the action's answer when it has happened,
                404 when it has not, and never will.
            title: What people read; the name in words if left out.
            after: As for `step`, and so are `when`, `over`, `at_once` and `kind`.
            when: A condition.
            over: Where the list stands.
            at_once: How many elements may be under way together.
            kind: Whether the saga can go back after it.
            retry: How often and how far apart the action is tried.
            compensation_retry: The same for the compensation.
            timeout_s: Seconds one attempt may take before its outcome counts as unknown.

        Raises:
            DefinitionError: The name is taken, or a path or body names nothing known at this point.
        """
        options: dict[str, Any] = {"kind": kind, "retry": retry, "timeout_s": timeout_s, "at_once": at_once}
        plan = _step_plan(name, title, over=None if over is None else name_of(over), **options)
        self._add(Step(plan, action, condition=when), after)
        if compensation is None:
            self._steps.settle(name)
        else:
            self._steps.compensate(name, compensation, compensation_retry)
        if probe is not None:
            self._steps.probe(name, probe)

    def delay(
        self,
        name: str,
        seconds: float | str,
        *,
        title: str | None = None,
        after: Sequence[Function | str] | None = None,
        when: Function | None = None,
    ) -> None:
        """Add a step that waits; it survives any crash, and holds no thread.

        Args:
            name: The step's key.
            seconds: How long, from when the step starts; or a path to the number, such as `input[grace_s]`.
            title: What people read.
            after: As for `step`, and so is `when`.
            when: A condition.
        """
        if not isinstance(seconds, str):
            check_seconds(f"step {name!r}", "seconds", seconds)
        self._add(Step(_step_plan(name, title, work=Delay(seconds)), condition=when), after)
        self._steps.settle(name)

    def wait_for(
        self,
        name: str,
        *,
        timeout_s: float | None,
        title: str | None = None,
        after: Sequence[Function | str] | None = None,
        when: Function | None = None,
    ) -> None:
        """Add a step that waits until somebody gives the signal of its name: an approval, a webhook.

        Its result is what the signal carries. A signal that comes before the step starts is kept.

        Args:
            name: The step's key, and the signal's name.
            timeout_s: Seconds after which the step fails, and the saga aborts; None: it waits for ever.
            title: What people read.
            after: As for `step`, and so is `when`.
            when: A condition.
        """
        if timeout_s is not None:
            check_seconds(f"step {name!r}", "timeout_s", timeout_s)
        self._add(Step(_step_plan(name, title, work=Signal(timeout_s)), condition=when), after)
        self._steps.settle(name)

    def child(  # noqa: PLR0913 (options, each by name)
        self,
        name: str,
        saga: Saga,
        *,
        input: Function | None = None,  # noqa: A002 (the field's word, and the step functions')
        title: str | None = None,
        after: Sequence[Function | str] | None = None,
        when: Function | None = None,
        over: Function | str | None = None,
        at_once: int = 16,
        kind: Kind = "compensatable",
        retry: RetryPolicy = FORWARD,
        compensation_retry: RetryPolicy = BACKWARD,
    ) -> None:
        """Add a step that runs another saga, and is compensated by compensating that whole saga.

        Args:
            name: The step's key; its result is the results of that saga, by step.
            saga: The definition that is run.
            input: Makes that saga's input from what it asks for; left out, it gets this saga's.
            title: What people read.
            after: As for `step`, and so are `when`, `over` and `at_once`.
            when: A condition.
            over: Where the list stands.
            at_once: How many of its elements' sagas may be under way together.
            kind: A saga that has a pivot cannot be compensated, so its step is a pivot too, or comes after one.
            retry: How the making of the input is tried.
            compensation_retry: How the other saga's compensation is waited for.
        """
        if kind == "compensatable" and any(step.kind == "pivot" for step in saga.plan.steps):
            raise DefinitionError(
                f"saga {self.name!r}: step {name!r} runs {saga.name!r}, which has a pivot and so cannot be "
                "compensated; say kind='pivot', or kind='retriable' after one"
            )
        options: dict[str, Any] = {"kind": kind, "retry": retry, "at_once": at_once, "work": Child(saga.name)}
        plan = _step_plan(name, title, over=None if over is None else name_of(over), **options)
        self._add(Step(plan, input or _same_input, condition=when), after)
        self._steps.settle(name, compensation_retry if kind == "compensatable" else None)
        self.children.append(saga)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Steps written inside the block run at the same time; what comes after it waits for all of them."""
        self._steps.open_group()
        try:
            yield
        finally:
            self._steps.close_group()

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def plan(self) -> Plan:
        """The plan of this definition as it is now.

        Raises:
            DefinitionError: A step has neither a compensation nor `compensation=None`, or there are no steps.
        """
        if self._plan is None:
            self._plan = Plan(self.name, self._steps.plans(), self.deadline_s)
            check_kinds(self._plan)
        return self._plan

    @property
    def plan_id(self) -> str:
        """The id of that plan: it changes when the plan does."""
        if self._plan_id is None:
            self._plan_id = plan_id(self.plan)
        return self._plan_id

    def written(self, step: str) -> Step | None:
        """The step of that name as written; None when this definition has none (any more)."""
        return self._steps.find(step)

    def _add(self, step: Step, after: Sequence[Function | str] | None) -> None:
        self._steps.add(step, names_of(after))
        self._plan = self._plan_id = None


def _step_plan(name: str, title: str | None, *, work: Work | None = None, **options: Any) -> StepPlan:
    return StepPlan(name=name, title=title or name.replace("_", " ").capitalize(), work=work, **options)


def _same_input(input: Any) -> Any:  # noqa: A002 (the name a step asks for)
    return input


def family(sagas: Iterable[Saga]) -> list[Saga]:
    """The definitions, and those that their steps run, each once.

    Raises:
        DefinitionError: Two of them have one name.
    """
    found: dict[str, Saga] = {}
    waiting = list(sagas)
    while waiting:
        saga = waiting.pop(0)
        if found.setdefault(saga.name, saga) is not saga:
            raise DefinitionError(f"there are two sagas named {saga.name!r}; the log could not tell them apart")
        waiting += [child for child in saga.children if found.get(child.name) is not child]
    return list(found.values())
