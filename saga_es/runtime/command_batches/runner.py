"""The runner: the thread that gives the commands of batches, some sagas at a time.

Owns: that each saga of a batch gets the command once, also when the process is killed in the middle. A command carries
the mark of its batch in its reason. A runner that is not sure how far a batch came looks for that mark in a saga's
stream before it gives the command.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from saga_es.core.batches import BatchAdvanced, BatchState, BatchStopped, BatchTaken, command_of, mark
from saga_es.core.commands import Command
from saga_es.errors import (
    CommandRefused,
    NotFound,
    PayloadTooLarge,
    PayloadUnencodable,
    SagaArchived,
    StoreUnavailable,
    UnreadableEvent,
)
from saga_es.logs import logger
from saga_es.runtime.command_batches.batches import Batches
from saga_es.store.host_time import monotonic_s
from saga_es.store.store import Store

LOOK_EVERY_S = 2.0
"""How often to look for batches that another process has started, or left."""

STRETCH_S = 1.0
"""For how long a batch is given commands before its progress is recorded."""

RETRY_S = 5.0
CLOSE_TIMEOUT_S = 3.0
LONGEST_WHY = 200
OF_ONE_SAGA = (CommandRefused, NotFound, SagaArchived, UnreadableEvent, PayloadTooLarge, PayloadUnencodable)
"""What concerns one saga alone; after any other error the stretch is tried again."""

ITSELF = "saga_es"
"""Who stopped a batch that stopped by itself."""


class Runner:
    """Gives the commands of all batches that no other living worker gives.

    Args:
        batches: The batches.
        store: Where the log and the workers are.
        worker: Says the present name of the worker of this process, by which others see that it lives.
        submit: Gives a saga a command; returns when it is in the log.
    """

    def __init__(
        self, batches: Batches, store: Store, worker: Callable[[], str], submit: Callable[[str, Command], None]
    ) -> None:
        self._batches = batches
        self._store = store
        self._worker = worker
        self._submit = submit
        self._sure: set[str] = set()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="saga-es-batches", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the saga at hand; another process goes on with what is left."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def wake(self) -> None:
        """Look at once: this process has started a batch."""
        self._wanted.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                pause_s = self.step()
            except StoreUnavailable as error:
                if not self._closing.is_set():
                    logger.warning("batches wait for the database", reason=str(error), next_try_in_s=RETRY_S)
                pause_s = RETRY_S
            except Exception:
                logger.exception("a batch failed", next_try_in_s=RETRY_S)
                pause_s = RETRY_S
            self._wanted.wait(pause_s)
            self._wanted.clear()

    def step(self) -> float:
        """Give each batch that is ours one stretch of commands; the seconds until the next step.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        began = monotonic_s()
        worked = [self._advance(batch_id) for batch_id in self._batches.running()]
        return max(0.0, STRETCH_S - (monotonic_s() - began)) if any(worked) else LOOK_EVERY_S

    # ── One batch ────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self, batch_id: str) -> bool:
        state = self._batches.find(batch_id)
        if state.is_over or not self._is_ours(batch_id, state):
            return False
        state = self._batches.find(batch_id)
        first = state.upto
        stretch = state.started.saga_ids[first : first + max(1, round(state.started.pace * STRETCH_S))]
        is_sure = batch_id in self._sure
        self._sure.discard(batch_id)  # until it is recorded what this stretch did
        left_alone, dealt_with = self._give(batch_id, state, stretch, is_sure=is_sure)
        upto = first + dealt_with
        is_last = upto >= len(state.started.saga_ids)
        if self._record(batch_id, BatchAdvanced(upto, left_alone, is_last)) and not is_last:
            self._sure.add(batch_id)
            self._stop_if_in_vain(batch_id)
        return True

    def _is_ours(self, batch_id: str, state: BatchState) -> bool:
        if state.owner == self._worker():
            return True
        if state.owner is not None and state.owner in self._store.workers.codes():
            return False
        taken = self._batches.append(batch_id, state.version, BatchTaken(self._worker()))
        if taken and state.owner is None:  # nobody has given a command of it yet
            self._sure.add(batch_id)
        return taken

    def _give(
        self, batch_id: str, state: BatchState, stretch: Sequence[str], *, is_sure: bool
    ) -> tuple[dict[str, str], int]:
        """Give each saga of a stretch the command; those that could not follow it, and how many were dealt with."""
        command = command_of(state.started, batch_id)
        left_alone: dict[str, str] = {}
        for number, saga_id in enumerate(stretch):
            if self._closing.is_set():
                return left_alone, number
            if not is_sure and self._has_it(saga_id, batch_id):
                continue
            try:
                self._submit(saga_id, command)
            except OF_ONE_SAGA as error:
                left_alone[saga_id] = str(error)[:LONGEST_WHY]
        return left_alone, len(stretch)

    def _has_it(self, saga_id: str, batch_id: str) -> bool:
        """Whether a saga has the command already: the process died, or was overtaken, before that was recorded."""
        return any(mark(batch_id) in entry.text for entry in self._store.log.entries_of([saga_id])[saga_id])

    def _record(self, batch_id: str, event: BatchAdvanced) -> bool:
        """Record how far a batch is, also when it was stopped meanwhile; whether it is still ours."""
        while True:
            state = self._batches.find(batch_id)
            if state.owner != self._worker() or state.upto >= event.upto:
                return False
            if self._batches.append(batch_id, state.version, event):
                return state.stopped is None

    def _stop_if_in_vain(self, batch_id: str) -> None:
        state = self._batches.find(batch_id)
        most = state.started.stops_after
        if most is None or state.is_over or (failed := self._batches.failed_again(state)) < most:
            return
        why = f"{failed} of its sagas failed again; it was to stop after {most}"
        self._batches.append(batch_id, state.version, BatchStopped(ITSELF, why))
        logger.warning("a batch stopped by itself", batch_id=batch_id, reason=why)
