"""The code of the living workers: what no worker can run, and what it waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from saga_es.core.state import SagaState
from saga_es.definition.code import Code, decoded
from saga_es.errors import UnreadableEvent
from saga_es.runtime.needed_code import Missing, missing, missing_for_plan
from saga_es.store.sagas import Sagas

MOST_WANTED = 3
"""The most missing calls that a sentence names."""


def others_than(worker_id: str, codes: Mapping[str, str | None]) -> Living:
    """The other living workers, without those that drain: such a worker leaves sagas to others, too.

    Args:
        worker_id: The worker that asks.
        codes: As for `Living`.
    """
    return Living({id_: code for id_, code in codes.items() if id_ != worker_id and not _drains(code)})


def _drains(code: str | None) -> bool:
    return code is not None and any(saga.drains for saga in decoded(code).values())


class Living:
    """The code of the living workers.

    Args:
        codes: By worker, as JSON; None for a worker of an earlier version, which does not say what it has.
    """

    def __init__(self, codes: Mapping[str, str | None]) -> None:
        self._codes: list[Code] = [decoded(code) for code in codes.values() if code is not None]
        self._silent = sum(code is None for code in codes.values())

    def run_every(self, sagas: Sagas, plan_id: str) -> bool:
        """Whether some living worker runs every saga of a plan, or may do so."""
        if self._silent:
            return True
        try:
            plan = sagas.plan(plan_id)
        except UnreadableEvent:
            return False
        return any(not missing_for_plan(plan, code) for code in self._codes)

    def run(self, state: SagaState) -> bool:
        """Whether some living worker runs a saga, or may do so."""
        return self._silent > 0 or any(not missing(state, code) for code in self._codes)

    def lack(self, state: SagaState) -> bool:
        """Whether every living worker lacks code that a saga may need, and there is one."""
        lacked = [missing(state, code) for code in self._codes]
        return not self._silent and bool(lacked) and all(lacks and not lacks[0].is_left for lacks in lacked)

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
