"""The projector: the thread that keeps a process's asynchronous views up to date."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from saga_es.errors import ProjectionFailed, StoreUnavailable
from saga_es.runtime.waiting.backoff import Backoff
from saga_es.runtime.waiting.clock import Clock, SystemClock
from saga_es.store.views.catch_up import CatchUp, Step

logger = structlog.get_logger("saga_es")

LOOK_EVERY_S = 0.25
"""How often a view that has caught up looks for new events."""

STAND_BACK_S = 2.0
"""How long to leave a view alone that another process advances."""

RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
"""A view that failed is retried after `RETRY_S`, then after twice as long each time, up to this."""

CLOSE_TIMEOUT_S = 3.0
"""How long `close` waits for the present step: its database may never answer."""


class _Schedule:
    """When a view is due, and how long it waits after a failure."""

    def __init__(self, catch_up: CatchUp, now: datetime) -> None:
        self.catch_up = catch_up
        self.due_at = now
        self._backoff = Backoff(RETRY_S, LONGEST_RETRY_S)

    def take(self, clock: Clock) -> None:
        """Take one step, and set when the next one is due."""
        self.due_at = clock.now() + timedelta(seconds=LONGEST_RETRY_S)
        with suppress(Exception):  # the step failed, and so did logging it
            self.due_at = clock.now() + timedelta(seconds=self._step())

    def _step(self) -> float:
        try:
            step = self.catch_up.step()
        except (ProjectionFailed, StoreUnavailable) as error:
            return self._fail(error)
        except Exception:
            logger.exception("an asynchronous view failed", view=self.catch_up.view.name)
            return LONGEST_RETRY_S
        self._backoff.reset()
        match step:
            case Step.ADVANCED:
                return 0.0
            case Step.AT_THE_END:
                return LOOK_EVERY_S
            case Step.OVERTAKEN:
                return STAND_BACK_S

    def _fail(self, error: ProjectionFailed | StoreUnavailable) -> float:
        retry_s = self._backoff.next_s()
        name = self.catch_up.view.name
        logger.error("an asynchronous view stands still", view=name, reason=str(error), next_try_in_s=retry_s)
        return retry_s


class Projector:
    """Keeps the asynchronous views of a process up to date. A view that fails does not stop the others.

    Args:
        catch_ups: One for each view.
        clock: The clock that decides when they are due.
    """

    def __init__(self, catch_ups: Iterable[CatchUp], clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._schedules = [_Schedule(catch_up, self._clock.now()) for catch_up in catch_ups]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saga-es-projector", daemon=True)

    def open(self) -> None:
        """Start the thread, if there are views."""
        if self._schedules:
            self._thread.start()

    def close(self) -> None:
        """Stop after the present step. A step that takes longer than `CLOSE_TIMEOUT_S` is not waited for."""
        self._stopped.set()
        self._clock.wake()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            now = self._clock.now()
            for schedule in self._schedules:
                if schedule.due_at <= now and not self._stopped.is_set():
                    schedule.take(self._clock)
            next_at = min(schedule.due_at for schedule in self._schedules)
            self._clock.sleep(max(0.0, (next_at - self._clock.now()).total_seconds()))
