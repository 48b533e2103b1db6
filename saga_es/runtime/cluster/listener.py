"""What a worker hears: that others appended to its sagas, or that a saga is there which nobody owns."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from saga_es.runtime.capacity import Room
from saga_es.runtime.owned import Runs
from saga_es.runtime.run import Run
from saga_es.runtime.waiting.polling import Pace
from saga_es.store.notifications import Bell, Bells


class Hearing:
    """Listens for bells, in two halves: first it says which sagas are to be read, and when they were, it answers.

    Args:
        adopts: The definitions whose sagas this worker takes on.
    """

    def __init__(self, bells: Bells, runs: Runs, room: Room, adopts: Collection[str]) -> None:
        self._bells = bells
        self._runs = runs
        self._room = room
        self._adopts = adopts
        self._pace = Pace()
        self._rung: Sequence[Bell] = ()
        self._is_silent = True

    def listen(self, worker_id: str) -> list[Run]:
        """The sagas of ours to which somebody has appended what we have not read.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        self._rung = ()
        self._is_silent = self._bells.silent()
        if not self._is_silent:
            self._rung = self._bells.rung(worker_id)
        behind = {bell.saga_id for bell in self._rung if bell.version > self._runs.version(bell.saga_id)}
        return [run for saga_id in sorted(behind) if (run := self._runs.get(saga_id))]

    def answer(self) -> bool:
        """Take away the bells that were listened to; True when one is left for a saga that we might run.

        Raises:
            StoreUnavailable: The database did not answer; what was not taken away is listened to once more.
        """
        self._bells.hush([bell for bell in self._rung if bell.is_over or bell.saga_id in self._runs])
        if self._is_silent:
            return False
        names = self._room.open_to(self._adopts)
        return bool(names) and self._bells.unclaimed(names)

    def pause_s(self, *, is_busy: bool) -> float:
        """How long until it is time to listen again."""
        return self._pace.next_s(is_lively=is_busy or bool(self._rung))
