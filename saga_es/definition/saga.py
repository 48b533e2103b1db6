"""A saga as users write it: its steps and their compensations.

A step is a function, or a request to a participant. Both ask for values by the names of their parameters:

- `input`: the input of the saga;
- the name of an earlier step: the result of that step (in a compensation: None where the answer was lost);
- `key`: the idempotency key of this call, a UUID, the same on every attempt and after every crash;
- `action_key`: in a compensation, the key of the action's call;
- `error`: in a compensation, why the saga aborted;
- `item`, `index`: in a step that is done over a list, the element and its place, from 0;
- `saga_id`: the saga's id;
- `context`: in a function, the `StepContext` of the call.

A parameter with a default is given its value too; where there is none, it keeps its default. A mistake raises
`DefinitionError` while the definition is built, not while a saga runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from saga_es.core.plan import (
    BACKWARD,
    FORWARD,
    Child,
    Delay,
    Kind,
    RetryPolicy,
    Signal,
    StepPlan,
    Work,
)
from saga_es.core.values import text_of
from saga_es.definition.requests import Request
from saga_es.definition.signatures import Function, asked_by
from saga_es.definition.steps import NAME_LIMIT, Step, check_seconds, named
from saga_es.definition.written import Written
from saga_es.errors import BadStart, DefinitionError

F = TypeVar("F", bound=Function)

_REQUIRED: Any = object()


class Saga(Written):
    """A saga definition.

    Steps run one after the other, in the order in which they are written, unless `after` or `together` says
    otherwise. Each step has a compensation, or `compensation=None` when there is nothing to undo.

    Args:
        name: The definition's name in the log and in lists.
        deadline_s: Seconds after its start at which a saga aborts, unless its pivot was called.
        at_once: How many of these sagas may have calls in flight on one worker; further sagas stay PENDING. Without
            it, only the worker's own limit counts.
        subject: The field of the input that names whom a saga is about, such as `customer_id`: with encryption, each
            has a key of its own, and `saga-es erase` removes it. None: the tenant as a whole.
    """

    def __init__(
        self,
        name: str,
        *,
        deadline_s: float | None = None,
        at_once: int | None = None,
        subject: str | None = None,
    ) -> None:
        if not 0 < len(name) <= NAME_LIMIT:
            raise DefinitionError(f"a saga's name has 1 to {NAME_LIMIT} characters, not {len(name)}")
        if deadline_s is not None:
            check_seconds(f"saga {name!r}", "deadline_s", deadline_s)
        if at_once is not None and at_once < 1:
            raise DefinitionError(f"saga {name!r}: at_once is at least 1, not {at_once}")
        super().__init__(text_of(name), deadline_s)
        self.at_once = at_once
        self.subject = subject
        self.children: list[Saga] = []

    def subject_of(self, input_: Mapping[str, Any]) -> str:
        """The subject of a saga with this input; empty: the tenant as a whole.

        Raises:
            BadStart: The input does not name it.
        """
        if self.subject is None:
            return ""
        subject = input_.get(self.subject)
        if isinstance(subject, bool) or not isinstance(subject, str | int) or subject == "":
            why = f"its input names its subject in {self.subject!r}, as a text or an integer, and has none there"
            raise BadStart(f"saga {self.name!r} was not started: {why}")
        return str(subject)

    # ── Writing ──────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def step(self, action: F) -> F: ...
    @overload
    def step(
        self,
        *,
        name: str | None = ...,
        title: str | None = ...,
        after: Sequence[Function | str] | None = ...,
        when: Function | None = ...,
        over: Function | str | None = ...,
        at_once: int = ...,
        kind: Kind = ...,
        retry: RetryPolicy = ...,
        timeout_s: float = ...,
        cancellable: bool = ...,
        compensation: None = ...,
    ) -> Callable[[F], F]: ...
    def step(  # noqa: PLR0913 (options, each by name)
        self,
        action: F | None = None,
        *,
        name: str | None = None,
        title: str | None = None,
        after: Sequence[Function | str] | None = None,
        when: Function | None = None,
        over: Function | str | None = None,
        at_once: int = 16,
        kind: Kind = "compensatable",
        retry: RetryPolicy = FORWARD,
        timeout_s: float = 30.0,
        cancellable: bool = False,
        compensation: Any = _REQUIRED,
    ) -> F | Callable[[F], F]:
        """Make the decorated function (`def` or `async def`) the next step; the step has the function's name.

        What is called may be anything that can be called and names its parameters: a method, a `partial`, an object.
        An awaitable that it returns is awaited.

        Args:
            action: The function, when the decorator is written without brackets.
            name: The step's key, when it is not the function's name.
            title: The name that people read; by default the step's name in words.
            after: The steps that must be done before this one starts, as functions or names; by default the step
                written before it. With an empty list the step starts at once.
            when: A pure function; when it returns something false, the step is skipped.
            over: A step whose result is a list, or a path to a list such as `cart[lines]`: the function is called
                for each element, with `item` and `index`; the result is the list of results.
            at_once: How many elements may be under way together.
            kind: `"pivot"`: once the step is done, the saga only goes forward. `"retriable"`: the step comes after the
                pivot, and is tried until it succeeds; it has no compensation.
            retry: How often and how far apart the action is tried.
            timeout_s: Seconds one attempt may take before its outcome counts as unknown.
            cancellable: Whether an `async def` step that runs is cancelled when its saga aborts. What it then returns
                or raises is its outcome; `CancelledError` means that nobody knows what it did, and it is compensated.
            compensation: None when there is nothing to undo; otherwise leave it out and use `compensates`.

        Raises:
            DefinitionError: The name is taken, or a parameter names no value that is known at this point.
        """
        options: dict[str, Any] = {"kind": kind, "retry": retry, "timeout_s": timeout_s, "at_once": at_once}

        def decorate(function: F) -> F:
            asked_by(function)  # what is wrong with it is told before what is wrong with its place
            listed = None if over is None else self._steps.name_of(over)
            plan = _step_plan(name or named(function), title, over=listed, **options)
            self._add(Step(plan, function, condition=when, cancellable=cancellable), after)
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
            DefinitionError: The step does not exist, it has a compensation already, or a parameter is unknown.
        """

        def decorate(function: F) -> F:
            self._steps.compensate(self._steps.name_of(step), function, retry)
            self._plan = self._plan_id = None
            return function

        return decorate

    def probes(self, step: Function | str) -> Callable[[F], F]:
        """Make the decorated function the probe of a step: it says whether an unanswered action has happened.

        The probe answers like the action: it returns the result when the action has happened, and raises
        `StepRejected` when it has not and never will. Any other exception means that the answer is unknown. The
        probe's `key` is the key of the action's call.

        Args:
            step: The step's function, or its name.

        Raises:
            DefinitionError: The step does not exist, it has a probe already, or a parameter is unknown.
        """

        def decorate(function: F) -> F:
            self._steps.probe(self._steps.name_of(step), function)
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
        """Add a step whose action, compensation and probe are requests to participants.

        Args:
            name: The step's key; later steps get its JSON answer by this name.
            action: The request that does the step.
            compensation: The request that undoes it; None when there is nothing to undo.
            probe: The request when the action did not answer. The participant answers 2xx with the action's answer
                when it has happened, and 404 when it has not and never will.
            title: The name that people read; by default the step's name in words.
            after: As for `step`, and so are `when`, `over`, `at_once` and `kind`.
            when: A condition.
            over: A step or a path that gives the list.
            at_once: How many elements may be under way together.
            kind: Whether the saga can go back after the step.
            retry: How often and how far apart the action is tried.
            compensation_retry: The same for the compensation.
            timeout_s: Seconds one attempt may take before its outcome counts as unknown.

        Raises:
            DefinitionError: The name is taken, or a path or body names no value that is known at this point.
        """
        options: dict[str, Any] = {"kind": kind, "retry": retry, "timeout_s": timeout_s, "at_once": at_once}
        plan = _step_plan(name, title, over=None if over is None else self._steps.name_of(over), **options)
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
        """Add a step that waits. The wait survives any crash, and holds no thread.

        Args:
            name: The step's key.
            seconds: How long, from the step's start; or a path to the number, such as `input[grace_s]`.
            title: The name that people read.
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
        """Add a step that waits for the signal of its name, such as an approval or a webhook.

        The signal's payload is the step's result. A signal that arrives before the step starts is kept.

        Args:
            name: The step's key, and the signal's name.
            timeout_s: Seconds after which the step fails and the saga aborts; None: it waits for ever.
            title: The name that people read.
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
        """Add a step that runs another saga; its compensation compensates that whole saga.

        Args:
            name: The step's key; the step's result is the child saga's results, by step.
            saga: The definition of the child saga.
            input: A function that makes the child's input; by default the child gets this saga's input.
            title: The name that people read.
            after: As for `step`, and so are `when`, `over` and `at_once`.
            when: A condition.
            over: A step or a path that gives the list.
            at_once: How many child sagas may be under way together.
            kind: A saga with a pivot cannot be compensated, so its step is a pivot too, or comes after one.
            retry: How often and how far apart `input` is tried.
            compensation_retry: How often and how far apart the child's compensation is tried.
        """
        if kind == "compensatable" and any(step.kind == "pivot" for step in saga.plan.steps):
            raise DefinitionError(
                f"saga {self.name!r}: step {name!r} runs {saga.name!r}, which has a pivot and so cannot be "
                "compensated; use kind='pivot', or kind='retriable' after one"
            )
        options: dict[str, Any] = {"kind": kind, "retry": retry, "at_once": at_once, "work": Child(saga.name)}
        plan = _step_plan(name, title, over=None if over is None else self._steps.name_of(over), **options)
        self._add(Step(plan, input or _same_input, condition=when), after)
        self._steps.settle(name, compensation_retry if kind == "compensatable" else None)
        self.children.append(saga)

    def replaces(self, step: Function | str, *earlier: str) -> None:
        """Say that a step is the one that had these names in earlier versions of this definition.

        A saga that is migrated to this version keeps what it did under an earlier name, also the idempotency key.
        An earlier name that is a step of this version, or of two, raises `DefinitionError`.
        """
        self._steps.replace(self._steps.name_of(step), earlier)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Steps written inside the block run at the same time; the step after the block waits for all of them."""
        self._steps.open_group()
        try:
            yield
        finally:
            self._steps.close_group()

    def _add(self, step: Step, after: Sequence[Function | str] | None) -> None:
        self._steps.add(step, self._steps.names_of(after))
        self._plan = self._plan_id = None


def _step_plan(name: str, title: str | None, *, work: Work | None = None, **options: Any) -> StepPlan:
    name = text_of(name)
    return StepPlan(name=name, title=text_of(title or name.replace("_", " ").capitalize()), work=work, **options)


def _same_input(input: Any) -> Any:  # noqa: A002 (steps ask for it by this name)
    return input


def family(sagas: Iterable[Saga]) -> list[Saga]:
    """The definitions and the definitions of their child sagas, each once.

    Raises:
        DefinitionError: Two definitions have the same name.
    """
    found: dict[str, Saga] = {}
    waiting = list(sagas)
    while waiting:
        saga = waiting.pop(0)
        if found.setdefault(saga.name, saga) is not saga:
            raise DefinitionError(f"there are two sagas named {saga.name!r}; give each a name of its own")
        waiting += [child for child in saga.children if found.get(child.name) is not child]
    return list(found.values())
