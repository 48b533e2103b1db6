"""Calls participants: the only place where a saga touches the world.

Owns: turning a call into exactly one outcome. Refuses: to try again; that is decided in the core. Cannot
promise: that a call which timed out has not acted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from saga_es.core.outcomes import Outcome, Unavailable, Unknown
from saga_es.definition.signatures import is_async
from saga_es.logs import fields_of, logger
from saga_es.runtime.calls.around import Wrapping
from saga_es.runtime.calls.backlog import Backlog
from saga_es.runtime.calls.bulkhead import Bulkhead, Entry
from saga_es.runtime.calls.caller import Awaited, Caller
from saga_es.runtime.calls.coroutines import Coroutines
from saga_es.runtime.calls.given_loop import GivenLoop, Loops
from saga_es.runtime.calls.limits import Turn
from saga_es.runtime.calls.outcomes import MEANT, outcome_of_error, text
from saga_es.runtime.calls.pool import Pool
from saga_es.runtime.calls.port import Call, Lane, Returned
from saga_es.runtime.calls.transport import Transport
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.codec import DEFAULT_PAYLOAD_LIMIT

MakeCaller = Callable[[Mapping[str, Transport] | None, int, Wrapping | None], Caller]
"""Makes a caller from the transports, the most bytes of a result, and what stands around every call."""


class Executor:
    """Performs calls: `def` steps on threads, `async def` steps on an event loop, requests over the network on another.

    What a request runs of the application (its body, its condition, its credentials) runs on a thread before it is
    sent. If something stands `around` each call, its requests stay on their threads. Requests to an application in this
    process run on threads, too.

    A call waits for a thread as long as it must, and for its turn at its participant. Its time-out runs from when it
    begins. The caller keeps the time, and gives up a call that is late.

    Args:
        transports: The transport to each participant, by the participant's name.
        threads: How many `def` steps may be in flight at once.
        payload_limit: The most bytes of JSON in a result.
        around: What stands around every call.
        loop: The event loop for `async def` steps; None: loops of its own.
        make_caller: Makes what makes the calls.
        bulkhead: Limits the requests over HTTP to each participant.
    """

    def __init__(
        self,
        transports: Mapping[str, Transport] | None = None,
        threads: int = 32,
        payload_limit: int = DEFAULT_PAYLOAD_LIMIT,
        around: Wrapping | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        make_caller: MakeCaller = Caller,
        bulkhead: Bulkhead | None = None,
    ) -> None:
        self._caller = make_caller(transports, payload_limit, around)
        self._caller.taken = self._leave
        self._threads = threads
        self._pool = Pool(threads)
        self._backlog = Backlog(threads)
        self._coroutines: Loops = Coroutines() if loop is None else GivenLoop(loop)
        self._requests = Coroutines("saga-es-http", runs_steps=False)
        self._bulkhead = bulkhead or Bulkhead()
        self._bulkhead.later = self._wake_later
        self._lock = threading.Lock()
        self._is_closed = False

    def tell_where_to_reply(self, url_of: Callable[[Call], str]) -> None:
        """Tell participants that may answer 202 where they can say later what a call came to.

        Args:
            url_of: Gives the URL for a call.
        """
        self._caller.reply_url = url_of

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread, or for their turn at their participant."""
        return self._pool.waiting + self._bulkhead.waiting

    def capacity_of(self, definition: str) -> int:
        """How many more sagas of a definition may be taken over now; 0 until it is worth the look."""
        return self._backlog.capacity_of(definition)

    def is_crowded(self, definition: str) -> bool:
        """Whether new sagas of a definition would only wait here to be called."""
        return self._backlog.is_crowded(definition)

    def waiting_of(self, definition: str) -> tuple[int, int]:
        """How many calls of a definition wait for a thread or are awaited, and how many threads there are."""
        return self._backlog.waiting_of(definition), self._threads

    def turn_of(self, call: Call) -> Turn | None:
        """Why a request waits for its turn at its participant; None if it does not."""
        return self._bulkhead.turn_of(call) if self._caller.is_over_http(call) else None

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Start calls, in this order. They are handed over together: waking a thread costs more than a short step.

        Args:
            calls: The calls.
            returned: Receives the outcome of each call, once, on another thread. It hears nothing of a call that was
                given up before it began: that call was never made.

        Returns:
            The calls that could not be started, each with its error.
        """
        waiting: list[Call] = []
        awaited: list[Call] = []
        requests: list[Call] = []
        for call in calls:
            call.is_awaited = is_async(call.callee)
            is_request = self._caller.is_over_http(call)
            (requests if is_request else awaited if call.is_awaited else waiting).append(call)
        self._backlog.add([call.definition for call in waiting + requests], [call.definition for call in awaited])
        self._pool.submit((call.lane, partial(self._run, call, returned)) for call in waiting)
        self._send(self._bulkhead.enter((call, returned) for call in requests))
        try:
            self._coroutines.submit(awaited, partial(self._await, returned))
        except Exception as error:  # noqa: BLE001 (the other calls are made all the same)
            return [(call, error) for call in awaited]
        return []

    def left_s(self, call: Call) -> float:
        """Seconds until the call is late; its whole time-out while it waits to begin, or for its answer to be read."""
        if call.began_at is None or call.is_back:
            return call.timeout_s
        left_s = call.began_at + call.timeout_s - monotonic_s()
        return self._loops_of(call).grace_s(call) if left_s <= 0 and call.is_awaited else left_s

    def goes_on(self, call: Call) -> bool:
        """The call says that it goes on: its time-out runs anew. False, and nothing, if nobody waits for its answer."""
        with self._lock:
            if call.is_given_up or call.is_back or self._is_closed:
                return False
            call.began_at = monotonic_s()
            return True

    def cancel(self, call: Call) -> None:
        """Tell a call under way that its saga has aborted: its context says so, and its task ends at its next `await`.

        A task is cancelled only if its step is cancellable. What the call answers still counts.
        """
        call.is_cancelled = True
        if call.is_cancellable and call.is_awaited:
            self._loops_of(call).cancel(call)

    def give_up(self, call: Call) -> bool:
        """Do not begin the call. If it has begun, another thread may be started in place of its thread.

        Returns:
            Whether it had begun.
        """
        with self._lock:
            call.is_given_up = True
        if call.began_at is None:
            return False
        if call.is_awaited:
            self._loops_of(call).cancel(call)
        else:
            self._pool.give_up(lambda work: isinstance(work, partial) and work.args[0] is call)
        return True

    def close(self) -> None:
        """Accept no more calls. Calls in flight are left to themselves, requests are torn off; no other begins."""
        self._is_closed = True
        self._pool.close()
        self._coroutines.close()
        self._requests.close(cancels=True)

    def _begin(self, call: Call) -> bool:
        """Whether the call may begin; then it has begun, once and for all."""
        with self._lock:
            if call.is_given_up or self._is_closed or call.began_at is not None:
                return False
            call.began_at = monotonic_s()
            return True

    def _loops_of(self, call: Call) -> Loops:
        return self._requests if self._caller.is_over_http(call) else self._coroutines

    # ── Requests over the network ────────────────────────────────────────────────────────────────────────

    def _send(self, entries: Iterable[Entry]) -> None:
        """Make the requests that were let in."""
        while entries:
            next_ones: list[Entry] = []
            for (call, returned), error in self._unsent(entries):
                self._backlog.has_begun(call.definition)
                call.is_back = True
                returned(call, Unavailable(text(f"nothing was sent: {type(error).__name__}: {error}")))
                next_ones += self._bulkhead.leave(call)
            entries = next_ones

    def _unsent(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Exception]]:
        """Hand requests over; returns those for which the system gives no thread, and why."""
        threaded: list[Entry] = []
        on_loop: dict[Returned, list[Call]] = {}
        for call, returned in entries:
            if self._caller.needs_thread(call):
                threaded.append((call, returned))
            else:
                call.is_awaited = True
                on_loop.setdefault(returned, []).append(call)
        self._pool.submit((call.lane, partial(self._run, call, returned)) for call, returned in threaded)
        for returned, calls in on_loop.items():
            try:
                self._requests.submit(calls, partial(self._await_request, returned))
            except Exception as error:  # noqa: BLE001 (whatever prevents a loop: nothing was sent)
                yield from (((call, returned), error) for call in calls)

    async def _await_request(self, returned: Returned, call: Call) -> None:
        self._backlog.has_begun(call.definition)
        if not self._begin(call):
            self._leave(call)
            return
        await self._end_request(returned, call, self._caller.await_answer(call))

    async def _await_sent(self, returned: Returned, awaited: Awaited, call: Call) -> None:
        if call.is_given_up:  # while it waited for the loop
            awaited.drop()
            self._leave(call)
            return
        await self._end_request(returned, call, self._caller.await_result(call, awaited))

    async def _end_request(self, returned: Returned, call: Call, coming: Coroutine[Any, Any, Outcome]) -> None:
        try:
            outcome = await coming
        except asyncio.CancelledError:
            if self._is_closed:  # the next worker makes it again
                return
            outcome = Unknown("it was given up")
        except BaseException as error:  # noqa: BLE001 (whatever is raised is an outcome)
            outcome = _raised(call, error)
        self._end(returned, call, outcome)

    def _leave(self, call: Call) -> None:
        """A call has ended, or was not made: the next that waits for its participant is made."""
        if not self._is_closed:
            self._send(self._bulkhead.leave(call))

    def _wake_later(self, delay_s: float, lane: Lane) -> None:
        """Make the next requests of a participant when its rate allows them."""
        self._requests.later(delay_s, partial(self._wake, lane))

    def _wake(self, lane: Lane) -> None:
        if not self._is_closed:
            self._send(self._bulkhead.wake(lane))

    # ── On the threads and loops ─────────────────────────────────────────────────────────────────────────

    def _run(self, call: Call, returned: Returned) -> None:
        self._backlog.has_begun(call.definition)
        if not self._begin(call):
            self._leave(call)
            return
        try:
            carried = call.carried
            outcome = self._caller.answer(call) if carried is None else carried.copy().run(self._caller.answer, call)
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also SystemExit)
            outcome = _raised(call, error)
        if isinstance(outcome, Awaited):
            self._hand_over(returned, call, outcome)
            return
        self._end(returned, call, outcome)

    def _hand_over(self, returned: Returned, call: Call, awaited: Awaited) -> None:
        """Have an event loop await what a function returned: only the call tells a `def` that does this."""
        with self._lock:
            call.is_awaited = True
            is_unwanted = call.is_given_up or self._is_closed
        if is_unwanted:
            awaited.drop()
            self._leave(call)
            return
        if self._caller.is_over_http(call):
            try:
                self._requests.submit([call], partial(self._await_sent, returned, awaited))
            except Exception as error:  # noqa: BLE001 (whatever prevents a loop: nothing was sent)
                awaited.drop()
                self._end(returned, call, Unavailable(text(f"nothing was sent: {type(error).__name__}: {error}")))
            return
        self._backlog.add((), [call.definition])
        try:
            self._coroutines.submit([call], partial(self._await_result, returned, awaited))
        except Exception as error:  # noqa: BLE001 (whatever prevents a loop: the function was called)
            awaited.drop()
            self._end_awaited(returned, call, Unknown(text(f"the result cannot be awaited: {error}")))

    async def _await(self, returned: Returned, call: Call) -> None:
        if not self._begin(call):
            self._backlog.is_back(call.definition)
            return
        try:
            outcome = await self._caller.await_answer(call)
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also CancelledError)
            outcome = _raised(call, error)
        self._end_awaited(returned, call, outcome)

    async def _await_result(self, returned: Returned, awaited: Awaited, call: Call) -> None:
        if call.is_given_up:  # while it waited for the loop
            awaited.drop()
            self._backlog.is_back(call.definition)
            return
        try:
            outcome = await self._caller.await_result(call, awaited)
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also CancelledError)
            outcome = _raised(call, error)
        self._end_awaited(returned, call, outcome)

    def _end_awaited(self, returned: Returned, call: Call, outcome: Outcome) -> None:
        self._backlog.is_back(call.definition)
        call.is_back = True
        returned(call, outcome)

    def _end(self, returned: Returned, call: Call, outcome: Outcome) -> None:
        call.is_back = True
        self._leave(call)
        returned(call, outcome)


def _raised(call: Call, error: BaseException) -> Outcome:
    """The outcome of a call that raised."""
    if not isinstance(error, MEANT):
        logger.warning("a step raised an exception", exc_info=error, **fields_of(call))
    return outcome_of_error(error)
