"""Starts, orders, signals and reads of one saga, from several clients and through crashes, are linearizable."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf

import pytest

from saga_es.core.commands import Cancel, Command, Pause, Resume, SendSignal
from saga_es.core.state import SagaState
from saga_es.definition.saga import Saga
from saga_es.errors import CommandRefused, NotFound, SagaExists, StoreUnavailable
from saga_es.runtime.engine import Engine
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.waiting.clock import SystemClock
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.linear import OK, REFUSED, UNKNOWN, Operation, Seen, is_linearizable, unknown
from tests.support.trips import crash

ID = "my-saga"
WHO = ("Ann", "because")
CLIENTS, EACH = 4, 12
ORDERS: dict[str, Command] = {
    "pause": Pause(*WHO),
    "resume": Resume(*WHO),
    "cancel": Cancel(*WHO),
    "signal": SendSignal("answer", 7),
}
DICE = [*["start", "pause", "resume", "signal"] * 3, *["read"] * 6, "cancel"]


def waiting() -> Saga:
    """A saga that keeps the signals that it is sent, and waits for another."""
    saga = Saga("asked")
    saga.wait_for("never", timeout_s=None)
    saga.wait_for("answer", timeout_s=None)
    return saga


class Client:
    """One of those who use the saga at the same time, each by a way of its own."""

    def __init__(self, number: int, seed: int, store: Store, engines: list[Engine], saga: Saga) -> None:
        self._dice = random.Random(f"{seed}/{number}")
        self._store = store
        self._engines = engines
        self._saga = saga
        self._commands = Commands(store, SystemClock())
        self.history: list[Operation] = []

    def work(self) -> list[Operation]:
        """Do some operations, and remember what each was told."""
        for _ in range(EACH):
            self.history.append(self._done(self._dice.choice(DICE)))
        return self.history

    def _done(self, name: str) -> Operation:
        input_ = self._dice.randrange(2)
        began = time.monotonic()
        try:
            answer = self._answer(name, input_)
        except (CommandRefused, SagaExists, NotFound):
            answer = REFUSED
        except StoreUnavailable:
            return unknown(name, began, input_)
        return Operation(name, began, time.monotonic(), answer, input_)

    def _answer(self, name: str, input_: int) -> str | Seen:
        engine = self._dice.choice(self._engines)
        if name == "read":
            return seen(self._store.sagas.find(ID))
        if name == "start":
            engine.start(self._saga, {"n": input_}, saga_id=ID)
        else:
            give: Callable[[str, Command], None] = self._dice.choice([engine.submit, self._commands.record])
            give(ID, ORDERS[name])
        return OK


def seen(state: SagaState | None) -> Seen:
    """What a read shows of the saga."""
    if state is None:
        return Seen()
    signals = len(state.signals.get("answer", ()))
    return Seen(state.input["n"], state.paused is not None and not state.aborted, state.aborted, signals)


@pytest.mark.parametrize("seed", range(2))
def test_what_clients_are_told_of_a_saga_is_linearizable_through_crashes(
    store: Store, open_engine: OpenEngine, seed: int
) -> None:
    """Two engines and the command line; one engine crashes in the middle, and another takes its place."""
    saga = waiting()
    engines = [open_engine(saga), open_engine(saga)]
    clients = [Client(number, seed, store, engines, saga) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        working = [threads.submit(client.work) for client in clients]
        first = engines[0]
        engines[0] = open_engine(saga)
        crash(store, first)
        history = [done for work in working for done in work.result(4 * TIMEOUT_S)]
    assert is_linearizable(history), history


def told(*operations: tuple[str, float, float, str | Seen]) -> list[Operation]:
    return [Operation(*operation) for operation in operations]


STARTED = ("start", 0.0, 1.0, OK)
WRONG = {
    "a start that was acknowledged is lost": told(STARTED, ("read", 2.0, 3.0, Seen())),
    "a read goes back": told(
        STARTED,
        ("pause", 2.0, 9.0, OK),
        ("read", 3.0, 4.0, Seen(0, paused=True)),
        ("read", 5.0, 6.0, Seen(0)),
    ),
    "two pauses are acknowledged": told(STARTED, ("pause", 2.0, 4.0, OK), ("pause", 3.0, 5.0, OK)),
    "a signal that was acknowledged is lost": told(
        STARTED, ("signal", 2.0, 3.0, OK), ("read", 4.0, 5.0, Seen(0, signals=0))
    ),
    "an order is refused without a reason": told(STARTED, ("cancel", 2.0, 3.0, REFUSED)),
    "an order after the end is followed": told(STARTED, ("cancel", 2.0, 3.0, OK), ("signal", 4.0, 5.0, OK)),
}


@pytest.mark.parametrize("history", WRONG.values(), ids=WRONG)
def test_a_history_that_no_order_explains_is_found(history: list[Operation]) -> None:
    """A checker that finds nothing would prove nothing."""
    assert not is_linearizable(history)


def test_what_is_unknown_may_have_happened_at_any_time_since_or_never() -> None:
    """A pause whose answer was lost explains a saga that is paused, now or later, and one that is not."""
    lost = Operation("pause", 2.0, inf, UNKNOWN)
    for paused in (False, True):
        assert is_linearizable([*told(STARTED, ("read", 3.0, 4.0, Seen(0, paused=paused))), lost])
    assert is_linearizable(
        [*told(STARTED, ("read", 3.0, 4.0, Seen(0)), ("read", 5.0, 6.0, Seen(0, paused=True))), lost]
    )
