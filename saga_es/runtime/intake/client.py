"""The client: what a process may ask of sagas that runs none itself.

It starts no thread and keeps no worker's row. What it records waits in the log, for whichever worker there is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from saga_es.core.facts import Give, Order
from saga_es.core.orders import Undoing, preview
from saga_es.core.state import SagaState
from saga_es.definition.saga import Saga
from saga_es.runtime.handle import SagaResult
from saga_es.runtime.intake.commands import Orders, as_recorded
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.waiting.clock import Clock, SystemClock
from saga_es.runtime.waiting.outage import COMMIT_TIMEOUT_S
from saga_es.store.log.log import check_stream_id
from saga_es.store.queries.past import story_at
from saga_es.store.queries.story import SagaStory
from saga_es.store.store import Store

FIRST_LOOK_S = 0.05
LONGEST_LOOK_S = 1.0


class Client:
    """Starts sagas, gives them orders and signals, and reads them; safe to use from any thread.

    Args:
        definitions: The sagas that it can start. The other calls need no definition.
    """

    def __init__(self, store: Store, definitions: Iterable[Saga] = (), clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        self._sagas = store.sagas
        self._writer = store.writer
        self._starts = Starts(store, definitions, clock)
        self._orders = Orders(store, clock)
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
    ) -> str:
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

        Returns:
            The saga's id.

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
        return begin.saga_id

    def order(self, saga_id: str, order: Order) -> None:
        """Give an order (see `saga_es.orders`) to a saga, whichever worker runs it; returns when it is in the log.

        Raises:
            NotFound: There is no such saga.
            OrderRefused: The saga cannot follow it, as it is now; nothing was recorded.
            StoreUnavailable: The database does not take it; whether it yet will is not known.
            PayloadUnencodable: What it carries has no JSON form.
            PayloadTooLarge: What it carries is larger than the limit.
        """
        check_stream_id(saga_id)
        self._orders.give(saga_id, as_recorded(order, self._writer), COMMIT_TIMEOUT_S)

    def signal(self, saga_id: str, name: str, payload: Any = None, *, key: str | None = None) -> None:
        """Give a signal to a saga: what its step of this name waits for, or will; returns when it is in the log.

        Args:
            saga_id: Which saga.
            name: The name of the step.
            payload: The result of the step.
            key: Any text of the caller's choice; the same key twice is one signal.

        Raises:
            NotFound: There is no such saga.
            OrderRefused: It has no such step, or its step is done; the same for all that `order` raises.
        """
        self.order(saga_id, Give(name, payload, key))

    def preview(self, saga_id: str) -> list[Undoing]:
        """What a cancel would compensate now, in the order in which it would begin to; nothing is done.

        Raises:
            NotFound: There is no such saga.
            OrderRefused: It cannot be cancelled now.
            StoreUnavailable: The database did not answer.
        """
        return preview(self._found(saga_id))

    def status(self, saga_id: str) -> SagaStory:
        """How a saga is, and each of its steps; exact at the moment of reading: it folds the log.

        Raises:
            NotFound: There is no such saga.
            StoreUnavailable: The database did not answer.
        """
        return story_at(self._sagas, saga_id)[0]

    def result(self, saga_id: str, timeout: float | None = None) -> SagaResult:
        """Block until the saga has ended, on whichever worker; it is looked at ever less often, at least once a second.

        Raises:
            TimeoutError: It took longer than `timeout` seconds; the saga goes on.
            NotFound: There is no such saga.
            StoreUnavailable: The database did not answer.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        wait_s = FIRST_LOOK_S
        while not (state := self._found(saga_id)).status.ended:
            left_s = wait_s if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"saga {saga_id} is {state.status} after {timeout:g} s; it goes on")
            time.sleep(min(wait_s, left_s))
            wait_s = min(wait_s * 1.5, LONGEST_LOOK_S)
        return SagaResult.of(state)

    def _found(self, saga_id: str) -> SagaState:
        state = self._sagas.find(saga_id)
        if state is None:
            raise self._sagas.absent(saga_id)
        return state
