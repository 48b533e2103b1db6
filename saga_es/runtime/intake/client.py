"""The client: starts sagas and gives commands from a process that runs none.

It starts no thread and has no row in the workers' table. Whatever it records waits in the log for a worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from msgspec.structs import replace
from sqlalchemy.engine import Connection

from saga_es.core.access import Starter
from saga_es.core.commands import Command
from saga_es.core.trace import Headers, trace_of
from saga_es.definition.saga import Saga
from saga_es.runtime.control import Control
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.runtime.intake.commands import Commands, admitted
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.tracing import PassedOn, Tracing
from saga_es.runtime.waiting.backoff import Backoff
from saga_es.runtime.waiting.clock import Clock, SystemClock
from saga_es.runtime.waiting.outage import COMMIT_TIMEOUT_S
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.entries import check_is_text, check_stream_id
from saga_es.store.store import SharedStore

FIRST_LOOK_S = 0.05
LONGEST_LOOK_S = 1.0
SLOWER = 1.5


class Client(Control):
    """Starts sagas, gives them commands and signals, and reads them; safe to use from any thread.

    Args:
        definitions: The sagas that it can start. Its other methods need no definition.
    """

    def __init__(
        self,
        store: SharedStore,
        definitions: Iterable[Saga] = (),
        clock: Clock | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._tracing = tracing or PassedOn()
        super().__init__(store)
        self._starts = Starts(store, definitions, clock)
        self._commands = Commands(store, clock)
        self._are_plans_recorded = False

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
        trace: Headers | None = None,
    ) -> Handle:
        """Start a saga, or find the one that was started before under the same id or key; durable when this returns.

        The saga is PENDING until a worker that knows the definition has capacity for it.

        Args:
            saga: The definition, or its name.
            input: What the steps get as `input`: a dict, a dataclass, a struct or a model that JSON holds faithfully.
            saga_id: An id of the caller's choice: 1 to 64 characters that can be one segment of a URL.
            key: Any text of the caller's choice. The same key of the same definition is the same saga.
            tags: Texts by name, to find the saga by. They never change.
            starts_at: The earliest time at which the first step begins; with a time zone.
            by: The principal that starts it (`Principal.starter`), whose tenant's the key is.
            connection: A transaction of the caller's on the same database, in which the start is recorded. The saga
                exists if it commits.
            trace: Headers with the `traceparent` of the request that the saga belongs to. Without them, it belongs to
                the Flask request or the step that starts it.

        Raises:
            DefinitionError: The client does not know the saga.
            SagaExists: The id or key belongs to a saga with another input.
            BadStreamId: The log does not accept the id, or no URL can carry it.
            BadTags: There are too many tags, or one is too long.
            BadStart: The key is empty or not valid Unicode, or the time has no zone or no place in UTC.
            PayloadUnencodable: The input has no JSON form, or does not fit what a step asks for.
            PayloadTooLarge: The input is larger than the limit.
            StoreUnavailable: The database did not confirm the start. It may still be recorded.
        """
        request = self._starts.request(saga, input, saga_id=saga_id, key=key, tags=tags, starts_at=starts_at, by=by)
        self._record_plans()
        given = None if trace is None else trace_of(trace)
        with self._tracing.starting(request.definition.name, request.saga_id, given) as passed:
            if passed is not None:
                request = replace(request, trace=passed)
            if connection is None:
                self._starts.record(request)
            elif not self._starts.found(request, connection):
                self._starts.record_within(connection, request)
        return ClientHandle(request.saga_id, self)

    @property
    def definitions(self) -> Mapping[str, Saga]:
        """The sagas that this client knows, by name; their plans are in the log."""
        self._record_plans()
        return self._starts.definitions

    def _record_plans(self) -> None:
        if not self._are_plans_recorded:
            self._starts.record_plans()
            self._are_plans_recorded = True

    def follow(self, saga_id: str) -> Handle:
        """A handle on a saga that was started before, by any process."""
        check_is_text(saga_id)
        return ClientHandle(saga_id, self)

    def submit(self, saga_id: str, command: Command) -> None:
        """Give a command as a value, to a saga on any worker; returns when it is in the log."""
        check_is_text(saga_id)
        check_stream_id(saga_id)
        with self._tracing.commanding(saga_id, command):
            self._commands.record(saga_id, admitted(saga_id, command, self._store), COMMIT_TIMEOUT_S)

    def result(self, saga_id: str, timeout: float | None = None) -> SagaResult:
        """Block until the saga has ended, on any worker. The log is read ever less often, but at least once a second.

        Args:
            saga_id: The saga.
            timeout: Seconds to wait; None: for ever.

        Raises:
            TimeoutError: It took longer than `timeout` seconds. The saga goes on.
            NotFound: There is no such saga.
            StoreUnavailable: The database did not answer.
        """
        deadline = None if timeout is None else monotonic_s() + timeout
        backoff = Backoff(FIRST_LOOK_S, LONGEST_LOOK_S, SLOWER)
        while not (state := self._found(saga_id)).status.ended:
            wait_s = backoff.next_s()
            left_s = wait_s if deadline is None else deadline - monotonic_s()
            if left_s <= 0:
                raise TimeoutError(f"saga {saga_id} is {state.status} after {timeout:g} s; it goes on")
            time.sleep(min(wait_s, left_s))
        return SagaResult.from_state(state)


class ClientHandle(Handle):
    """A handle that reads the log, because no engine in this process resolves it."""

    def __init__(self, saga_id: str, client: Client) -> None:
        super().__init__(saga_id, control=client)
        self._client = client
        self._watching = threading.Lock()
        self.mark_started()  # a client returns when the start is in the log

    def result(self, timeout: float | None = None) -> SagaResult:
        """Block until the saga has ended, on any worker; see `Client.result`."""
        return self._client.result(self.saga_id, timeout)

    def __await__(self) -> Generator[Any, None, SagaResult]:
        self._watch()
        return super().__await__()

    def when_ended(self, callback: Callable[[Future[SagaResult]], None]) -> None:
        """Call back once the saga has ended, or its end can never be known. A thread of its own calls."""
        super().when_ended(callback)
        self._watch()

    def _watch(self) -> None:
        if self._watching.acquire(blocking=False):  # never released: there is one watching thread at most
            threading.Thread(target=self._wait, name="saga-es-watch", daemon=True).start()

    def _wait(self) -> None:
        try:
            result = self._client.result(self.saga_id)
        except Exception as error:  # noqa: BLE001 (it is raised where it is waited for)
            self.mark_failed(error)
        else:
            self.mark_ended(result)
