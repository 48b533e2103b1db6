"""The plan: everything in a saga's definition that decisions need, as plain data.

The log records a plan once per version of a definition. So a log can be folded, decided on and shown without the code
that wrote it, and a saga goes on under the plan that it started with.
"""

from __future__ import annotations

import hashlib
import math
from datetime import timedelta
from functools import cached_property
from typing import Literal
from zlib import crc32

import msgspec

LONGEST_S = 366 * 86_400.0
"""The longest wait in seconds. A date beyond the calendar would stop more than its own saga."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and how far apart, a call is tried.

    The wait after attempt n is `first_delay_s * factor ** (n - 1)`, at most `cap_s`, then spread by up to
    `jitter` (0.2 means plus or minus 20 %), so that many sagas do not call at the same moment.

    Attributes:
        attempts: Calls in all, the first included; at least 1.
        first_delay_s: Seconds between the first and the second attempt.
        factor: How much longer each wait is than the one before; at least 1.
        cap_s: The longest wait in seconds, before jitter.
        jitter: The fraction of the wait, 0 to 1, by which it may be longer or shorter.
        give_up_on: Errors after which no attempt follows: names of exception classes, which include their
            subclasses, or answers such as `"HTTP 501"`. It does not change whether the call may have acted.
    """

    attempts: int = 4
    first_delay_s: float = 0.2
    factor: float = 2.0
    cap_s: float = 30.0
    jitter: float = 0.2
    give_up_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("first_delay_s", "factor", "cap_s"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number, not {getattr(self, name)}")
            if getattr(self, name) > LONGEST_S:
                raise ValueError(f"{name} must be at most {LONGEST_S:.0f} (a year), not {getattr(self, name)}")
        for ok, rule in (
            (self.attempts >= 1, f"attempts must be at least 1, not {self.attempts}"),
            (self.first_delay_s >= 0, f"first_delay_s must not be negative: {self.first_delay_s}"),
            (self.factor >= 1, f"factor must be at least 1, not {self.factor}"),
            (self.cap_s >= 0, f"cap_s must not be negative: {self.cap_s}"),
            (0 <= self.jitter <= 1, f"jitter must be between 0 and 1, not {self.jitter}"),
        ):
            if not ok:
                raise ValueError(rule)

    def delay_after(self, attempt: int, seed: str) -> timedelta:
        """The wait after a failed attempt (1-based); the same seed always gives the same jitter."""
        try:
            base = min(self.cap_s, self.first_delay_s * self.factor ** (attempt - 1))
        except OverflowError:  # the cap was reached long before
            base = self.cap_s
        spread = crc32(f"{seed}/{attempt}".encode()) / 0xFFFFFFFF * 2 - 1
        return timedelta(seconds=base * (1 + self.jitter * spread))


FORWARD = RetryPolicy()
BACKWARD = RetryPolicy(attempts=10)
"""Compensations get more attempts, because a person is needed when one is given up."""


Kind = Literal["compensatable", "pivot", "retriable"]
"""A step when a later step fails: it is undone / it was the point of no return / it is retried until it succeeds."""


class Delay(msgspec.Struct, frozen=True, tag="delay"):
    """A step that waits.

    Attributes:
        seconds: How long; or a path to the number: `input[grace_s]`, `quote[valid_s]`.
    """

    seconds: float | str


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """A step that waits for the signal of its name.

    Attributes:
        timeout_s: Seconds after which the step fails; None: it waits for ever.
    """

    timeout_s: float | None


class Child(msgspec.Struct, frozen=True, tag="saga"):
    """A step that runs another saga, given by its name."""

    saga: str


Work = Delay | Signal | Child


class StepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan.

    Attributes:
        name: The step's key, unique in its saga; its result has this name.
        title: The name that people read.
        after: The steps that must be done before this one starts; None: the step written before it.
        kind: Once the pivot is done, the saga only goes forward: retriable steps are tried until they succeed.
        retry: How the action is tried; for a retriable step, only the waits count.
        compensation: How the compensation is tried; None when there is nothing to compensate.
        timeout_s: Seconds one attempt may take before its outcome counts as unknown.
        work: What the step does, if it is not a call.
        over: A path to the list, such as `cart[lines]`; the step is done for each of its elements on its own.
        at_once: How many of these elements may be under way together.
        condition: Whether the code has a condition that may skip the step.
        probe: Whether the code has a probe, which asks whether an unanswered action has happened.
    """

    name: str
    title: str
    after: tuple[str, ...] | None = None
    kind: Kind = "compensatable"
    retry: RetryPolicy = FORWARD
    compensation: RetryPolicy | None = BACKWARD
    timeout_s: float = 30.0
    work: Work | None = None
    over: str | None = None
    at_once: int = 16
    condition: bool = False
    probe: bool = False

    @property
    def cannot_fail(self) -> bool:
        """Whether the step only waits, and cannot time out."""
        return not self.condition and (isinstance(self.work, Delay) or self.work == Signal(None))


class Plan(msgspec.Struct, frozen=True, dict=True):
    """The steps of a saga, each written after the steps that it waits for.

    Every decision looks up steps and the steps that they wait for, so both tables are made once and kept.

    Attributes:
        deadline_s: Seconds after its start at which a saga that can still go back aborts.
    """

    saga: str
    steps: tuple[StepPlan, ...]
    deadline_s: float | None = None

    def step(self, name: str) -> StepPlan:
        """The step of this name, or of this element's name; KeyError when the plan has none."""
        if name in self._by_name:
            return self._by_name[name]
        return self._by_name[step_of(name)]

    def after(self, name: str) -> tuple[str, ...]:
        """The steps that must be done before this one starts."""
        return self._after[name]

    def behind(self, name: str) -> frozenset[str]:
        """All steps that wait for this one, directly or through others."""
        return self._behind.get(name, frozenset())

    @cached_property
    def is_sequence(self) -> bool:
        """Whether the steps are done one after the other, each once."""
        return all(step.after is None and step.over is None for step in self.steps)

    @cached_property
    def no_results(self) -> dict[str, None]:
        """The name of each step: what is given to a step before any other has a result."""
        return dict.fromkeys(step.name for step in self.steps)

    @cached_property
    def following(self) -> dict[str | None, tuple[int, str | None]]:
        """What follows each step of a sequence whose answer completes it: how many were called by then, and the next.

        None stands for the start as a step, and for the end as what follows. A step that waits is not there, nor is the
        step before it; of a plan that is no sequence, nothing is.
        """
        following: dict[str | None, tuple[int, str | None]] = {}
        name, work = None, None
        for place, step in enumerate(self.steps if self.is_sequence else ()):
            if work is None and not isinstance(step.work, Delay | Signal):
                following[name] = (place, step.name)
            name, work = step.name, step.work
        if self.is_sequence and work is None:
            following[name] = (len(self.steps), None)
        return following

    @cached_property
    def _by_name(self) -> dict[str, StepPlan]:
        return {step.name: step for step in self.steps}

    @cached_property
    def _after(self) -> dict[str, tuple[str, ...]]:
        befores = [(), *((step.name,) for step in self.steps)]
        return {
            step.name: before if step.after is None else step.after
            for step, before in zip(self.steps, befores, strict=False)
        }

    @cached_property
    def _behind(self) -> dict[str, frozenset[str]]:
        behind: dict[str, frozenset[str]] = {}
        for name in self._by_name:
            found: set[str] = set()
            for step in self.steps:
                if not found.union((name,)).isdisjoint(self.after(step.name)):
                    found.add(step.name)
            behind[name] = frozenset(found)
        return behind


def element_of(step: str, index: int) -> str:
    """The name of one element of a step that is done over a list: `ticket[2]`, counted from 0."""
    return f"{step}[{index}]"


def step_of(name: str) -> str:
    """The step that an element belongs to; the name of a step is returned as it is."""
    return name.partition("[")[0]


def index_of(name: str) -> int | None:
    """The place (0-based) of an element in its list; None for the name of a step."""
    index = name.partition("[")[2]
    return int(index[:-1]) if index else None


def plan_id(plan: Plan) -> str:
    """The plan's id, a hash of its content: the same plan has the same id everywhere."""
    return content_id(msgspec.json.encode(plan, order="deterministic"))


def content_id(plan_text: bytes) -> str:
    """The id of the plan with this JSON: a hash of the text, so that a plan of an older version keeps its id."""
    return "plan-" + hashlib.sha256(plan_text).hexdigest()[:32]
