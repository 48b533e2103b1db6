"""The executor: it calls participants, and is the only place where a saga acts on the world.

It turns each call into exactly one outcome. It never retries: the core decides that. A call that timed out may have
acted all the same.
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
"""The most calls that wait for each thread during takeovers: calls of 3 s still begin within their time-out of 30 s."""

MOST_AWAITED = 1000
"""The most `async def` calls in flight during takeovers."""


class Executor:
    """Performs calls: `def` steps on threads, `async def` steps on one event loop, requests on pooled connections.

    Args:
        transports: The transport to each participant, by the participant's name.
        threads: How many `def` steps and requests may be in flight at once.
        payload_limit: The most bytes of JSON in a result.
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
        self._awaited = self._returned = 0  # coroutines; each number is written by one thread
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread

    @property
    def capacity(self) -> int:
        """How many more sagas may be taken over now; 0 until half of the capacity is free, which is worth a query.

        A call that waits for a thread longer than its time-out is not made. So interrupted sagas wait in the log
        instead.
        """
        most_waiting = WAITING_FOR_A_THREAD * self._threads
        waiting, awaited = len(self._pool), self._awaited - self._returned
        if 2 * waiting > most_waiting or 2 * awaited > MOST_AWAITED:
            return 0
        return min(most_waiting - waiting, MOST_AWAITED - awaited)

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Start calls, in this order. They are handed over together: waking a thread costs more than a short step.

        Args:
            calls: The calls.
            returned: Receives the outcome of each call, once, on another thread.

        Returns:
            The calls that could not be started, each with its error.
        """
        work: list[Work] = []
        failed: list[tuple[Call, Exception]] = []
        now = time.monotonic()
        for call in calls:
            if is_async(call.callee):
                try:
                    asyncio.run_coroutine_threadsafe(self._await(call, returned), self._event_loop())
                    self._awaited += 1
                except Exception as error:  # noqa: BLE001 (the other calls are made all the same)
                    failed.append((call, error))
            else:
                work.append(partial(self._run, call, returned, now + call.timeout_s))
        self._pool.submit(*work)
        return failed

    def give_up(self, call: Call) -> None:
        """Do not begin the call. If it has begun, another thread may be started in place of its thread."""
        call.is_given_up = True
        self._pool.give_up(lambda work: isinstance(work, partial) and work.args[0] is call)

    def close(self) -> None:
        """Accept no more calls. Calls in flight are left to themselves."""
        self._pool.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(CLOSE_TIMEOUT_S)
            if not self._loop_thread.is_alive():
                self._loop.close()

    def _run(self, call: Call, returned: Returned, expires: float) -> None:
        try:
            # It was given up while it waited for a thread, or is about to be: it must not act any more.
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
        self._returned += 1
        returned(call, outcome)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop_thread = threading.Thread(target=self._loop.run_forever, name="saga-es-asyncio", daemon=True)
            self._loop_thread.start()
        return self._loop
