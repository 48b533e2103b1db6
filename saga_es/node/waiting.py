"""Sagas that wait for code: which of them no living worker can run, and what code they wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from saga_es.core.state import UNFINISHED, SagaState
from saga_es.definition.code import Code
from saga_es.runtime.living import Living
from saga_es.store.ports import Orphan
from saga_es.store.store import Store

LOOKED_AT = 1000
"""The most sagas of one plan that are read to count those that wait; the others are counted like the last of them."""

AT_ONCE = 100


class Waiting(msgspec.Struct, frozen=True):
    """The sagas of one plan that no living worker can run.

    Attributes:
        wanted: What they wait for, in the words of "a worker that has …".
        oldest: When the first of them changed last.
    """

    saga: str
    plan_id: str
    wanted: str
    sagas: int
    oldest: datetime


def living(store: Store) -> Living:
    """The living workers.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    return Living(store.workers.codes())


def waiting_for_code(store: Store, here: Code) -> list[Waiting]:
    """The sagas that no living worker can run, by plan; the most first.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    workers = living(store)
    found: list[Waiting] = []
    for (name, plan_id), count in store.workers.orphans_by_plan().items():
        if not workers.run_every(store.sagas, plan_id):
            stuck = list(_stuck(store, workers, name, plan_id, here))
            if stuck:
                more = max(0, count - LOOKED_AT)
                oldest = min(orphan.updated_at for orphan, _ in stuck)
                found.append(Waiting(name, plan_id, stuck[0][1], len(stuck) + more, oldest))
    return sorted(found, key=lambda waiting: -waiting.sagas)


def counts_waiting(store: Store, here: Code) -> dict[str, int]:
    """How many sagas of each definition no living worker can run; 0 for those of this process that have none.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    counts = Counter(dict.fromkeys(here, 0))
    for waiting in waiting_for_code(store, here):
        counts[waiting.saga] += waiting.sagas
    return dict(counts)


def _stuck(store: Store, workers: Living, name: str, plan_id: str, here: Code) -> Iterator[tuple[Orphan, str]]:
    after: Orphan | None = None
    for _ in range(LOOKED_AT // AT_ONCE):
        rows = store.workers.orphans_of_plans([plan_id], [name], AT_ONCE, after)
        states: Mapping[str, Any] = store.sagas.find_many([row.saga_id for row in rows]) if rows else {}
        for row in rows:
            state = states.get(row.saga_id)
            wanted = workers.wanted(state, here) if isinstance(state, SagaState) else None
            if wanted is not None:
                yield row, wanted
        if len(rows) < AT_ONCE:
            return
        after = rows[-1]


def waits_for(store: Store, rows: Sequence[Mapping[str, Any]], here: Code) -> dict[str, str]:
    """What each of these sagas waits for, where no living worker can run it. It asks nothing of sagas that have ended.

    Args:
        store: The store.
        rows: Rows of the view of sagas.
        here: The code of this process.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    unfinished = [row for row in rows if row["status"] in UNFINISHED]
    codes = store.workers.codes() if unfinished else {}
    orphans = [row for row in unfinished if row["owner"] not in codes]
    if not orphans:
        return {}
    workers = Living(codes)
    run = {plan_id: workers.run_every(store.sagas, plan_id) for plan_id in {row["plan_id"] for row in orphans}}
    doubtful = [row["saga_id"] for row in orphans if not run[row["plan_id"]]]
    states = store.sagas.find_many(doubtful) if doubtful else {}
    words = {id_: workers.wanted(state, here) for id_, state in states.items() if isinstance(state, SagaState)}
    return {saga_id: wanted for saga_id, wanted in words.items() if wanted is not None}


def code_waited_for(store: Store, state: SagaState, here: Code, own: str) -> str | None:
    """What a saga waits for if no living worker can run it. It asks nothing of one that this process runs.

    Args:
        store: The store.
        state: The saga.
        here: The code of this process.
        own: The worker of this process.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    if state.status.ended or state.owner == own:
        return None
    codes = store.workers.codes()
    return None if state.owner in codes else Living(codes).wanted(state, here)
