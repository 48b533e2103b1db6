"""A watch over event loops: a step that blocks its loop (`time.sleep`) costs no other call on it its time.

A loop that has calls on it is asked for signs of life. Time for which it gives none does not count for its calls,
except for the call that blocks it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from types import FrameType
from typing import Any

from saga_es.logs import fields_of, logger
from saga_es.runtime.calls.port import Call
from saga_es.store.host_time import monotonic_s

LOOK_EVERY_S = 0.5
"""How often a loop is asked for a sign of life while calls are on it."""

BLOCKED_AFTER_S = 1.0
"""How long a loop gives no sign of life until its step is named, and the calls that wait move to another loop."""

LAG_S = 0.1
"""Delays of a loop that are not worth a correction."""

LOOK_AGAIN_S = 0.05
"""How soon after its time-out a call is looked at again while its loop gives no sign of life."""

Perform = Callable[[Call], Coroutine[Any, Any, None]]


class WatchedLoop:
    """One event loop, and the calls on it.

    Args:
        loop: The loop.
        thread_id: The thread on which it runs; None: not known yet.

    Attributes:
        waiting: The calls that have not begun, each with how it is performed.
        running: The tasks of the calls that have begun.
        asked_at: When it was asked for a sign of life that it has not given; None otherwise.
        alive_at: When it gave the last sign of life.
        culprit: The call that blocks it, if it was found.
        is_blocked: Whether it was found blocked, and has given no sign of life since.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread_id: int | None = None) -> None:
        self.loop = loop
        self.thread_id = thread_id
        self.waiting: dict[Call, Perform] = {}
        self.running: dict[Call, asyncio.Task[Any]] = {}
        self.asked_at: float | None = None
        self.alive_at = monotonic_s()
        self.culprit: Call | None = None
        self.is_blocked = False

    @property
    def is_busy(self) -> bool:
        """Whether calls are on it."""
        return bool(self.waiting or self.running)

    def present(self) -> tuple[Call | None, FrameType | None]:
        """The call that its thread works on at this moment, and where the thread is."""
        where = sys._current_frames().get(self.thread_id or 0)  # noqa: SLF001 (nothing else tells where a thread is)
        frame = where
        while frame is not None and frame.f_code is not run.__code__:
            frame = frame.f_back
        return (None if frame is None else frame.f_locals["call"]), where


class Watch:
    """Watches loops while calls are on them. Any thread may use it.

    Args:
        blocked: Is told, with the lock held, of a loop that was found blocked; None: nothing of the application runs on
            the loops, so a loop without a sign of life is busy, and nobody blocks it.

    Attributes:
        lock: Guards the calls of the loops.
        loops: The loops.
    """

    def __init__(self, blocked: Callable[[WatchedLoop], object] | None = lambda _loop: None) -> None:
        self.lock = threading.Lock()
        self.loops: list[WatchedLoop] = []
        self._blocked = blocked
        self._is_busy = threading.Event()
        self._is_closed = threading.Event()

    def add(self, loop: WatchedLoop) -> None:
        """Watch a loop, too."""
        if not self.loops:
            threading.Thread(target=self._watch, name="saga-es-asyncio-watch", daemon=True).start()
        self.loops.append(loop)

    def wake(self) -> None:
        """Calls are on a loop now."""
        if not self._is_busy.is_set():
            self._is_busy.set()

    def cancel(self, call: Call) -> bool:
        """End a call at its next `await`; False if it runs on none of the loops."""
        with self.lock:
            loop = self._loop_of(call)
            if loop is None:
                return False
            with suppress(RuntimeError):  # the loop is closed: nothing on it runs
                loop.loop.call_soon_threadsafe(loop.running[call].cancel)
            return True

    def grace_s(self, call: Call) -> float:
        """Seconds until a call whose time is over is looked at again; 0 when it is late.

        It is late when its loop has run since, when it holds up the loop itself, or when the loop does not run at all.
        """
        with self.lock:
            loop = self._loop_of(call)
            if loop is None or call.began_at is None or loop.alive_at > call.began_at + call.timeout_s:
                return 0.0
            if not loop.loop.is_running():
                return 0.0
            self._ask(loop)
        is_culprit = self._blocked is not None and loop.present()[0] is call
        return 0.0 if is_culprit else LOOK_AGAIN_S

    def close(self) -> None:
        """Watch no more."""
        self._is_closed.set()
        self._is_busy.set()

    def _loop_of(self, call: Call) -> WatchedLoop | None:
        return next((loop for loop in self.loops if call in loop.running), None)

    def _ask(self, loop: WatchedLoop) -> None:
        if loop.asked_at is None:
            loop.asked_at = monotonic_s()
            try:
                loop.loop.call_soon_threadsafe(self._is_alive, loop)
            except RuntimeError:  # it is closed
                loop.asked_at = None

    def _is_alive(self, loop: WatchedLoop) -> None:
        with self.lock:
            now = monotonic_s()
            assert loop.asked_at is not None, "it was asked"
            lag_s = now - loop.asked_at
            if lag_s > LAG_S:
                for call in loop.running:
                    if call is not loop.culprit and call.began_at is not None:
                        call.began_at += lag_s
            loop.asked_at, loop.alive_at = None, now
            loop.culprit, loop.is_blocked = None, False

    def _watch(self) -> None:
        while not self._is_closed.wait(LOOK_EVERY_S):
            self._is_busy.wait()
            with self.lock:
                busy = [loop for loop in self.loops if loop.is_busy and loop.loop.is_running()]
                if not any(loop.is_busy for loop in self.loops) and not self._is_closed.is_set():
                    self._is_busy.clear()
            for loop in busy:
                self._look(loop)

    def _look(self, loop: WatchedLoop) -> None:
        with self.lock:
            self._ask(loop)
            asked_at = loop.asked_at
            if asked_at is None or loop.is_blocked or monotonic_s() - asked_at < BLOCKED_AFTER_S:
                return
            if self._blocked is None:
                return
            loop.is_blocked = True
            loop.culprit, where = loop.present()
            culprit = loop.culprit
            self._blocked(loop)
        _warn(culprit, where)


def _warn(culprit: Call | None, where: FrameType | None) -> None:
    about = {} if culprit is None else fields_of(culprit)
    what = "a step blocks its event loop" if culprit else "the event loop of async steps is blocked"
    event = f"{what}, and the other async steps on it wait"
    with suppress(Exception):  # an error of the log must not stop the watch
        logger.warning(
            event,
            **about,
            blocked_s=BLOCKED_AFTER_S,
            stack="".join(traceback.format_stack(where)) if where else "",
            cure="await what takes time, or write the step as `def`: such steps run on threads",
        )


def context_of(call: Call) -> Context | None:
    """A copy of the context variables that the call carries; None when it carries none."""
    return None if call.carried is None else call.carried.copy()


async def run(lock: threading.Lock, loop: WatchedLoop, call: Call) -> None:
    """Perform a call on a loop, unless it was moved to another."""
    task = asyncio.current_task()
    assert task is not None, "it runs"
    with lock:
        perform = loop.waiting.pop(call, None)
        if perform is None:
            return
        loop.running[call] = task
    try:
        await perform(call)
    finally:
        with lock:
            del loop.running[call]
