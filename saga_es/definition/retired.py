"""Retired steps: code that the present plan of a saga does not have, kept for sagas of older plans."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from saga_es.core.plan import StepPlan
from saga_es.definition.steps import Step, Steps


class RetiredSteps(Steps):
    """The steps of one block of retired code.

    What such a step may ask for depends on the plans that it is kept for, which the definition does not know. So that
    is looked at when a worker meets such a plan, and by `saga-es check`.
    """

    def add(self, step: Step, after: tuple[str, ...] | None) -> None:
        """Add a step; the steps that it came after may be gone."""
        super().add(replace(step, is_retired=True), after)

    def _check_place(self, plan: StepPlan) -> None:
        super()._check_place(replace(plan, after=()))

    def _check_known(self, name: str, needed: Iterable[str], known: frozenset[str]) -> None:
        """Nothing to check: see the class."""
