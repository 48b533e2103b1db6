"""Sagas that have waited too long for code that no living worker has. Looked for only if there is a time for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from saga_es.core.commands import Fail
from saga_es.core.state import SagaState
from saga_es.definition.code import Code
from saga_es.errors import CommandRefused, NotFound, StoreUnavailable
from saga_es.logs import logger
from saga_es.runtime.announcing import about
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.living import Living
from saga_es.store.ports import Orphan, Workers
from saga_es.store.sagas import Sagas

AT_ONCE = 100
"""Sagas that are read in one look: a look must not hold up the loop."""

LOOK_ON_S = 0.25
"""How soon to look on while there are more that were not looked at yet."""

LOOKS = 4
"""How many rounds of looks there are in the time that a saga may wait."""

LONGEST_S = 60.0


class Overdue:
    """Gives up sagas that have waited too long for code. Used by the loop's thread.

    The time runs from when this worker first saw that no living worker has the code: the log does not say since when
    that is so. It begins anew when a worker has the code meanwhile, and when this worker is restarted.
    """

    def __init__(self, sagas: Sagas, workers: Workers, commands: Commands, here: Code, timeout_s: float) -> None:
        self._sagas = sagas
        self._workers = workers
        self._commands = commands
        self._here = here
        self._timeout_s = timeout_s
        self._since: dict[str, datetime] = {}
        self._seen: dict[str, datetime] = {}
        self._pages: Iterator[list[tuple[SagaState, str]]] = iter(())
        self._is_between = True

    def give_up(self, worker_id: str, now: datetime) -> float:
        """Look at some sagas, and give up those that have waited too long; returns the seconds until the next look.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        if self._is_between:
            self._pages, self._is_between = self._look(), False
        page = self._next_page()
        if page is None:  # what was not met in this round waits no more
            self._since, self._seen, self._is_between = self._seen, {}, True
            return min(self._timeout_s / LOOKS, LONGEST_S)
        for state, wanted in page:
            since = self._seen[state.saga_id] = self._since.get(state.saga_id, now)
            if (now - since).total_seconds() >= self._timeout_s:
                self._fail(state, worker_id, wanted)
        return LOOK_ON_S

    def _next_page(self) -> list[tuple[SagaState, str]] | None:
        try:
            return next(self._pages, None)
        except StoreUnavailable:
            self._seen, self._is_between = {}, True
            raise

    def _look(self) -> Iterator[list[tuple[SagaState, str]]]:
        """The sagas that no living worker has the code for, and what they wait for, some at a time."""
        workers = Living(self._workers.codes())
        for name, plan_id in self._workers.orphans_by_plan():
            after: Orphan | None = None
            while not workers.run_every(self._sagas, plan_id):
                rows = self._workers.orphans_of_plans([plan_id], [name], AT_ONCE, after)
                workers = Living(self._workers.codes())  # one may have come meanwhile
                yield self._waiting(rows, workers)
                if len(rows) < AT_ONCE:
                    break
                after = rows[-1]

    def _waiting(self, rows: list[Orphan], workers: Living) -> list[tuple[SagaState, str]]:
        states = self._sagas.find_many([row.saga_id for row in rows]) if rows else {}
        lacking = [state for state in states.values() if isinstance(state, SagaState) and workers.lack(state)]
        return [(state, wanted) for state in lacking if (wanted := workers.wanted(state, self._here))]

    def _fail(self, state: SagaState, worker_id: str, wanted: str) -> None:
        reason = f"for {self._timeout_s:g} s no worker has had {wanted}"
        try:
            self._commands.record(state.saga_id, Fail(worker_id, reason))
        except (CommandRefused, NotFound):  # another worker was quicker
            return
        logger.error("a saga is given up: its code is missing", **about(state), reason=reason)
