"""Finding what was interrupted. There is no second path: what is found is taken over, and goes on like any saga."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import structlog

from saga_es.core.state import SagaState
from saga_es.errors import StoreUnavailable
from saga_es.store.sagas import Sagas
from saga_es.store.workers import Workers

logger = structlog.get_logger("saga_es")

RECOVER_EVERY_S = 2.0
RECOVER_AT_ONCE = 500
"""Sagas taken over in one batch; more follow in the next, so that memory and participants are not flooded."""

SUSPECT_AFTER = 2
"""Workers that go while one and the same call is out, before its saga is taken for the reason."""


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

    def interrupted(self, owners: Mapping[str, str | None], *, is_tried: bool) -> tuple[list[SagaState], float]:
        """Sagas to take over, oldest first, and the seconds after which to look again.

        Those whose call was out when one worker after the other went are taken one at a time: one of them may take its
        process along, and the others must not be counted out with it.

        Args:
            owners: The sagas that run here, and their owners as far as is known here.
            is_tried: A suspect runs here, and has not answered yet: no other is taken.

        Never raises `StoreUnavailable`: a database that is away is looked at again later.
        """
        try:
            gone = self._workers.bury()
            orphans = self._workers.orphans(RECOVER_AT_ONCE, self._definitions, apart_from=self._left_alone)
            wanted = [id_ for id_, owner in orphans.items() if id_ not in owners or owners[id_] != owner]
            found = self._sagas.find_many(wanted)
            unknown = self._workers.orphans_of_others(self._definitions) if gone else {}
        except StoreUnavailable as error:
            logger.warning("recovery is put off, the database is away", reason=str(error))
            return [], RECOVER_EVERY_S
        # Between the two looks a saga may have found a home, or its end.
        states = [
            state
            for saga_id, state in found.items()
            if isinstance(state, SagaState) and state.owner == orphans[saga_id] and not state.status.ended
        ]
        for saga_id, state in found.items():
            if not isinstance(state, SagaState):
                self._left_alone.add(saga_id)
                logger.error("a saga cannot be read and is left alone", saga_id=saga_id, reason=str(state))
        suspects = [state for state in states if is_suspect(state)]
        spared = suspects if is_tried else suspects[1:]
        states = [state for state in states if state not in spared] if spared else states
        if spared:
            logger.warning("sagas whose workers went again and again are tried one by one", waiting=len(spared))
        if gone:
            logger.info("workers are gone, taking over what they left", sagas=len(states), workers_gone=len(gone))
        for name, count in unknown.items():
            logger.warning("interrupted sagas wait for a worker that knows them", saga=name, sagas=count)
        return states, 0.0 if len(states) == RECOVER_AT_ONCE else RECOVER_EVERY_S


def is_suspect(state: SagaState) -> bool:
    """Whether a call of the saga was out each time that so many workers went, and may be why."""
    return any(step.crashes >= SUSPECT_AFTER for step in state.steps.values())
