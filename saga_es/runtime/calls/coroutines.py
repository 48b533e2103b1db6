"""Event loops for `async def` steps, and a watch over steps that block them."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from types import FrameType
from typing import Any

from saga_es.logs import logger
from saga_es.runtime.calls.port import Call, Lane
from saga_es.store.host_time import monotonic_s

CLOSE_TIMEOUT_S = 2.0

LOOK_EVERY_S = 0.5
"""How often a loop is asked for a sign of life while calls are on it."""

BLOCKED_AFTER_S = 1.0
"""How long a loop gives no sign of life until its step is named, and the calls that wait move to another loop."""

LAG_S = 0.1
"""Delays of a loop that are not worth a correction."""

LOOK_AGAIN_S = 0.05
"""How soon after its time-out a call is looked at again while its loop gives no sign of life."""

MOST_LOOPS = 8
"""The most loops of a process, so that steps that block do not make threads without end."""

Perform = Callable[[Call], Coroutine[Any, Any, None]]


class _Loop:
    """One event loop on a thread of its own.

    Attributes:
        waiting: The calls that have not begun, each with how it is performed.
        running: The tasks of the calls that have begun.
        asked_at: When it was asked for a sign of life that it has not given; None otherwise.
        alive_at: When it gave the last sign of life.
        culprit: The call that blocks it, if it was found.
        is_blocked: Whether it was found blocked, and has given no sign of life since.
    """

    def __init__(self, number: int) -> None:
        self.waiting: dict[Call, Perform] = {}
        self.running: dict[Call, asyncio.Task[Any]] = {}
        self.asked_at: float | None = None
        self.alive_at = monotonic_s()
        self.culprit: Call | None = None
        self.is_blocked = False
        self.loop = asyncio.new_event_loop()
        name = "saga-es-asyncio" if number == 1 else f"saga-es-asyncio-{number}"
        self.thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        try:
            self.thread.start()
        except RuntimeError:
            self.loop.close()
            raise

    @property
    def is_busy(self) -> bool:
        """Whether calls are on it."""
        return bool(self.waiting or self.running)

    def present(self) -> tuple[Call | None, FrameType | None]:
        """The call that its thread works on at this moment, and where the thread is."""
        where = sys._current_frames().get(self.thread.ident or 0)  # noqa: SLF001 (nothing else tells where a thread is)
        frame = where
        while frame is not None and frame.f_code is not _run.__code__:
            frame = frame.f_back
        return (None if frame is None else frame.f_locals["call"]), where


class Coroutines:
    """Performs `async def` calls beside each other. Any thread may use it.

    A step that blocks its loop (`time.sleep`) stops all calls on it. So the loop is asked for signs of life. Time for
    which it gives none does not count for its calls, except for the call that blocks it. When that takes long, the log
    names the step, and calls that have not begun move to another loop. Further calls like the culprit get a loop of
    their own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops: list[_Loop] = []
        self._apart: dict[Lane, _Loop] = {}
        self._is_busy = threading.Event()
        self._is_closed = threading.Event()

    def submit(self, calls: Sequence[Call], perform: Perform) -> None:
        """Have calls performed. They are handed over together, because waking a loop costs."""
        if not calls:
            return
        with self._lock:
            self._hand_over(dict.fromkeys(calls, perform))
            if not self._is_busy.is_set():
                self._is_busy.set()

    def cancel(self, call: Call) -> None:
        """End a call at its next `await`."""
        with self._lock:
            loop = self._loop_of(call)
            if loop is not None:
                loop.loop.call_soon_threadsafe(loop.running[call].cancel)

    def grace_s(self, call: Call) -> float:
        """Seconds until a call whose time is over is looked at again; 0 when it is late.

        It is late when its loop has run since, or when it holds up the loop itself.
        """
        with self._lock:
            loop = self._loop_of(call)
            if loop is None or call.began_at is None or loop.alive_at > call.began_at + call.timeout_s:
                return 0.0
            self._ask(loop)
        return 0.0 if loop.present()[0] is call else LOOK_AGAIN_S

    def close(self) -> None:
        """End the loops that end in time. Calls on them are left as they are."""
        self._is_closed.set()
        self._is_busy.set()
        deadline = monotonic_s() + CLOSE_TIMEOUT_S
        for loop in self._loops:
            loop.loop.call_soon_threadsafe(loop.loop.stop)
        for loop in self._loops:
            loop.thread.join(max(0.0, deadline - monotonic_s()))
            if not loop.thread.is_alive():
                loop.loop.close()

    # ── With the lock held ───────────────────────────────────────────────────────────────────────────────

    def _loop_of(self, call: Call) -> _Loop | None:
        return next((loop for loop in self._loops if call in loop.running), None)

    def _hand_over(self, calls: dict[Call, Perform]) -> None:
        by_loop: dict[_Loop, list[Call]] = {}
        for call, perform in calls.items():
            loop = (self._apart.get(call.lane) if self._apart else None) or self._common()
            loop.waiting[call] = perform
            by_loop.setdefault(loop, []).append(call)
        for loop, its in by_loop.items():
            loop.loop.call_soon_threadsafe(self._begin, loop, its)

    def _common(self) -> _Loop:
        """A loop that is not blocked, and not kept apart; if there is none, a new one, unless there are too many."""
        apart = list(self._apart.values()) if self._apart else ()
        common = [loop for loop in self._loops if loop not in apart]
        for loop in common:
            if not loop.is_blocked:
                return loop
        if len(self._loops) >= MOST_LOOPS:
            return (common or self._loops)[-1]
        try:
            return self._new()
        except (RuntimeError, OSError):  # the system allows no more threads or files: the calls wait
            if not self._loops:
                raise
            return (common or self._loops)[-1]

    def _new(self) -> _Loop:
        loop = _Loop(len(self._loops) + 1)
        if not self._loops:
            threading.Thread(target=self._watch, name="saga-es-asyncio-watch", daemon=True).start()
        self._loops.append(loop)
        return loop

    def _ask(self, loop: _Loop) -> None:
        if loop.asked_at is None:
            loop.asked_at = monotonic_s()
            loop.loop.call_soon_threadsafe(self._is_alive, loop)

    def _move(self, loop: _Loop) -> None:
        """Give the calls that have not begun to other loops. Calls like the culprit get a loop of their own."""
        culprit = loop.culprit
        if culprit is not None and culprit.lane not in self._apart and len(self._apart) < MOST_LOOPS // 2:
            with suppress(RuntimeError, OSError):  # without a loop of their own they share one with the others
                self._apart[culprit.lane] = self._new()
        moved = {call: perform for call, perform in loop.waiting.items() if self._apart.get(call.lane) is not loop}
        for call in moved:
            del loop.waiting[call]
        self._hand_over(moved)

    # ── On the loops ─────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, loop: _Loop, calls: Sequence[Call]) -> None:
        for call in calls:
            loop.loop.create_task(_run(self._lock, loop, call), context=context_of(call))

    def _is_alive(self, loop: _Loop) -> None:
        with self._lock:
            now = monotonic_s()
            assert loop.asked_at is not None, "it was asked"
            lag_s = now - loop.asked_at
            if lag_s > LAG_S:
                for call in loop.running:
                    if call is not loop.culprit and call.began_at is not None:
                        call.began_at += lag_s
            loop.asked_at, loop.alive_at = None, now
            loop.culprit, loop.is_blocked = None, False

    # ── The watch ────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        while not self._is_closed.wait(LOOK_EVERY_S):
            self._is_busy.wait()
            with self._lock:
                busy = [loop for loop in self._loops if loop.is_busy]
                if not busy and not self._is_closed.is_set():
                    self._is_busy.clear()
            for loop in busy:
                self._look(loop)

    def _look(self, loop: _Loop) -> None:
        with self._lock:
            self._ask(loop)
            asked_at = loop.asked_at
            if asked_at is None or loop.is_blocked or monotonic_s() - asked_at < BLOCKED_AFTER_S:
                return
            loop.is_blocked = True
            loop.culprit, where = loop.present()
            self._move(loop)
        self._warn(loop.culprit, where)

    def _warn(self, culprit: Call | None, where: FrameType | None) -> None:
        about = {"definition": culprit.definition, "step": culprit.step, "saga_id": culprit.saga_id} if culprit else {}
        with suppress(Exception):  # an error of the log must not stop the watch
            logger.warning(
                "a step blocks its event loop, and the other async steps on it wait",
                **about,
                blocked_s=BLOCKED_AFTER_S,
                stack="".join(traceback.format_stack(where)) if where else "",
                cure="await what takes time, or write the step as `def`: such steps run on threads",
            )


def context_of(call: Call) -> Context | None:
    """A copy of the context variables that the call carries; None when it carries none."""
    return None if call.carried is None else call.carried.copy()


async def _run(lock: threading.Lock, loop: _Loop, call: Call) -> None:
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
