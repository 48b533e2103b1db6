"""Calls participants: the only place where a saga touches the world.

Owns: turning a call into exactly one outcome. Refuses: to try again; that is decided in the core. Cannot
promise: that a call which timed out has not acted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial

from saga_es.core.outcomes import Outcome, Unavailable
from saga_es.definition.steps import is_async
from saga_es.runtime.calls.caller import Caller
from saga_es.runtime.calls.outcomes import outcome_of_error
from saga_es.runtime.calls.pool import Pool, Work
from saga_es.runtime.calls.port import Call, Returned
from saga_es.runtime.calls.transport import Transport
from saga_es.store.log.codec import DEFAULT_PAYLOAD_LIMIT

CLOSE_TIMEOUT_S = 2.0

WAITING_FOR_A_THREAD = 8
"""Calls for each thread that may wait for it when sagas are taken over: calls of 3 s still begin within their 30 s."""

MOST_AWAITED = 1000
"""`async def` calls under way when sagas are taken over."""


class Executor:
    """Performs calls: `def` on threads, `async def` on one event loop, requests on pooled connections.

    Args:
        transports: How each participant is reached, by name.
        threads: How many `def` steps and requests may be under way at once.
        payload_limit: Bytes of JSON a result may take.
    """

    def __init__(
        self,
        transports: Mapping[str, Transport] | None = None,
        threads: int = 32,
        payload_limit: int = DEFAULT_PAYLOAD_LIMIT,
    ) -> None:
        self._caller = Caller(transports, payload_limit)
        self._pool = Pool(threads)
        self._threads = threads
        self._awaited = self._came_back = 0  # coroutines; each number is written by one thread
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread

    @property
    def capacity(self) -> int:
        """How many more sagas may be taken over now; 0 until it is worth the look.

        A call that waits for a thread for longer than its time-out counts as not made: what was interrupted can wait
        better where it is, in the log.
        """
        most_waiting = WAITING_FOR_A_THREAD * self._threads
        waiting, awaited = len(self._pool), self._awaited - self._came_back
        if 2 * waiting > most_waiting or 2 * awaited > MOST_AWAITED:
            return 0
        return min(most_waiting - waiting, MOST_AWAITED - awaited)

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Start calls, in this order; `returned` is told the outcome of each once, from another thread.

        They are handed over together: to wake a thread costs more than a short step.

        Returns:
            Those that could not be started, and why.
        """
        work: list[Work] = []
        failed: list[tuple[Call, Exception]] = []
        now = time.monotonic()
        for call in calls:
            if is_async(call.callee):
                try:
                    asyncio.run_coroutine_threadsafe(self._await(call, returned), self._event_loop())
                    self._awaited += 1
                except Exception as error:  # noqa: BLE001 (whatever it is, the others' calls are made)
                    failed.append((call, error))
            else:
                work.append(partial(self._run, call, returned, now + call.timeout_s))
        self._pool.submit(*work)
        return failed

    def give_up(self, call: Call) -> None:
        """Do not begin the call any more; if it has begun, let no other wait for its thread."""
        call.is_given_up = True
        self._pool.give_up(lambda work: isinstance(work, partial) and work.args[0] is call)

    def close(self) -> None:
        """Take no more calls; those under way are left to themselves."""
        self._pool.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(CLOSE_TIMEOUT_S)
            if not self._loop_thread.is_alive():
                self._loop.close()

    def _run(self, call: Call, returned: Returned, expires: float) -> None:
        try:
            # Given up while it waited for a thread, or about to be: it must not act any more.
            if call.is_given_up or time.monotonic() >= expires:
                outcome: Outcome = Unavailable(f"no thread was free within {call.timeout_s:g} s")
            else:
                outcome = self._caller.answer(call)
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also SystemExit)
            outcome = outcome_of_error(error)
        returned(call, outcome)

    async def _await(self, call: Call, returned: Returned) -> None:
        try:
            is_late = call.is_given_up
            outcome = Unavailable("given up before it began") if is_late else await self._caller.await_answer(call)
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also CancelledError)
            outcome = outcome_of_error(error)
        self._came_back += 1
        returned(call, outcome)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop_thread = threading.Thread(target=self._loop.run_forever, name="saga-es-asyncio", daemon=True)
            self._loop_thread.start()
        return self._loop
