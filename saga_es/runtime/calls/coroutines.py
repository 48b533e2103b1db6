"""Event loops for `async def` steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from saga_es.runtime.calls.port import Call, Lane
from saga_es.runtime.calls.watched import Perform, Watch, WatchedLoop, context_of, run
from saga_es.store.host_time import monotonic_s

CLOSE_TIMEOUT_S = 2.0

MOST_LOOPS = 8
"""The most loops of a process, so that steps that block do not make threads without end."""


class _Loop(WatchedLoop):
    """One event loop on a thread of its own."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(asyncio.new_event_loop())
        name = name if number == 1 else f"{name}-{number}"
        self.thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        try:
            self.thread.start()
        except RuntimeError:
            self.loop.close()
            raise
        self.thread_id = self.thread.ident


class Coroutines:
    """Performs `async def` calls beside each other. Any thread may use it.

    A step that blocks its loop stops all calls on it. When that takes long, the log names the step, and calls that have
    not begun move to another loop. Further calls like the culprit get a loop of their own.

    Args:
        name: The name of the threads of the loops.
        runs_steps: Whether code of the application runs on the loops, which may block them.
    """

    def __init__(self, name: str = "saga-es-asyncio", *, runs_steps: bool = True) -> None:
        self._name = name
        self._watch = Watch(self._move if runs_steps else None)
        self._loops: list[_Loop] = []
        self._apart: dict[Lane, _Loop] = {}

    def submit(self, calls: Sequence[Call], perform: Perform) -> None:
        """Have calls performed. They are handed over together, because waking a loop costs."""
        if not calls:
            return
        with self._watch.lock:
            self._hand_over(dict.fromkeys(calls, perform))
            self._watch.wake()

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Act on a loop, so many seconds later."""
        with self._watch.lock:
            loop = self._common().loop
        loop.call_soon_threadsafe(loop.call_later, delay_s, act)

    def cancel(self, call: Call) -> None:
        """End a call at its next `await`."""
        self._watch.cancel(call)

    def grace_s(self, call: Call) -> float:
        """Seconds until a call whose time is over is looked at again; 0 when it is late."""
        return self._watch.grace_s(call)

    def close(self, *, cancels: bool = False) -> None:
        """End the loops that end in time. Calls on them are left as they are, or cancelled."""
        self._watch.close()
        deadline = monotonic_s() + CLOSE_TIMEOUT_S
        loops = [loop for loop in self._loops if not loop.loop.is_closed()]
        for loop in loops:
            loop.loop.call_soon_threadsafe(_cancel_and_stop if cancels else loop.loop.stop)
        for loop in loops:
            loop.thread.join(max(0.0, deadline - monotonic_s()))
            if not loop.thread.is_alive():
                loop.loop.close()

    # ── With the lock held ───────────────────────────────────────────────────────────────────────────────

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
        loop = _Loop(self._name, len(self._loops) + 1)
        self._watch.add(loop)
        self._loops.append(loop)
        return loop

    def _move(self, blocked: WatchedLoop) -> None:
        """Give the calls that have not begun to other loops. Calls like the culprit get a loop of their own."""
        culprit = blocked.culprit
        if culprit is not None and culprit.lane not in self._apart and len(self._apart) < MOST_LOOPS // 2:
            with suppress(RuntimeError, OSError):  # without a loop of their own they share one with the others
                self._apart[culprit.lane] = self._new()
        moved = {
            call: perform for call, perform in blocked.waiting.items() if self._apart.get(call.lane) is not blocked
        }
        for call in moved:
            del blocked.waiting[call]
        self._hand_over(moved)

    # ── On the loops ─────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, loop: _Loop, calls: Sequence[Call]) -> None:
        for call in calls:
            loop.loop.create_task(run(self._watch.lock, loop, call), context=context_of(call))


def _cancel_and_stop() -> None:
    """Cancel all tasks of the loop that runs, and stop it when they have ended."""
    loop = asyncio.get_running_loop()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    asyncio.gather(*tasks, return_exceptions=True).add_done_callback(lambda _: loop.stop())
