"""When the loop itself fails: nobody waits in vain, and what is in the log goes on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import pytest

from saga_es.errors import StoreUnavailable
from saga_es.runtime.calls.executor import Executor
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Prepared
from saga_es.store.ports import Receipt
from saga_es.store.process import Process
from saga_es.store.workers import Workers
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.contract.engine.test_takeover import INPUT, an_engine
from tests.support.logged import spoilt_logs
from tests.support.trips import STEPS, Diary, Spy, Stop, trip


class Stumbling(Spy):
    """A writer that fails once in a way nobody foresaw: before it wrote, or after."""

    def __init__(self, store: Store, *, wrote: bool) -> None:
        super().__init__(store)
        self._wrote = wrote
        self._stumbles = 1

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, but for the once."""
        is_a_saga = any(its.draft.category == SAGA for its in batch)
        if self._stumbles and is_a_saga:
            self._stumbles -= 1
            if self._wrote:
                super().write(batch)
            raise RuntimeError("nobody foresaw this")
        return super().write(batch)


def test_who_waits_when_the_loop_fails_is_told(store: Store) -> None:
    """Nothing of the turn was written: the start is refused at once, and repeated under its key it runs."""
    diary = Diary()
    with an_engine(store, trip(diary), Executor(), Stumbling(store, wrote=False)) as engine:
        with pytest.raises(StoreUnavailable, match="repeat it under the same key"):
            engine.start("trip", INPUT, key="k")
        assert engine.start("trip", INPUT, key="k").result(TIMEOUT_S).completed
    assert diary.names == list(STEPS)


def test_a_saga_that_was_in_the_log_when_the_loop_failed_goes_on(store: Store) -> None:
    """The engine starts over as a new worker, takes the saga over, and performs what was begun."""
    diary = Diary()
    with an_engine(store, trip(diary), Executor(), Stumbling(store, wrote=True)) as engine:
        with pytest.raises(StoreUnavailable):
            engine.start("trip", INPUT, key="k")
        assert engine.start("trip", INPUT, key="k").result(TIMEOUT_S).completed
    assert diary.names == list(STEPS)


def spoilt(*_: Any) -> Any:
    """A processor of log lines that fails at each."""
    raise OSError("no space left on device")


def test_a_log_that_fails_does_not_end_the_loop(store: Store) -> None:
    """The application may have set up any: the failure is not told then, but the engine starts over all the same."""
    diary = Diary()
    with (
        spoilt_logs(spoilt),
        an_engine(store, trip(diary), Executor(), Stumbling(store, wrote=False)) as engine,
    ):
        with pytest.raises(StoreUnavailable, match="repeat it under the same key"):
            engine.start("trip", INPUT, key="k")
        assert engine.start("trip", INPUT, key="k").result(TIMEOUT_S).completed


class Unbeatable(Workers):
    """Whose rows cannot be written while the loop starts over: once for the goodbye, once for the first heartbeat."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database)
        self.refusals = {"leave": 1, "beat": 1}

    def leave(self, worker_id: str) -> None:
        """Say goodbye, but for the once."""
        self._refuse("leave")
        super().leave(worker_id)

    def beat(self, worker_id: str, process: Process, code: str | None = None) -> bool:
        """Beat, but for the once after the goodbye that failed."""
        if not self.refusals["leave"]:
            self._refuse("beat")
        return super().beat(worker_id, process, code)

    def _refuse(self, what: str) -> None:
        if self.refusals[what]:
            self.refusals[what] -= 1
            raise StoreUnavailable(f"no {what}")


def test_an_engine_that_cannot_even_start_over_tries_again(store: Store, open_engine: OpenEngine) -> None:
    """The database is away, and the log fails as well: it goes on as soon as it can."""
    workers = Unbeatable(store)
    with spoilt_logs(spoilt):
        engine = open_engine(trip(Diary()), writer=Stumbling(store, wrote=False), workers=workers)
        with pytest.raises(StoreUnavailable):
            engine.start("trip", INPUT, key="k")
        assert engine.start("trip", INPUT, key="k").result(TIMEOUT_S).completed
        assert workers.refusals == {"leave": 0, "beat": 0}


def test_whatever_a_callback_raises_the_loop_goes_on(open_engine: OpenEngine, gate: threading.Event) -> None:
    """Also what would end a thread without a word."""
    engine = open_engine(trip(Diary(), {STEPS[0]: Stop(gate)}))
    handle = engine.start("trip", INPUT, key="k")
    handle.when_ended(lambda _future: sys.exit("as if the process were the callback's"))
    gate.set()  # it ends after the callback is there, so that the loop's thread calls it
    with suppress(StoreUnavailable):  # the engine starts over
        handle.result(TIMEOUT_S)
    assert engine.follow(handle.saga_id).result(TIMEOUT_S).completed


def test_a_callback_cannot_close_its_engine(open_engine: OpenEngine) -> None:
    """It runs on the thread that is to end: it is told so, and the engine goes on as if nobody had asked."""
    engine = open_engine(trip(Diary()))
    told: SimpleQueue[str] = SimpleQueue()

    def close(_future: object) -> None:
        try:
            engine.close()
        except RuntimeError as error:
            told.put(str(error))

    engine.start("trip", INPUT).when_ended(close)
    assert "close the engine on another thread" in told.get(timeout=TIMEOUT_S)
    assert engine.start("trip", INPUT).result(TIMEOUT_S).completed
    engine.close()
    assert not engine.alive
