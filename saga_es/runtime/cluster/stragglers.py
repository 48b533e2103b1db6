"""Stragglers: sagas without a living owner, of plans of which this worker lacks code.

Such a saga may have passed what is missing, or may never need it. So each is read once, and again when it has changed,
or when its deadline has passed: then it needs compensations alone. The others wait where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from saga_es.core.decide import advance
from saga_es.core.facts import OwnerGone
from saga_es.core.state import SagaState
from saga_es.runtime.ability import Ability
from saga_es.store.ports import Orphan, Workers
from saga_es.store.sagas import Sagas

AT_ONCE = 100
"""Sagas that are read in one look: a look must not hold up the loop."""

LOOK_EVERY_S = 2.0
LOOK_ON_S = 0.25
"""How soon to look on while there are more that were not looked at yet."""


class Stragglers:
    """Finds the stragglers that this worker can run. Used by the loop's thread."""

    def __init__(self, sagas: Sagas, workers: Workers, ability: Ability) -> None:
        self._sagas = sagas
        self._workers = workers
        self._ability = ability
        self._judged: dict[str, tuple[datetime, datetime | None]] = {}  # when it last changed, and its deadline
        self._passed: dict[str, tuple[datetime, datetime | None]] = {}
        self._after: Orphan | None = None
        self._due: datetime | None = None
        self._plans = 0
        self._round = 0

    def find(self, names: Collection[str], most: int, now: datetime) -> list[SagaState]:
        """The stragglers of these definitions that this worker can run, oldest first, at most so many.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        lacking = self._ability.lacking
        if self._round != self._ability.round:  # other workers came or left: what was judged may have changed
            self._round, self._judged, self._after, self._due = self._ability.round, {}, None, None
        is_early = self._due is not None and now < self._due and len(lacking) == self._plans
        if not lacking or not most or is_early:
            return []
        self._plans = len(lacking)
        rows = self._workers.orphans_of_plans(lacking, names, AT_ONCE, self._after)
        found = self._runnable([row for row in rows if self._is_open(row, now)], most, now)
        self._go_on(rows, now)
        return found

    def due_in_s(self, now: datetime) -> float:
        """The seconds until the next look."""
        return max(0.0, (self._due - now).total_seconds()) if self._due and self._ability.lacking else LOOK_EVERY_S

    def _is_open(self, row: Orphan, now: datetime) -> bool:
        """Whether the saga was not looked at since it changed, or since its deadline."""
        changed_at, deadline_at = self._judged.get(row.saga_id, (None, None))
        return changed_at != row.updated_at or (deadline_at is not None and deadline_at <= now)

    def _runnable(self, rows: Sequence[Orphan], most: int, now: datetime) -> list[SagaState]:
        found = self._sagas.find_many([row.saga_id for row in rows]) if rows else {}
        runnable: list[SagaState] = []
        for row in rows:
            state = found.get(row.saga_id)
            if not isinstance(state, SagaState) or state.status.ended or state.owner != row.owner:
                continue
            if not self._ability.runs(_as_taken_over(state, now)):
                ahead = state.deadline_at if state.deadline_at and state.deadline_at > now else None
                self._judged[row.saga_id] = (row.updated_at, ahead)
            elif len(runnable) < most:
                runnable.append(state)
        return runnable

    def _go_on(self, rows: Sequence[Orphan], now: datetime) -> None:
        self._passed |= {row.saga_id: self._judged[row.saga_id] for row in rows if row.saga_id in self._judged}
        is_last = len(rows) < AT_ONCE
        self._after = None if is_last else rows[-1]
        if is_last:  # what was not met in this round has a worker, or has ended
            self._judged, self._passed = self._passed, {}
        self._due = now + timedelta(seconds=LOOK_EVERY_S if is_last else LOOK_ON_S)


def _as_taken_over(state: SagaState, now: datetime) -> SagaState:
    """The saga as its next owner would go on with it: past its deadline, it aborts."""
    if state.deadline_at is None or state.deadline_at > now:
        return state
    return advance(state, OwnerGone("next"), now)[1]
