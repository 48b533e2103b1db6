"""The thread of a process that keeps its following views."""

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
"""How often the end of the log is looked at."""

STAND_BACK_S = 2.0
"""How long to leave a view to the process that was faster."""

RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
"""A view that failed tries again after `RETRY_S`, then after twice as long, and so on up to this."""

CLOSE_TIMEOUT_S = 3.0
"""How long a step is waited for in the end: it may never hear from its database again."""


class _Schedule:
    """When a view is to go on, and how often it has failed."""

    def __init__(self, catch_up: CatchUp, now: datetime) -> None:
        self.catch_up = catch_up
        self.due_at = now
        self._backoff = Backoff(RETRY_S, LONGEST_RETRY_S)

    def take(self, clock: Clock) -> None:
        """One step, and when the next one is due."""
        self.due_at = clock.now() + timedelta(seconds=LONGEST_RETRY_S)
        with suppress(Exception):  # of the log: that the step failed could not even be said
            self.due_at = clock.now() + timedelta(seconds=self._step())

    def _step(self) -> float:
        try:
            step = self.catch_up.step()
        except (ProjectionFailed, StoreUnavailable) as error:
            return self._fail(error)
        except Exception:
            logger.exception("a view that follows the log failed", view=self.catch_up.view.name)
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
        logger.error("a view that follows the log stands still", view=name, reason=str(error), next_try_in_s=retry_s)
        return retry_s


class Projector:
    """Keeps the following views of a process, each on its own: one that fails stops no other.

    Args:
        catch_ups: One for each view.
        clock: Tells when they are due.
    """

    def __init__(self, catch_ups: Iterable[CatchUp], clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._schedules = [_Schedule(catch_up, self._clock.now()) for catch_up in catch_ups]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saga-es-following", daemon=True)

    def open(self) -> None:
        """Begin; without views there is nothing to begin."""
        if self._schedules:
            self._thread.start()

    def close(self) -> None:
        """Stop after the step that is under way; one that takes too long is left to itself, its view to the next."""
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
