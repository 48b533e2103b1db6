"""The client: what a process may ask of sagas that runs none itself.

It starts no thread and keeps no worker's row. What it records waits in the log, for whichever worker there is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from saga_es.core.commands import Command
from saga_es.core.state import SagaState
from saga_es.definition.saga import Saga
from saga_es.runtime.control import Control
from saga_es.runtime.handle import Handle, SagaResult
from saga_es.runtime.intake.commands import Commands, as_recorded
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.waiting.backoff import Backoff
from saga_es.runtime.waiting.clock import Clock, SystemClock
from saga_es.runtime.waiting.outage import COMMIT_TIMEOUT_S
from saga_es.store.log.entries import check_stream_id
from saga_es.store.store import SharedStore

FIRST_LOOK_S = 0.05
LONGEST_LOOK_S = 1.0
SLOWER = 1.5


class Client(Control):
    """Starts sagas, gives them orders and signals, and reads them; safe to use from any thread.

    Args:
        definitions: The sagas that it can start. The other calls need no definition.
    """

    def __init__(self, store: SharedStore, definitions: Iterable[Saga] = (), clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        super().__init__(store)
        self._starts = Starts(store, definitions, clock)
        self._commands = Commands(store, clock)
        self._are_plans_recorded = False

    def start(
        self,
        saga: Saga | str,
        input: dict[str, Any] | None = None,  # noqa: A002 (the field's word, and the step functions')
        *,
        saga_id: str | None = None,
        key: str | None = None,
        tags: dict[str, str] | None = None,
        starts_at: datetime | None = None,
        connection: Connection | None = None,
    ) -> Handle:
        """Start a saga, or find the one that was started before under the same id or key; durable when this returns.

        It is PENDING until a worker that knows the definition has capacity for it.

        Args:
            saga: The definition, or its name.
            input: What the steps get as `input`; must have a JSON form.
            saga_id: An id of the caller's choice, 1 to 64 characters.
            key: Any text of the caller's choice; the same key of the same definition is the same saga.
            tags: Texts by name, to find the saga by; they stay as they are.
            starts_at: The saga waits until then; aware of its time zone.
            connection: Start the saga in a transaction of the caller's, on the same database: it exists exactly when
                that commits.

        Raises:
            DefinitionError: The saga is none of the client's.
            SagaExists: The id or key stands for a saga with another input.
            BadStreamId: The id is none the log takes.
            BadTags: There are too many tags, or one is too long.
            BadStart: The key is empty or no Unicode, or the time knows no zone or is none in UTC.
            PayloadUnencodable: The input has no JSON form.
            PayloadTooLarge: The input is larger than the limit.
            StoreUnavailable: The database does not take the start; whether it yet will is not known.
        """
        begin = self._starts.begin(saga, input, saga_id=saga_id, key=key, tags=tags, starts_at=starts_at)
        if not self._are_plans_recorded:
            self._starts.record_plans()
            self._are_plans_recorded = True
        if connection is None:
            self._starts.record(begin)
        elif not self._starts.found(begin, connection):
            self._starts.record_within(connection, begin)
        return ClientHandle(begin.saga_id, self)

    def follow(self, saga_id: str) -> Handle:
        """A handle on a saga that was started before, by any process."""
        return ClientHandle(saga_id, self)

    def submit(self, saga_id: str, command: Command) -> None:
        """Give a command as a value, whichever worker runs the saga; returns when it is in the log."""
        check_stream_id(saga_id)
        self._commands.record(saga_id, as_recorded(command, self._store.writer), COMMIT_TIMEOUT_S)

    def result(self, saga_id: str, timeout: float | None = None) -> SagaResult:
        """Block until the saga has ended, on whichever worker; it is looked at ever less often, at least once a second.

        Raises:
            TimeoutError: It took longer than `timeout` seconds; the saga goes on.
            NotFound: There is no such saga.
            StoreUnavailable: The database did not answer.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        backoff = Backoff(FIRST_LOOK_S, LONGEST_LOOK_S, SLOWER)
        while not (state := self._found(saga_id)).status.ended:
            wait_s = backoff.next_s()
            left_s = wait_s if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"saga {saga_id} is {state.status} after {timeout:g} s; it goes on")
            time.sleep(min(wait_s, left_s))
        return SagaResult.from_state(state)

    def _found(self, saga_id: str) -> SagaState:
        state = self._store.sagas.find(saga_id)
        if state is None:
            raise self._store.sagas.absent(saga_id)
        return state


class ClientHandle(Handle):
    """A handle that looks at the log: no engine of this process tells it of the end."""

    def __init__(self, saga_id: str, client: Client) -> None:
        super().__init__(saga_id, control=client)
        self._client = client
        self._watching = threading.Lock()
        self.mark_started()  # a client returns when the start is in the log

    def result(self, timeout: float | None = None) -> SagaResult:
        """Block until the saga has ended, on whichever worker; see `Client.result`."""
        return self._client.result(self.saga_id, timeout)

    def __await__(self) -> Generator[Any, None, SagaResult]:
        self._watch()
        return super().__await__()

    def when_ended(self, callback: Callable[[Future[SagaResult]], None]) -> None:
        """Have it called when the end is known, or that it never will be, on a thread of its own."""
        super().when_ended(callback)
        self._watch()

    def _watch(self) -> None:
        if self._watching.acquire(blocking=False):  # once, and never given back
            threading.Thread(target=self._wait, name="saga-es-watch", daemon=True).start()

    def _wait(self) -> None:
        try:
            result = self._client.result(self.saga_id)
        except Exception as error:  # noqa: BLE001 (it is raised where it is waited for)
            self.mark_failed(error)
        else:
            self.mark_ended(result)
