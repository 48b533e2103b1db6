"""A definition as it is read: its plan, and the code of its steps, present and retired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from saga_es.core.plan import Plan, plan_id
from saga_es.definition.retired import RetiredSteps
from saga_es.definition.steps import Callee, Step, Steps, check_kinds
from saga_es.errors import DefinitionError


class Written:
    """The steps of a definition, as far as they are written.

    Args:
        name: The name of the definition.
        deadline_s: The deadline that its plan has.
    """

    def __init__(self, name: str, deadline_s: float | None) -> None:
        self.name = name
        self.deadline_s = deadline_s
        self._steps = Steps(name)
        self._retired: list[RetiredSteps] = []
        self._plan: Plan | None = None
        self._plan_id: str | None = None

    @contextmanager
    def retired(self) -> Iterator[None]:
        """Steps written inside the block are no part of this saga: their code is kept for sagas of older plans.

        A step that was removed, or whose present code asks for what older plans do not know, moves in here as it was,
        with its compensation and its probe. The same name may be written outside the block, and in further blocks:
        a saga calls the present code if that fits its plan, else the first retired code that does. `saga-es check`
        says when no saga needs it any more.

        Raises:
            DefinitionError: A step in the block has neither a compensation nor `compensation=None`.
        """
        present, retired = self._steps, RetiredSteps(self.name)
        if isinstance(present, RetiredSteps):
            raise DefinitionError(f"saga {self.name!r}: a block of retired steps cannot hold another")
        self._steps = retired
        try:
            yield
            retired.check_decided()
            self._retired.append(retired)
        finally:
            self._steps = present
            self._plan = self._plan_id = None

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
        """The id of the plan; it changes when the plan does."""
        if self._plan_id is None:
            self._plan_id = plan_id(self.plan)
        return self._plan_id

    @property
    def replaced(self) -> Mapping[str, str]:
        """The present name of each step that had other names in earlier versions, by those names."""
        return self._steps.replaced

    def written(self, step: str) -> Step | None:
        """The step of this name, with its code; None when this definition has none (any more)."""
        return self._steps.find(step)

    def variants(self, step: str) -> tuple[Step, ...]:
        """All code that this definition has for a step: the present code, then the retired."""
        found = (steps.find(step) for steps in (self._steps, *self._retired))
        return tuple(one for one in found if one is not None)

    @property
    def step_names(self) -> tuple[str, ...]:
        """The names of all steps that this definition has code for, each once: the retired ones come last."""
        return tuple(dict.fromkeys(name for steps in (self._steps, *self._retired) for name in steps.names))

    @property
    def callees(self) -> Iterator[Callee]:
        """Everything that this definition may call, its retired code included."""
        for name in self.step_names:
            for step in self.variants(name):
                yield from step.callees
