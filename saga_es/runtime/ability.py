"""What a worker can run: it takes over only sagas whose code it has.

A plan of which the worker has all code is run without a further look. Of any other plan, a saga may have passed what is
missing: then the saga itself is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from saga_es.core.plan import Plan
from saga_es.core.state import SagaState
from saga_es.definition.code import Code
from saga_es.logs import logger
from saga_es.runtime.living import Living, others_than
from saga_es.runtime.needed_code import CodeHere, missing, missing_for_plan


class Ability:
    """What one worker can run. Used by the loop's thread.

    A worker that drains runs what no other living worker can run. So it looks at each saga, whatever its plan is.

    Attributes:
        names: The names of the definitions.
        lacking: The plans that were met so far and of which this worker does not run every saga.
        round: How often what it can run has changed, because others came or left.
    """

    def __init__(self, code: CodeHere) -> None:
        self._code = code
        self._codes: Mapping[str, str | None] | None = None
        self._others: Living | None = None
        self.round = 0
        self._full: set[str] = set()
        self.names: Collection[str] = code.definitions
        self.lacking: set[str] = set()

    @property
    def code(self) -> Code:
        """The code of this worker."""
        return self._code.code

    def look_at_others(self, worker_id: str, codes: Callable[[], Mapping[str, str | None]]) -> None:
        """Learn, if this worker drains, what the others can run.

        Args:
            worker_id: This worker.
            codes: Reads the code of each living worker.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        found = codes() if self._code.drains else None
        if found is not None and found != self._codes:
            self._codes, self._others = found, others_than(worker_id, found)
            self.round += 1

    def runs_every(self, plan: Plan, plan_id: str) -> bool:
        """Whether this worker runs every saga of a plan, wherever it is. A plan that it does not run is kept."""
        if plan_id not in self._full and plan_id not in self.lacking:
            self._look_at(plan, plan_id)
        return plan_id in self._full

    def runs(self, state: SagaState) -> bool:
        """Whether this worker has all code that the saga may need until its end, and may begin it."""
        if self._code.drains and (self._others is None or self._others.run(state)):
            return False
        return not missing(state, self.code)

    def _look_at(self, plan: Plan, plan_id: str) -> None:
        lacks = missing_for_plan(plan, self.code)
        if not lacks and self._code.drains:
            self.lacking.add(plan_id)
            return
        if not lacks:
            self._full.add(plan_id)
            return
        self.lacking.add(plan_id)
        why = [str(one) for one in lacks]
        logger.warning("sagas of a plan may be left to other workers", saga=plan.saga, plan=plan_id, why=why)
