"""Finding what was interrupted. There is no second path: what is found is taken over, and goes on like any saga."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import structlog

from saga_es.core.state import SagaState
from saga_es.errors import StoreUnavailable
from saga_es.runtime.trials import Trials
from saga_es.store.sagas import Sagas
from saga_es.store.workers import Workers

logger = structlog.get_logger("saga_es")

RECOVER_EVERY_S = 2.0
RECOVER_AT_ONCE = 500
"""Sagas taken over in one batch; more follow in the next, so that memory and participants are not flooded."""

LOOK_AGAIN_S = 0.05
"""How soon the next suspects' turn is looked for, while any wait; and whether there is room for more."""

Interrupted = tuple[list[SagaState], float]


class Recovery:
    """Looks for unfinished sagas whose worker is gone.

    Args:
        definitions: The sagas known here. Those of other definitions are left to workers that know them: a
            process that knows half of the sagas must not fail the other half.
    """

    def __init__(self, sagas: Sagas, workers: Workers, definitions: Collection[str]) -> None:
        self._sagas = sagas
        self._workers = workers
        self._definitions = definitions
        self._left_alone: set[str] = set()
        self._trials = Trials()

    def interrupted(
        self, owners: Mapping[str, str | None], suspects: Sequence[str], room: int, now: datetime
    ) -> Interrupted:
        """Sagas to take over, oldest first, and the seconds after which to look again.

        Args:
            owners: The sagas that run here, and their owners as far as is known here.
            suspects: Those of them that may yet take this process along.
            room: How many may be taken over now; none while too many calls wait already.
            now: The time.

        Never raises `StoreUnavailable`: a database that is away is looked at again later.
        """
        if not room:
            return [], LOOK_AGAIN_S
        try:
            gone = self._workers.bury()
            limit = min(RECOVER_AT_ONCE, room) + len(self._trials)
            orphans = self._workers.orphans(limit, self._definitions, apart_from=self._left_alone)
            self._trials.forget_all_but(orphans)
            wanted = {id_: owner for id_, owner in orphans.items() if id_ not in owners or owners[id_] != owner}
            states = self._trials.hold_back(self._read([id_ for id_ in wanted if id_ not in self._trials], wanted))
            states += self._read(self._trials.next(suspects, now), wanted)
            unknown = self._workers.orphans_of_others(self._definitions) if gone else {}
        except StoreUnavailable as error:
            logger.warning("recovery is put off, the database is away", reason=str(error))
            return [], RECOVER_EVERY_S
        if gone:
            logger.info("workers are gone, taking over what they left", sagas=len(states), workers_gone=len(gone))
        for name, count in unknown.items():
            logger.warning("interrupted sagas wait for a worker that knows them", saga=name, sagas=count)
        if len(orphans) == limit:
            return states, 0.0
        return states, LOOK_AGAIN_S if self._trials else RECOVER_EVERY_S

    def _read(self, saga_ids: Sequence[str], owners: Mapping[str, str | None]) -> list[SagaState]:
        """The sagas, but for those that found a home, or their end, between the two looks."""
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
