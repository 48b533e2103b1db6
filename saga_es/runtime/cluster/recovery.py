"""Recovery finds interrupted sagas. There is no second path: this worker takes them over, and they go on as usual.

Wanted sagas come first, then those that may go on now, both within the capacity. Sagas that only wait come last, some
in each iteration: there may be hundreds of thousands, and nothing else waits until all are taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from saga_es.core.plan import Plan
from saga_es.core.state import SagaState, expires, only_waits
from saga_es.errors import StoreUnavailable
from saga_es.logs import logger
from saga_es.runtime.ability import Ability
from saga_es.runtime.capacity import Capacity
from saga_es.runtime.cluster.backlog import OTHERS_MAY_LOOK_S, Backlog, Look, Memory
from saga_es.runtime.cluster.claims import Claims
from saga_es.runtime.cluster.stragglers import Stragglers
from saga_es.runtime.cluster.suspects import Suspects, is_suspect
from saga_es.runtime.cluster.wanted import Wanted
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.outage import OutageWarning
from saga_es.store.ports import Workers
from saga_es.store.sagas import Sagas

RECOVER_EVERY_S = 2.0
RECOVER_AT_ONCE = 500
"""The most sagas taken over in one batch. More follow in the next, so that memory and participants are not flooded."""

WAITING_AT_ONCE = 250
"""The most sagas that only wait taken over in one batch: commands and starts wait for the batch to end."""

LOOK_AGAIN_S = 0.05
"""How soon to look again while suspects wait to be tried, or while more sagas are due than there is capacity for."""

LOOK_MEANWHILE_S = 0.5
"""How soon to look again for sagas that have come due, while sagas that only wait are being taken over."""

LOOKING_SHARE = 5
"""Of so many seconds one, at most, is spent on such looks: each reads all orphans, which may be very many."""

EXPIRED_EVERY_S = 1.0
"""How often a worker without capacity looks for sagas whose deadline passed before they began."""

SHARES = 4
"""How many times as many sagas are looked at as may be taken over: other workers may claim some of them first."""

Interrupted = tuple[list[SagaState], float]


class Recovery:
    """Looks for unfinished sagas whose worker is gone.

    Args:
        definitions: The plans of the sagas known here, by name. Other sagas are left to workers that know them.
        ability: What this worker can run. Sagas whose code it lacks are left to workers that have it.
        capacity: The capacity of this worker. Sagas beyond it wait in the log, for other workers or for capacity.

    Attributes:
        wanted: The orphans to take over first.
    """

    def __init__(
        self,
        sagas: Sagas,
        workers: Workers,
        definitions: Mapping[str, Plan],
        ability: Ability,
        capacity: Capacity,
        warn: OutageWarning,
        clock: Clock,
    ) -> None:
        self._sagas = sagas
        self._workers = workers
        self._ability = ability
        self._stragglers = Stragglers(sagas, workers, ability)
        self._left_alone: set[str] = set()
        self._suspects = Suspects()
        self._claims = Claims()
        self._claims_of_wanted = Claims()
        self._backlog = Backlog(workers, definitions)
        self._with_deadline = [name for name, plan in definitions.items() if plan.deadline_s is not None]
        self._claims_of_expired = Claims()
        self._expired_at: datetime | None = None
        self._look_at: datetime | None = None
        self._unread: Sequence[str] = ()
        self._capacity = capacity
        self._warn = warn
        self._clock = clock
        self.wanted = Wanted()

    @property
    def is_behind(self) -> bool:
        """Whether more orphans are known than could be taken over."""
        return len(self._backlog) > 0 or len(self.wanted) > 0

    def interrupted(
        self,
        worker_id: str,
        here: Callable[[str], SagaState | None],
        capacity_of: Callable[[str], int],
        now: datetime,
        memory: Memory,
    ) -> Interrupted:
        """The sagas to take over, and the seconds until the next look. Those that only wait need no capacity.

        It never raises `StoreUnavailable`: while the database is away, it finds nothing.

        Args:
            worker_id: This worker.
            here: Returns the state of a saga that this worker owns, as of its last commit; None for other sagas.
            capacity_of: Returns the most sagas of a definition to take over now; 0 while too many of its calls wait.
            now: The time.
            memory: How many bytes may be read.
        """
        open_to = self._capacity.open_to(self._ability.names) if memory.room != 0 else []
        left = {name: most for name in open_to if (most := capacity_of(name))}
        look = Look(worker_id, here, now, left, memory)
        has_capacity = bool(look.left) or not self._ability.names
        looks = (has_capacity and not self._backlog) or self._look_at is None or now >= self._look_at
        begun = self._clock.now()
        try:
            if looks:
                self._ability.look_at_others(worker_id, self._workers.codes)
            states = self._read_wanted(look)
            again_s = self._read_due(look, states) if looks else LOOK_AGAIN_S
            states += self._read_waiting(look, {state.saga_id for state in states})
            states += self._read_expired(look, {state.saga_id for state in states})
        except StoreUnavailable as error:
            self._warn("recovery", error)
            return [], RECOVER_EVERY_S
        if looks:
            took = self._clock.now() - begun
            self._look_at = now + max(timedelta(seconds=LOOK_MEANWHILE_S), LOOKING_SHARE * took)
        if self._backlog:
            return states, 0.0
        if not has_capacity:
            return states, LOOK_AGAIN_S if open_to or memory.room == 0 else OTHERS_MAY_LOOK_S
        return states, min(again_s, LOOK_AGAIN_S) if self.wanted else again_s

    # ── Wanted, due, waiting ─────────────────────────────────────────────────────────────────────────────

    def _read_wanted(self, look: Look) -> list[SagaState]:
        ids = self.wanted.next()
        if not ids or look.memory.room == 0:
            return []
        orphans = self._workers.orphans_among(ids, self._ability.names, look.left)
        free = {
            id_: owner for id_, owner in orphans.items() if id_ not in self._left_alone and look.is_free(id_, owner)
        }
        due = self._due(self._claims_of_wanted, [id_ for id_ in free if id_ not in self._suspects], look)
        able = self._read(due, free, look.memory.room)
        states = self._admitted(self._innocent(able), look)
        done = {state.saga_id for state in states}
        if not self._unread:  # what was read and is not here lacks code, or has another owner
            done |= set(due) - {state.saga_id for state in able}
        self.wanted.keep(ids, free.keys() - done)
        return states

    def _read_due(self, look: Look, states: list[SagaState]) -> float:
        """Add the sagas that may go on now to the states; return the seconds until the next look."""
        gone = self._workers.bury()
        names, most = list(look.left), sum(look.left.values())
        limit = min(RECOVER_AT_ONCE, SHARES * most) + len(self._suspects)
        lacking = self._ability.lacking
        orphans = self._workers.orphans(limit, names, self._left_alone, look.now, lacking) if names else {}
        met = len(lacking)
        known = {state.saga_id for state in states}
        owners = {id_: owner for id_, owner in orphans.items() if id_ not in known and look.is_free(id_, owner)}
        free = [id_ for id_ in owners if id_ not in self._suspects]
        due = self._due(self._claims, free, look)
        able = self._read(due[:most], owners, look.memory.room)
        is_cut_short = bool(self._unread)
        taken = self._admitted(self._innocent(able), look)
        taken += self._next_suspects(names, orphans, look) if names else []
        taken += self._read_stragglers(names, most - len(taken), look) if names else []
        states += taken
        if gone:
            logger.info("workers are gone, taking over their sagas", sagas=len(states), workers_gone=len(gone))
            for name, count in self._workers.orphans_of_others(self._ability.names).items():
                logger.warning("interrupted sagas wait for a worker that knows them", saga=name, sagas=count)
        if names and (len(orphans) == limit or is_cut_short):
            return 0.0 if taken else LOOK_AGAIN_S
        listed_s = self._backlog.list_if_stale(look, self._left_alone, lacking)
        if self._suspects or len(due) > most or not all(look.left.values()) or met < len(lacking):
            return LOOK_AGAIN_S
        again_s = min(listed_s, self._stragglers.due_in_s(look.now))
        return min(again_s, OTHERS_MAY_LOOK_S if len(free) > len(taken) else RECOVER_EVERY_S)

    def _read_stragglers(self, names: Collection[str], most: int, look: Look) -> list[SagaState]:
        found = self._stragglers.find(names, most, look.now)
        free = [state for state in found if look.is_free(state.saga_id, state.owner)]
        return self._admitted(self._innocent(free), look)

    def _next_suspects(self, names: Collection[str], orphans: Mapping[str, str | None], look: Look) -> list[SagaState]:
        """The suspects to be tried now."""
        unlisted = [id_ for id_ in self._suspects.ids if id_ not in orphans]
        owners = {**orphans, **(self._workers.orphans_among(unlisted, names, names) if unlisted else {})}
        self._suspects.forget_all_but(owners)
        return self._read(self._suspects.next(lambda id_: _is_suspected(look.here(id_)), look.now), owners, None)

    def _read_waiting(self, look: Look, taken: Collection[str]) -> list[SagaState]:
        listed = self._backlog.next(WAITING_AT_ONCE)
        others = {id_: owner for id_, owner in listed.items() if id_ not in taken and id_ not in self._suspects}
        owners = {id_: owner for id_, owner in others.items() if look.is_free(id_, owner)}
        found = self._read(list(owners), owners, look.memory.spare)
        self._backlog.put_back({id_: owners[id_] for id_ in self._unread})
        return self._admitted(self._innocent(found), look)

    def _read_expired(self, look: Look, taken: Collection[str]) -> list[SagaState]:
        """The sagas whose deadline passed before they began: they end at once, and need no capacity."""
        # A saga of an older plan may have a deadline where the present plan has none.
        names = {*self._with_deadline, *(name for name in self._ability.names if name not in look.left)}
        if not names or (self._expired_at is not None and look.now < self._expired_at):
            return []
        found = self._workers.expired_orphans(RECOVER_AT_ONCE, names, look.now)
        owners = {
            id_: owner
            for id_, owner in found.items()
            if id_ not in taken and id_ not in self._left_alone and look.is_free(id_, owner)
        }
        living = self._workers.heartbeats() if owners else ()
        due = self._claims_of_expired.due(owners, look.worker_id, living, look.now)
        expired = [state for state in self._read(due, owners, look.memory.spare) if expires(state, look.now)]
        again_s = OTHERS_MAY_LOOK_S if owners else EXPIRED_EVERY_S
        self._expired_at = look.now + timedelta(seconds=again_s)
        return expired

    def _due(self, claims: Claims, saga_ids: Sequence[str], look: Look) -> list[str]:
        """The sagas that this worker may claim now: at most one more than its capacity, to show a shortage."""
        living = self._workers.heartbeats() if saga_ids else ()
        return claims.due(saga_ids, look.worker_id, living, look.now)[: self._capacity.left + 1]

    def _innocent(self, states: Sequence[SagaState]) -> list[SagaState]:
        suspects = [state.saga_id for state in states if is_suspect(state)]
        return self._suspects.hold_back(states, self._workers.moved_at(suspects) if suspects else {})

    def _admitted(self, states: Sequence[SagaState], look: Look) -> list[SagaState]:
        """The sagas that there is capacity for, and those that need none."""
        admitted: list[SagaState] = []
        for state in states:
            name = state.plan.saga
            if only_waits(state, look.now) or expires(state, look.now):
                admitted.append(state)
            elif look.left.get(name) and self._capacity.reserve(name):
                look.left[name] -= 1
                admitted.append(state)
        return admitted

    def _read(
        self, saga_ids: Sequence[str], owners: Mapping[str, str | None], most_bytes: int | None
    ) -> list[SagaState]:
        """Read the sagas, as far as memory and one iteration allow; without those that went on meanwhile."""
        found, self._unread = self._sagas.find_within(saga_ids, most_bytes)
        for saga_id, state in found.items():
            if not isinstance(state, SagaState):
                self._left_alone.add(saga_id)
                logger.error("a saga cannot be read and is left alone", saga_id=saga_id, reason=str(state))
        return [
            state
            for saga_id, state in found.items()
            if isinstance(state, SagaState) and state.owner == owners.get(saga_id) and not state.status.ended
            if self._ability.runs_every(state.plan, state.plan_id) or self._ability.runs(state)
            if state.key is None or self._opens(state)
        ]

    def _opens(self, state: SagaState) -> bool:
        """Whether the saga's key can be had; a saga without its key is parked: nothing of it could be recorded."""
        if self._sagas.log.opens(state.key):
            return True
        self._left_alone.add(state.saga_id)
        logger.warning("a saga is parked, because its key cannot be had", saga_id=state.saga_id, key=state.key)
        return False


def _is_suspected(here: SagaState | None) -> bool:
    return here is not None and is_suspect(here)
