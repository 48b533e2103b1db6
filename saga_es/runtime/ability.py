"""What a worker can run: it takes over only sagas whose code it has.

A plan of which the worker has all code is run without a further look. Of any other plan, a saga may have passed what is
missing: then the saga itself is looked at.
"""

from __future__ import annotations

from collections.abc import Collection

from saga_es.core.plan import Plan
from saga_es.core.state import SagaState
from saga_es.definition.code import Code
from saga_es.logs import logger
from saga_es.runtime.needed_code import CodeHere, missing, missing_for_plan


class Ability:
    """What one worker can run. Used by the loop's thread.

    Attributes:
        names: The names of the definitions.
        lacking: The plans that were met so far and of which this worker does not run every saga.
    """

    def __init__(self, code: CodeHere) -> None:
        self._code = code
        self._full: set[str] = set()
        self.names: Collection[str] = code.definitions
        self.lacking: set[str] = set()

    @property
    def code(self) -> Code:
        """The code of this worker."""
        return self._code.code

    def runs_every(self, plan: Plan, plan_id: str) -> bool:
        """Whether this worker runs every saga of a plan, wherever it is. A plan that it does not run is kept."""
        if plan_id not in self._full and plan_id not in self.lacking:
            self._look_at(plan, plan_id)
        return plan_id in self._full

    def runs(self, state: SagaState) -> bool:
        """Whether this worker has all code that the saga may need until its end, and may begin it."""
        return not missing(state, self.code)

    def _look_at(self, plan: Plan, plan_id: str) -> None:
        lacks = missing_for_plan(plan, self.code)
        if not lacks:
            self._full.add(plan_id)
            return
        self.lacking.add(plan_id)
        why = [str(one) for one in lacks]
        logger.warning("sagas of a plan may be left to other workers", saga=plan.saga, plan=plan_id, why=why)
