"""The engine: the loop on a thread of its own, and the methods that other threads call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import Any, Self
from weakref import WeakSet

from msgspec.structs import replace
from sqlalchemy import event
from sqlalchemy.engine import Connection

from saga_es.core.access import Starter
from saga_es.core.commands import Command
from saga_es.core.trace import Headers, trace_of
from saga_es.definition.saga import Saga
from saga_es.errors import EngineForked, EngineStopped, StoreUnavailable
from saga_es.logs import logger
from saga_es.runtime.calls.port import Executor
from saga_es.runtime.control import Control
from saga_es.runtime.handle import Handle
from saga_es.runtime.inbox import (
    AppendRequest,
    CommandRequest,
    FollowRequest,
    Item,
    StartRequest,
    StopRequest,
    refuse,
)
from saga_es.runtime.intake.commands import admitted
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.limits import Limits
from saga_es.runtime.tracing import PassedOn, Tracing
from saga_es.runtime.waiting.batch_window import BatchWindow
from saga_es.runtime.waiting.clock import Clock, SystemClock
from saga_es.runtime.waiting.outage import COMMIT_TIMEOUT_S, with_timeout
from saga_es.runtime.waiting.promise import Promise
from saga_es.runtime.worker import Worker
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.codec import check_numbers
from saga_es.store.log.entries import Draft, Recorded, check_is_text, check_stream_id
from saga_es.store.process import in_each_child, look_for_fork
from saga_es.store.store import SharedStore

CLOSE_TIMEOUT_S = COMMIT_TIMEOUT_S
"""How long `close` waits, after the grace, for the batch that is being committed."""

GOODBYE_S = 2.0
"""How long `close` at least waits for the worker's row to be deleted, however long the rest took."""

LOOKS_FOR_A_COMMIT = 3000
"""How often the engine looks for a saga that the caller's transaction starts: for ten minutes."""


_open_engines: WeakSet[Engine] = WeakSet()


def _refuse_in_child() -> None:
    for engine in list(_open_engines):
        engine.was_forked()


in_each_child(_refuse_in_child)


class Engine(Control):
    """Runs sagas in this process; safe to use from any thread. Made by `saga_es.open_engine`.

    Args:
        definitions: The sagas that it runs. A saga whose code is missing waits for a worker that has it.
        loop: The event loop on which the executor awaits `async def` steps, if it is not one of ours.
        carries_context: Whether the calls of a saga get the context variables of its `start`, in this process.
        tracing: Makes spans; if left out, none are made.
    """

    def __init__(
        self,
        store: SharedStore,
        executor: Executor,
        definitions: Iterable[Saga] = (),
        clock: Clock | None = None,
        limits: Limits | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        carries_context: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        super().__init__(store)
        self._tracing = tracing = tracing or PassedOn()
        self._loop = loop
        self._carries_context = carries_context
        self._executor = executor
        self._clock = clock or SystemClock()
        self._starts = Starts(store, definitions, self._clock)
        self._worker = Worker(store, executor, self._clock, self._starts.definitions.values(), limits, tracing=tracing)
        self._inbox = self._worker.inbox
        self._batch_window = BatchWindow(self._inbox.wait_for)
        self._thread = threading.Thread(target=self._run, name="saga-es-loop", daemon=True)
        self._stop_at: datetime | None = None
        self._closed = False
        self._is_forked = False
        self._busy_since: float | None = None
        self._closing = threading.Lock()

    # ── Starting sagas, and waiting for them ─────────────────────────────────────────────────────────────

    def start(  # noqa: PLR0913 (a caller gives them by name)
        self,
        saga: Saga | str,
        input: Any = None,  # noqa: A002 (the field's word, and the step functions')
        *,
        saga_id: str | None = None,
        key: str | None = None,
        tags: dict[str, str] | None = None,
        starts_at: datetime | None = None,
        by: Starter | None = None,
        connection: Connection | None = None,
        wait: bool = True,
        trace: Headers | None = None,
    ) -> Handle:
        """Start a saga, or find the one that was started before under the same id or key.

        Args:
            saga: The definition, or its name.
            input: What the steps get as `input`: a dict, a dataclass, a struct or a model that JSON holds faithfully.
            saga_id: An id of the caller's choice: 1 to 64 characters that can be one segment of a URL.
            key: Any text of the caller's choice. The same key of the same definition is the same saga.
            tags: Texts by name, to find the saga by. They never change.
            starts_at: The earliest time at which the first step begins; with a time zone.
            by: The principal that starts it (`Principal.starter`), whose tenant's the key is.
            connection: A transaction of the caller's on the same database, in which the start is recorded. The saga
                exists if it commits, and begins within a moment after. If it rolls back, the handle raises `NotFound`.
            wait: Block until the start is in the log and survives any crash. Without it, `handle.started()` waits for
                that. With a `connection`, `start` never waits.
            trace: Headers with the `traceparent` of the request that the saga belongs to. Without them, it belongs to
                the Flask request or the step that starts it.

        Raises:
            SagaExists: The id or key belongs to a saga with another input.
            BadStreamId: The log does not accept the id, or no URL can carry it.
            BadTags: There are too many tags, or one is too long.
            BadStart: The key is empty or not valid Unicode, or the time has no zone or no place in UTC.
            StoreUnavailable: The database did not confirm the start within 10 s. It may still be recorded.
            PayloadUnencodable: The input has no JSON form, or does not fit what a step asks for.
            PayloadTooLarge: The input is larger than the limit.
        """
        lookups = 0 if connection is None else LOOKS_FOR_A_COMMIT
        request = self._starts.request(
            saga, input, saga_id=saga_id, key=key, tags=tags, starts_at=starts_at, by=by, lookups=lookups
        )
        given = None if trace is None else trace_of(trace)
        with self._tracing.starting(request.definition.name, request.saga_id, given) as passed:
            if passed is not None:
                request = replace(request, trace=passed)
            is_chosen = saga_id is not None or key is not None
            self._start(request, connection, is_chosen=is_chosen, wait=wait)
        return request.handle

    def _start(self, request: StartRequest, connection: Connection | None, *, is_chosen: bool, wait: bool) -> None:
        handle = request.handle
        handle.control = self
        if self._carries_context:
            handle.context = copy_context()
        is_there = is_chosen and self._starts.found(request, connection)
        if not is_there and connection is not None:
            self._starts.record_within(connection, request)
            event.listen(connection, "rollback", lambda _connection: handle.stop_looking(), once=True)
        if is_there or connection is not None:
            self._put(FollowRequest(handle))
            return
        self._put(request)
        if wait:
            cure = f"it may still be: repeat it with saga_id={handle.saga_id!r}"
            _with_timeout_error("start", lambda: handle.started(COMMIT_TIMEOUT_S), cure)

    def follow(self, saga_id: str) -> Handle:
        """A handle on a saga that was started before, by this or any other process."""
        check_is_text(saga_id)
        handle = Handle(saga_id, control=self)
        self._put(FollowRequest(handle))
        return handle

    def submit(self, saga_id: str, command: Command) -> None:
        """Give a command as a value, to a saga on any worker; returns when it is in the log."""
        check_is_text(saga_id)
        check_stream_id(saga_id)
        with self._tracing.commanding(saga_id, command):
            request = CommandRequest(saga_id, admitted(saga_id, command, self._store), Future())
            self._put(request)
            _with_timeout_error("command", lambda: request.done.result(COMMIT_TIMEOUT_S))

    def check_may_block(self) -> None:
        """Check that this thread may wait for a saga.

        Raises:
            EngineForked: No thread of the engine is in this process.
            RuntimeError: It runs the event loop on which `async def` steps are awaited: they would never run.
        """
        if self.is_inherited:
            raise EngineForked
        if self._loop is not None and _running_loop() is self._loop and self._starts.has_async_steps:
            raise RuntimeError("this would block the event loop on which the saga's steps run; write `await handle`")

    @property
    def definitions(self) -> Mapping[str, Saga]:
        """The sagas that this engine knows, by name; their plans are in the log."""
        return self._starts.definitions

    @property
    def worker_id(self) -> str:
        """The id of this engine's worker, in the log and in the workers' table."""
        return self._worker.worker_id

    @property
    def is_inherited(self) -> bool:
        """Whether this process was forked from the one that opened the engine. Only the parent may close it."""
        look_for_fork()
        return self._is_forked

    @property
    def worker(self) -> Worker:
        """What runs the sagas: any thread may ask it for what they wait here."""
        return self._worker

    @property
    def active(self) -> int:
        """How many sagas this engine owns."""
        return self._worker.active

    @property
    def in_flight(self) -> int:
        """How many calls have not returned, those that wait for a thread included."""
        return self._worker.in_flight

    @property
    def alive(self) -> bool:
        """Whether the loop runs."""
        return self._thread.is_alive()

    @property
    def lag_s(self) -> float:
        """Seconds that the present iteration of the loop has taken; 0 while the loop waits for work."""
        busy_since = self._busy_since
        return 0.0 if busy_since is None else monotonic_s() - busy_since

    # ── For participants in this process ─────────────────────────────────────────────────────────────────

    def append(self, stream_id: str, category: str, expected_version: int, events: Sequence[Any]) -> None:
        """Append the application's own events to a stream, in the next batch; returns when they are durable.

        Raises:
            VersionConflict: The stream is not at the expected version. Nothing was appended.
            StoreUnavailable: The database did not confirm the append within 10 s. It may still be recorded.
            PayloadTooLarge: An event is larger than the limit.
            PayloadUnencodable: An event has no JSON form, or a number that JSON does not have.
        """
        draft = Draft(stream_id, category, expected_version, tuple(events), self._clock.now())
        prepared = self._store.writer.prepare(draft)
        for appended, row in zip(draft.events, prepared.rows, strict=True):
            check_numbers(appended, row["data"])
        append = AppendRequest(prepared, Promise())
        self._put(append)
        _with_timeout_error("append", lambda: append.done.wait(COMMIT_TIMEOUT_S))

    def read(self, stream_id: str) -> list[Recorded]:
        """The events of a stream, in order; empty if the stream does not exist."""
        return self._store.log.read(stream_id)

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> Self:
        """Record the plans, then start the loop. The loop first takes over the sagas that were interrupted."""
        _open_engines.add(self)
        self._starts.record_plans()
        self._worker.begin_work()
        self._thread.start()
        return self

    def close(self, grace_s: float = 5.0) -> None:
        """Stop: begin no new calls, and wait for those in flight. The next worker goes on with unfinished sagas.

        Args:
            grace_s: Seconds to wait for the calls in flight.

        Raises:
            RuntimeError: A callback called it on the engine's own thread. Nothing was stopped.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a callback cannot end the thread it runs on: close the engine on another thread")
        if self.is_inherited:
            return
        with self._closing:
            if not self._closed:
                self._close(grace_s)

    def _close(self, grace_s: float) -> None:
        self._closed = True
        self._worker.stop_calling()
        self._stop_at = self._clock.now() + timedelta(seconds=grace_s)
        self._clock.wake()
        self._inbox.put(StopRequest())
        given_up_at = monotonic_s() + grace_s + CLOSE_TIMEOUT_S
        was_open = self._thread.ident is not None
        if was_open:
            self._thread.join(grace_s + CLOSE_TIMEOUT_S)
        self._executor.close()
        stopped = EngineStopped("the engine was stopped; the next worker goes on with the sagas in the log")
        while items := self._inbox.take():
            for item in items:
                refuse(item, stopped)
        self._worker.abandon(stopped)
        if not was_open:
            return
        try:
            with_timeout(max(GOODBYE_S, given_up_at - monotonic_s()), self._worker.leave)
        except StoreUnavailable as error:
            logger.warning("could not delete the worker's row; its lease will run out", reason=str(error))

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        has_failed = False
        while not self._is_done():
            items = [] if has_failed else self._inbox.take(self._idle_s())
            self._busy_since = monotonic_s()
            try:
                if has_failed:
                    self._worker.start_over()
                coming = self._worker.iterate(items)
                self._busy_since = None
                self._batch_window.wait_for_answers(coming)
                has_failed = False
            except StoreUnavailable as error:  # stopped while the database is away: the next worker goes on
                for item in items:
                    refuse(item, error)
                return
            except BaseException as error:  # noqa: BLE001 (even SystemExit in a callback must not end the loop)
                self._has_failed(error, items)
                has_failed = True

    def _has_failed(self, error: BaseException, items: Iterable[Item]) -> None:
        """Report that the loop failed, in the log and to the callers. Nothing here may end the loop."""
        with suppress(Exception):  # logging may be what failed
            logger.error("the loop failed; it starts over from the log", exc_info=error)
        starts_over = StoreUnavailable("the engine starts over; repeat it under the same key")
        for item in items:  # some may have been recorded: the caller has to repeat the request
            with suppress(BaseException):
                refuse(item, starts_over)
        self._clock.sleep(1.0)

    def _is_done(self) -> bool:
        return self._stop_at is not None and (self._worker.idle or self._clock.now() >= self._stop_at)

    def _idle_s(self) -> float | None:
        idle_s = self._worker.idle_s()
        if self._stop_at is None:
            return idle_s
        left_s = max(0.0, (self._stop_at - self._clock.now()).total_seconds())
        return left_s if idle_s is None else min(idle_s, left_s)

    def was_forked(self) -> None:
        """This process is a child of the one that opened the engine: refuse everything from now on."""
        self._is_forked = self._closed = True

    def _put(self, item: Item) -> None:
        look_for_fork()
        if self._closed:
            if self._is_forked:
                raise EngineForked
            raise EngineStopped("the engine is stopping; repeat the request on another worker")
        self._inbox.put(item)
        if self._closed and not self.alive:  # no loop may be left to empty the inbox
            refuse(item, EngineStopped("the engine was stopped; repeat the request on another worker"))


def _with_timeout_error(what: str, wait: Any, cure: str = "repeat it under the same key") -> None:
    try:
        wait()
    except TimeoutError as error:
        raise StoreUnavailable(f"the {what} was not committed within {COMMIT_TIMEOUT_S:g} s; {cure}") from error


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
