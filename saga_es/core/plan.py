"""The plan: everything about a saga's definition that deciding needs, as plain data.

A plan is recorded in the log once per definition version, so that a log can be folded, decided on and
shown without the code that wrote it, and a running saga goes on under the plan it started with.
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
"""No wait is longer: a date so far away that no calendar has it would stop more than its own saga."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and how far apart, a call is tried.

    The wait after attempt n is `first_delay_s * factor ** (n - 1)`, at most `cap_s`, then spread by up to
    `jitter` (0.2 means plus or minus 20 %) so that many sagas do not knock at the same moment.

    Attributes:
        attempts: Calls in all, the first included; at least 1.
        first_delay_s: Seconds between the first and the second attempt.
        factor: How much longer each wait is than the one before; at least 1.
        cap_s: The longest wait in seconds, before jitter.
        jitter: Part of the wait, 0 to 1, by which it may differ either way.
        give_up_on: Errors after which no attempt follows: names of exception classes, which stand for their
            subclasses too, or answers such as `"HTTP 501"`. Whether the call has acted is not changed by this.
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
"""Compensations are tried harder: giving one up needs a person."""


Kind = Literal["compensatable", "pivot", "retriable"]
"""What becomes of a step when a later one fails: it is undone / it is the last that can be / it cannot fail."""


class Delay(msgspec.Struct, frozen=True, tag="delay"):
    """A step that waits.

    Attributes:
        seconds: How long; or where the number stands: `input[grace_s]`, `quote[valid_s]`.
    """

    seconds: float | str


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """A step that waits until somebody gives the signal of its name.

    Attributes:
        timeout_s: Seconds after which the step fails; None: it waits for ever.
    """

    timeout_s: float | None


class Child(msgspec.Struct, frozen=True, tag="saga"):
    """A step that runs another saga, of this name."""

    saga: str


Work = Delay | Signal | Child


class StepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan.

    Attributes:
        name: The step's key, unique in its saga; results are known by it.
        title: What people read.
        after: The steps that must be done before this one starts; None: the one written before it.
        kind: Once the pivot is done, the saga only goes forward: retriable steps are tried until they succeed.
        retry: How the action is tried; of a retriable step, how far apart.
        compensation: How the compensation is tried; None when there is nothing to compensate.
        timeout_s: Seconds one attempt may take before its outcome counts as unknown.
        work: What the step does, if it is not a call.
        over: Where the list stands whose elements the step is done for, each on its own: `cart[lines]`.
        at_once: How many of these elements may be under way together.
        condition: Whether the code has a condition that may skip the step.
        probe: Whether the code can ask if a call has happened whose answer is not known.
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
        """Whether it only waits, for something that surely comes or for ever."""
        return not self.condition and (isinstance(self.work, Delay) or self.work == Signal(None))


class Plan(msgspec.Struct, frozen=True, dict=True):
    """The steps of a saga: each after those it waits for, which are written before it.

    Every decision asks it for steps and what they wait for, so both are looked up in tables that are made once.

    Attributes:
        deadline_s: Seconds after its start at which a saga that can still go back aborts.
    """

    saga: str
    steps: tuple[StepPlan, ...]
    deadline_s: float | None = None

    def step(self, name: str) -> StepPlan:
        """The step of that name, or of that part; KeyError when the plan has none."""
        return self._by_name.get(name) or self._by_name[step_of(name)]

    def after(self, name: str) -> tuple[str, ...]:
        """The steps that must be done before this one starts."""
        return self._after[name]

    def behind(self, name: str) -> frozenset[str]:
        """All steps that wait for this one, also by way of others."""
        return self._behind.get(name, frozenset())

    @cached_property
    def is_sequence(self) -> bool:
        """Whether the steps are done one after the other, each once."""
        return all(step.after is None and step.over is None for step in self.steps)

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


def part_of(step: str, index: int) -> str:
    """The name of one element's part of a step that is done over a list: `ticket[2]`, from 0."""
    return f"{step}[{index}]"


def step_of(part: str) -> str:
    """The step that a part belongs to; of a step that has no parts, itself."""
    return part.partition("[")[0]


def index_of(part: str) -> int | None:
    """The place (0-based) of a part's element in its list; None when it is no part."""
    index = part.partition("[")[2]
    return int(index[:-1]) if index else None


def plan_id(plan: Plan) -> str:
    """The plan's id: the same plan has the same id everywhere, a changed one another."""
    return "plan-" + hashlib.sha256(msgspec.json.encode(plan, order="deterministic")).hexdigest()[:32]
