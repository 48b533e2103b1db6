"""Sagas that wait for code: which of them no living worker can run, and what code they wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from saga_es.core.state import SagaState
from saga_es.definition.code import Code, decoded
from saga_es.errors import UnreadableEvent
from saga_es.node.node import Node
from saga_es.runtime.needed_code import Missing, missing, missing_for_plan
from saga_es.store.ports import Orphan

LOOKED_AT = 1000
"""The most sagas of one plan that are read to count those that wait; the others are counted like the last of them."""

AT_ONCE = 100

MOST_WANTED = 3
"""The most missing calls that a sentence names."""


class Living:
    """The code of the living workers.

    Args:
        codes: By worker, as JSON; None for a worker of an earlier version, which does not say what it has.
    """

    def __init__(self, codes: Mapping[str, str | None]) -> None:
        self._codes: list[Code] = [decoded(code) for code in codes.values() if code is not None]
        self._silent = sum(code is None for code in codes.values())

    def run_every(self, node: Node, plan_id: str) -> bool:
        """Whether some living worker runs every saga of a plan, or may do so."""
        if self._silent:
            return True
        try:
            plan = node.store.sagas.plan(plan_id)
        except UnreadableEvent:
            return False
        return any(not missing_for_plan(plan, code) for code in self._codes)

    def run(self, state: SagaState) -> bool:
        """Whether some living worker runs a saga, or may do so."""
        return self._silent > 0 or any(not missing(state, code) for code in self._codes)

    def wanted(self, state: SagaState, here: Code) -> str | None:
        """The code that no living worker has, in the words of "a worker that has …"; None where one can run the saga.

        Args:
            state: The saga.
            here: The code of this process: it says what is missing where no worker lives.
        """
        if state.status.ended or self.run(state) or not (self._codes or here):
            return None
        lacks = min((missing(state, code) for code in self._codes or [here]), key=len)
        if not lacks:  # no worker lives, and this process has the code
            return None
        return f"{_in_words(lacks)} of plan {state.plan_id}; living: {self._in_words(state.plan.saga)}"

    def _in_words(self, saga: str) -> str:
        """The living workers, by their version of a definition."""
        counts = Counter(code[saga].plan_id if saga in code else None for code in self._codes)
        words = []
        for plan_id, count in counts.most_common():
            what = f"with {plan_id}" if plan_id else f"without saga {saga!r}"
            words.append(f"{count} {'worker' if count == 1 else 'workers'} {what}")
        return ", ".join(words) or "none"


def _in_words(lacks: Sequence[Missing]) -> str:
    wanted = list(dict.fromkeys(one.wanted for one in lacks))
    more = len(wanted) - MOST_WANTED
    shown = wanted[:MOST_WANTED] + ([f"{more} more"] if more > 0 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


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


def living(node: Node) -> Living:
    """The living workers.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    return Living(node.store.workers.codes())


def waiting_for_code(node: Node, here: Code) -> list[Waiting]:
    """The sagas that no living worker can run, by plan; the most first.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    workers = living(node)
    found: list[Waiting] = []
    for (name, plan_id), count in node.store.workers.orphans_by_plan().items():
        if not workers.run_every(node, plan_id):
            stuck = list(_stuck(node, workers, name, plan_id, here))
            if stuck:
                more = max(0, count - LOOKED_AT)
                oldest = min(orphan.updated_at for orphan, _ in stuck)
                found.append(Waiting(name, plan_id, stuck[0][1], len(stuck) + more, oldest))
    return sorted(found, key=lambda waiting: -waiting.sagas)


def _stuck(node: Node, workers: Living, name: str, plan_id: str, here: Code) -> Iterator[tuple[Orphan, str]]:
    after: Orphan | None = None
    for _ in range(LOOKED_AT // AT_ONCE):
        rows = node.store.workers.orphans_of_plans([plan_id], [name], AT_ONCE, after)
        states: Mapping[str, Any] = node.store.sagas.find_many([row.saga_id for row in rows]) if rows else {}
        for row in rows:
            state = states.get(row.saga_id)
            wanted = workers.wanted(state, here) if isinstance(state, SagaState) else None
            if wanted is not None:
                yield row, wanted
        if len(rows) < AT_ONCE:
            return
        after = rows[-1]


def waits_for(node: Node, rows: Sequence[Mapping[str, Any]], here: Code) -> dict[str, str]:
    """What each of these sagas waits for, where no living worker can run it.

    Args:
        node: This process.
        rows: Rows of the view of sagas.
        here: The code of this process.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    workers = living(node)
    run = {plan_id: workers.run_every(node, plan_id) for plan_id in {row["plan_id"] for row in rows}}
    doubtful = [row["saga_id"] for row in rows if not run[row["plan_id"]]]
    states = node.store.sagas.find_many(doubtful) if doubtful else {}
    words = {id_: workers.wanted(state, here) for id_, state in states.items() if isinstance(state, SagaState)}
    return {saga_id: wanted for saga_id, wanted in words.items() if wanted is not None}
