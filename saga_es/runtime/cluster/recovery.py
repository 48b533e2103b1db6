"""Recovery finds interrupted sagas. There is no second path: this worker takes them over, and they go on as usual."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from saga_es.core.state import SagaState
from saga_es.errors import StoreUnavailable
from saga_es.logs import logger
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.cluster.claims import Claims
from saga_es.runtime.cluster.suspects import Suspects, is_suspect
from saga_es.runtime.waiting.outage import OutageWarning
from saga_es.store.ports import Workers
from saga_es.store.sagas import Sagas

RECOVER_EVERY_S = 2.0
RECOVER_AT_ONCE = 500
"""The most sagas taken over in one batch. More follow in the next, so that memory and participants are not flooded."""

LOOK_AGAIN_S = 0.05
"""How soon to look again while suspects wait to be tried, or while more sagas are due than there is capacity for."""

OTHERS_MAY_LOOK_S = 0.25
"""How soon to look again while other workers may claim sagas first, or while no definition has capacity."""

SHARES = 4
"""How many times as many sagas are looked at as may be taken over: other workers may claim some of them first."""

Interrupted = tuple[list[SagaState], float]


class Recovery:
    """Looks for unfinished sagas whose worker is gone.

    Args:
        definitions: The sagas known here. Other sagas are left to workers that know them: a process that knows half of
            the definitions must not fail the sagas of the other half.
        capacity: The capacity of this worker. Sagas beyond it wait in the log, for other workers or for capacity.
    """

    def __init__(
        self, sagas: Sagas, workers: Workers, definitions: Collection[str], capacity: Capacity, warn: OutageWarning
    ) -> None:
        self._sagas = sagas
        self._workers = workers
        self._definitions = definitions
        self._left_alone: set[str] = set()
        self._suspects = Suspects()
        self._claims = Claims()
        self._capacity = capacity
        self._warn = warn

    def interrupted(
        self,
        worker_id: str,
        here: Callable[[str], SagaState | None],
        capacity_of: Callable[[str], int],
        now: datetime,
    ) -> Interrupted:
        """The sagas to take over, oldest first, within the capacity; and the seconds until the next look.

        It never raises `StoreUnavailable`: while the database is away, it finds nothing.

        Args:
            worker_id: This worker.
            here: Returns the state of a saga that this worker owns, as of its last commit; None for other sagas.
            capacity_of: Returns the most sagas of a definition to take over now; 0 while too many of its calls wait.
            now: The time.
        """
        open_to = self._capacity.open_to(self._definitions)
        left = {name: most for name in open_to if (most := capacity_of(name))}
        names, most = list(left), sum(left.values())
        if self._definitions and not names:
            return [], LOOK_AGAIN_S if open_to else OTHERS_MAY_LOOK_S
        try:
            gone = self._workers.bury()
            limit = min(RECOVER_AT_ONCE, SHARES * most) + len(self._suspects)
            orphans = self._workers.orphans(limit, names, apart_from=self._left_alone)
            self._suspects.forget_all_but(orphans)
            wanted = {id_: owner for id_, owner in orphans.items() if not _is_owned(here(id_), owner)}
            free = [id_ for id_ in wanted if id_ not in self._suspects]
            due = self._due(free, worker_id, now)
            states = self._admitted(self._innocent(self._read(due[:most], wanted)), left)
            states += self._read(self._suspects.next(lambda id_: _is_suspected(here(id_)), now), wanted)
            unknown = self._workers.orphans_of_others(self._definitions) if gone else {}
        except StoreUnavailable as error:
            self._warn("recovery", error)
            return [], RECOVER_EVERY_S
        if gone:
            logger.info("workers are gone, taking over their sagas", sagas=len(states), workers_gone=len(gone))
        for name, count in unknown.items():
            logger.warning("interrupted sagas wait for a worker that knows them", saga=name, sagas=count)
        if states and len(orphans) == limit:
            return states, 0.0
        if self._suspects or len(due) > most or not all(left.values()):
            return states, LOOK_AGAIN_S
        return states, OTHERS_MAY_LOOK_S if len(free) > len(states) else RECOVER_EVERY_S

    def _due(self, saga_ids: Sequence[str], worker_id: str, now: datetime) -> list[str]:
        """The sagas that this worker may claim now: at most one more than its capacity, to show a shortage."""
        living = self._workers.heartbeats() if saga_ids else ()
        return self._claims.due(saga_ids, worker_id, living, now)[: self._capacity.left + 1]

    def _innocent(self, states: Sequence[SagaState]) -> list[SagaState]:
        suspects = [state.saga_id for state in states if is_suspect(state)]
        return self._suspects.hold_back(states, self._workers.moved_at(suspects) if suspects else {})

    def _admitted(self, states: Sequence[SagaState], left: dict[str, int]) -> list[SagaState]:
        """The sagas that there is capacity for; `left` holds the capacity for each definition."""
        admitted: list[SagaState] = []
        for state in states:
            name = state.plan.saga
            if left.get(name) and self._capacity.reserve(name):
                left[name] -= 1
                admitted.append(state)
        return admitted

    def _read(self, saga_ids: Sequence[str], owners: Mapping[str, str | None]) -> list[SagaState]:
        """Read the sagas. Those that got another owner or ended since the query are left out."""
        found = self._sagas.find_many(saga_ids) if saga_ids else {}
        for saga_id, state in found.items():
            if not isinstance(state, SagaState):
                self._left_alone.add(saga_id)
                logger.error("a saga cannot be read and is left alone", saga_id=saga_id, reason=str(state))
        return [
            state
            for saga_id, state in found.items()
            if isinstance(state, SagaState) and state.owner == owners.get(saga_id) and not state.status.ended
        ]


def _is_owned(here: SagaState | None, owner: str | None) -> bool:
    return here is not None and here.owner == owner


def _is_suspected(here: SagaState | None) -> bool:
    return here is not None and is_suspect(here)
