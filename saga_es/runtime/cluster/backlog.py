"""The backlog of a takeover: orphans that only wait, listed by one query, and taken over some at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from saga_es.core.plan import Plan, plan_id
from saga_es.core.state import SagaState
from saga_es.runtime.cluster.claims import Claims
from saga_es.store.ports import Workers

LISTED_AT_ONCE = 10_000
"""How many sagas that only wait one query lists. The query looks at all orphans."""

LISTED_EVERY_S = 10.0
"""How soon to look for sagas that only wait although no worker has left since the last look found none."""

OTHERS_MAY_LOOK_S = 0.25
"""How soon to look again while other workers may claim sagas first, or while no definition has capacity."""

Owners = dict[str, str | None]
"""Orphans by id, each with its last owner."""


class Memory(NamedTuple):
    """The bytes of sagas that may be read now, before the worker turns to all else.

    Attributes:
        room: Of sagas that go on.
        spare: Of sagas that only wait, and fall asleep after the batch.
    """

    room: int
    spare: int


@dataclass(frozen=True)
class Look:
    """One look for orphans.

    Attributes:
        worker_id: The worker that looks.
        here: Returns the state of a saga that this worker owns.
        now: The time.
        left: How many more sagas of each definition may be taken over.
        memory: How many bytes of sagas may be read.
    """

    worker_id: str
    here: Callable[[str], SagaState | None]
    now: datetime
    left: dict[str, int]
    memory: Memory

    def is_free(self, saga_id: str, owner: str | None) -> bool:
        """Whether this worker does not hold the saga under this owner already."""
        state = self.here(saga_id)
        return state is None or state.owner != owner


class Backlog:
    """The orphans that only wait and that this worker may claim. Used by the loop's thread."""

    def __init__(self, workers: Workers, definitions: Mapping[str, Plan]) -> None:
        self._workers = workers
        self._definitions = definitions
        self._plan_ids = [plan_id(plan) for plan in definitions.values() if plan.is_sequence]
        self._claims = Claims()
        self._listed: Owners = {}
        self._living: Collection[str] = ()
        self._list_at: datetime | None = None

    def __len__(self) -> int:
        return len(self._listed)

    def next(self, most: int) -> Owners:
        """Remove the next sagas, and return them with their last owners."""
        some = dict(islice(self._listed.items(), most))
        for saga_id in some:
            del self._listed[saga_id]
        return some

    def put_back(self, owners: Owners) -> None:
        """Put sagas back in front of the others."""
        self._listed = owners | self._listed

    def list_if_stale(self, look: Look, apart_from: Collection[str], plans_apart: Collection[str] = ()) -> float:
        """List the orphans anew, if the last list is used up and there may be more: a worker may have left.

        Returns:
            The seconds until there may be something to take over.
        """
        if self._listed:
            return 0.0
        living = set(self._workers.heartbeats())
        if self._list_at is None or look.now >= self._list_at or living != self._living:
            self._list(look, living, apart_from, plans_apart)
        return 0.0 if self._listed or self._list_at is None else (self._list_at - look.now).total_seconds()

    def _list(
        self, look: Look, living: Collection[str], apart_from: Collection[str], plans_apart: Collection[str]
    ) -> None:
        found = self._workers.waiting_orphans(LISTED_AT_ONCE, self._definitions, self._plan_ids, look.now, plans_apart)
        free = [id_ for id_, owner in found.items() if id_ not in apart_from and look.is_free(id_, owner)]
        own = self._claims.due(free, look.worker_id, living, look.now)
        self._listed = {id_: found[id_] for id_ in own}
        self._living = living
        self._list_at = look.now + timedelta(seconds=OTHERS_MAY_LOOK_S if free else LISTED_EVERY_S)
