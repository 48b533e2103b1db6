"""The projector: the thread that keeps a process's asynchronous views up to date, and repairs inline ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from saga_es.errors import ProjectionFailed, StoreUnavailable
from saga_es.logs import logger
from saga_es.runtime.waiting.backoff import Backoff
from saga_es.runtime.waiting.clock import Clock, SystemClock
from saga_es.store.views.catch_up import CatchUp, Step
from saga_es.store.views.repairing import Repair

STAND_BACK_S = 2.0
"""How long to leave a view alone that another process advances."""

RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
"""A view that failed is retried after `RETRY_S`, then after twice as long each time, up to this."""

LONGEST_REPAIR_S = 600.0
"""An inline view that could not be made anew is tried again after `RETRY_S`, then later and later, up to this."""

REST = 10
"""How many times as long as an attempt took no other is made."""

LOOK_FOR_MARKS_S = 30.0
"""How often to look for inline views that another process has marked as behind."""

LOOK_FOR_WISHES_S = 1.0
"""How often to see whether this process has marked one; that asks no database."""

CLOSE_TIMEOUT_S = 3.0
"""How long `close` waits for the present step: its database may never answer."""


class _Schedule:
    """When a view is due, and how long it waits after a failure."""

    def __init__(self, catch_up: CatchUp, now: datetime, is_closing: Callable[[], bool]) -> None:
        self.catch_up = catch_up
        self.due_at = now
        self._is_closing = is_closing
        self._backoff = Backoff(RETRY_S, LONGEST_RETRY_S)

    def take(self, clock: Clock) -> None:
        """Take one step, and set when the next one is due."""
        self.due_at = clock.now() + timedelta(seconds=LONGEST_RETRY_S)
        with suppress(Exception):  # the step failed, and so did logging it
            self.due_at = clock.now() + timedelta(seconds=self._step())

    def _step(self) -> float:
        try:
            step = self.catch_up.step()
        except ProjectionFailed as error:
            wait_s, view = self._backoff.next_s(), self.catch_up.view.name
            logger.error("an asynchronous view stands still", view=view, reason=str(error), next_try_in_s=wait_s)  # noqa: TRY400 (the reason says it)
            return wait_s
        except StoreUnavailable as error:
            wait_s, view = self._backoff.next_s(), self.catch_up.view.name
            if not self._is_closing():  # then another process goes on with it, when the database is back
                logger.warning("a view waits for the database", view=view, reason=str(error), next_try_in_s=wait_s)
            return wait_s
        except Exception:
            logger.exception("an asynchronous view failed", view=self.catch_up.view.name)
            return LONGEST_RETRY_S
        self._backoff.reset()
        match step:
            case Step.ADVANCED:
                return self.catch_up.view.rest_s
            case Step.AT_THE_END:
                return self.catch_up.view.look_every_s
            case Step.OVERTAKEN:
                return STAND_BACK_S


class _Repairs:
    """When inline views that are behind are made anew: soon after this process has marked one, and now and then."""

    def __init__(self, repair: Repair, now: datetime) -> None:
        self.due_at = now + timedelta(seconds=LOOK_FOR_MARKS_S)
        self._repair = repair
        self._backoff = Backoff(RETRY_S, LONGEST_REPAIR_S)
        self._is_wanted = False
        self._resting_until = now

    def want(self) -> None:
        """A view was marked. Called on any thread."""
        self._is_wanted = True

    def look(self, now: datetime) -> None:
        """A view that was just marked is due at once, unless the last attempt failed or took long."""
        if self._is_wanted and now >= self._resting_until:
            self.due_at = now

    def take(self, clock: Clock) -> None:
        """Make the views anew that are behind, and set when to look again."""
        self._is_wanted = False
        began, rest_s = clock.now(), LONGEST_REPAIR_S
        with suppress(Exception):  # the attempt failed, and so did logging it
            rest_s = self._step()
        now = clock.now()
        self._resting_until = now + max(timedelta(seconds=rest_s), REST * (now - began))
        self.due_at = max(self._resting_until, now + timedelta(seconds=LOOK_FOR_MARKS_S if rest_s == 0.0 else rest_s))

    def _step(self) -> float:
        """The seconds until another attempt makes sense."""
        try:
            repaired = self._repair.step()
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a view, sagas go on, and it is tried again)
            wait_s = self._backoff.next_s()
            logger.error("a view is still behind", reason=str(error), next_try_in_s=wait_s)  # noqa: TRY400 (the reason says it)
            return wait_s
        self._backoff.reset()
        for name in repaired:
            logger.info("a view that was behind is up to date again", view=name)
        return 0.0


class Projector:
    """Keeps the asynchronous views of a process up to date, and makes inline views anew that are behind.

    A view that fails does not stop the others.

    Args:
        catch_ups: One for each asynchronous view.
        clock: The clock that decides when they are due.
        repair: Makes inline views anew.
    """

    def __init__(self, catch_ups: Iterable[CatchUp], clock: Clock | None = None, repair: Repair | None = None) -> None:
        self._clock = clock or SystemClock()
        now = self._clock.now()
        self._repairs = None if repair is None else _Repairs(repair, now)
        self._stopped = threading.Event()
        self._schedules: list[_Schedule | _Repairs] = [
            _Schedule(catch_up, now, self._stopped.is_set) for catch_up in catch_ups
        ]
        self._schedules += [self._repairs] if self._repairs else []
        self._thread = threading.Thread(target=self._run, name="saga-es-projector", daemon=True)

    def open(self) -> None:
        """Start the thread, if there are views."""
        if self._schedules:
            self._thread.start()

    def repair_soon(self) -> None:
        """An inline view was marked as behind: make it anew within a second or so. Called on any thread."""
        if self._repairs is not None:
            self._repairs.want()

    def close(self) -> None:
        """Stop after the present step. A step that takes longer than `CLOSE_TIMEOUT_S` is not waited for."""
        self._stopped.set()
        self._clock.wake()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            now = self._clock.now()
            if self._repairs is not None:
                self._repairs.look(now)
            for schedule in self._schedules:
                if schedule.due_at <= now and not self._stopped.is_set():
                    schedule.take(self._clock)
            next_at = min(schedule.due_at for schedule in self._schedules)
            sleep_s = max(0.0, (next_at - self._clock.now()).total_seconds())
            self._clock.sleep(sleep_s if self._repairs is None else min(sleep_s, LOOK_FOR_WISHES_S))
