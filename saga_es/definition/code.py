"""The code of definitions as data: which calls each step has code for, and which names each of them asks for.

A process without the code can compare this with a plan: it knows what another process can run, and what it cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from saga_es.core.outcomes import Direction
from saga_es.core.plan import Child
from saga_es.definition.saga import Saga
from saga_es.definition.steps import Callee, Step, needs

Asked = tuple[str, ...] | None
"""The names that a call asks for; None where there is no code for it."""


class StepCode(msgspec.Struct, frozen=True, omit_defaults=True):
    """The code of one step. A parameter with a default is not asked for.

    Attributes:
        action: Of a step that runs a child saga: what makes its input.
        saga: The child saga that the step runs.
        over: Whether the step is done over a list.
        is_retired: Whether the code is kept for sagas of older plans alone.
    """

    action: Asked = None
    compensation: Asked = None
    probe: Asked = None
    condition: Asked = None
    saga: str | None = None
    over: bool = False
    is_retired: bool = False

    @classmethod
    def of(cls, step: Step) -> StepCode:
        """The code of a step as written."""
        work = step.plan.work
        return cls(
            _asked(step.action),
            _asked(step.compensation),
            _asked(step.probe),
            _asked(step.condition),
            work.saga if isinstance(work, Child) else None,
            over=step.plan.over is not None,
            is_retired=step.is_retired,
        )

    def asks(self, direction: Direction) -> Asked:
        """What the call in this direction asks for."""
        match direction:
            case Direction.ACTION:
                return self.action
            case Direction.COMPENSATION:
                return self.compensation
            case Direction.PROBE:
                return self.probe


class SagaCode(msgspec.Struct, frozen=True, omit_defaults=True):
    """The code of one definition.

    Attributes:
        plan_id: The plan of the definition as it is now: new sagas get this one.
        steps: By name; several where older code of the step is kept for older plans.
        leaves_older: Whether new sagas of older plans are left to other workers.
        drains: Whether the worker takes only sagas that no other worker can run.
    """

    plan_id: str
    steps: dict[str, tuple[StepCode, ...]]
    leaves_older: bool = False
    drains: bool = False


Code = Mapping[str, SagaCode]
"""All code of a process, by the names of its definitions."""


def code_of(definitions: Iterable[Saga], *, leaves_older: bool = False, drains: bool = False) -> dict[str, SagaCode]:
    """The code of these definitions."""
    return {saga.name: SagaCode(saga.plan_id, _steps(saga), leaves_older, drains) for saga in definitions}


def decoded(text: str) -> Code:
    """The code that a worker said it has.

    Raises:
        msgspec.DecodeError: It was not written by `encoded`.
    """
    return msgspec.json.decode(text, type=dict[str, SagaCode])


def encoded(code: Code) -> str:
    """The code as JSON."""
    return msgspec.json.encode(code).decode()


def _steps(saga: Saga) -> dict[str, tuple[StepCode, ...]]:
    return {name: tuple(StepCode.of(step) for step in saga.variants(name)) for name in saga.step_names}


def _asked(callee: Callee | None) -> Asked:
    return None if callee is None else needs(callee)
