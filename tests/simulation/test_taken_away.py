"""A saga that another worker took, and that comes back: nothing that was asked of it meanwhile is lost."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta

import pytest

from saga_es.commands import Pause, Resume, SendSignal
from saga_es.core import events as e
from saga_es.core.commands import Command
from saga_es.definition.saga import Saga
from saga_es.runtime.chores import TakeOver
from saga_es.runtime.inbox import CommandRequest
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, prepare
from saga_es.testing.world import CODEC, World

ID = "saga-1"
WHO = ("Ann", "stocktaking")


class Workplace:
    """One worker with one saga, which waits for a signal."""

    def __init__(self) -> None:
        saga = Saga("asked")
        saga.wait_for("answer", timeout_s=None)
        self.world = World([saga])
        self.worker = self.world.worker
        self.world.start(saga, {}, ID)
        self.handle = self.world._asked[0].handle
        self.iterate()

    def iterate(self, times: int = 10) -> None:
        """Let the worker work for so many seconds."""
        for _ in range(times):
            self.worker.loop.iterate(self.worker.inbox.take())
            self.world.clock.move_to(self.world.clock.now() + timedelta(seconds=1))

    def ask(self, command: Command) -> Future[None]:
        """Put a command into the inbox."""
        done: Future[None] = Future()
        self.worker.inbox.put(CommandRequest(ID, command, done))
        return done

    def is_taken_by_one_that_is_gone(self) -> None:
        """Another worker takes the saga over and is gone, before this worker hears of either."""
        state = self.world.state(ID)
        assert state is not None
        taken = e.SagaTakenOver("another", self.worker.loop.worker_id)
        draft = Draft(ID, SAGA, state.version, (taken,), self.world.clock.now())
        self.world.store.append(draft, prepare(draft, CODEC).rows)

    def owner(self) -> str | None:
        """Whom the log names."""
        state = self.world.state(ID)
        assert state is not None
        return state.owner


@pytest.fixture
def workplace() -> Workplace:
    """A worker that runs."""
    return Workplace()


def test_an_order_in_the_batch_that_takes_its_saga_over_is_followed(workplace: Workplace) -> None:
    """It was decided for the saga as it was before; the takeover comes first, and the order after it."""
    workplace.is_taken_by_one_that_is_gone()
    paused, resumed = workplace.ask(Pause(*WHO)), workplace.ask(Resume(*WHO))
    workplace.worker.loop._chores.schedule(TakeOver)
    workplace.iterate(times=1)
    assert workplace.owner() == workplace.worker.loop.worker_id
    workplace.iterate()
    assert (paused.done(), resumed.done()) == (True, True)
    types = [type(recorded.event) for recorded in workplace.world.log.read(ID)]
    assert types[-3:] == [e.SagaTakenOver, e.SagaPaused, e.SagaResumed]


def test_who_waits_for_a_saga_that_was_away_hears_of_its_end(workplace: Workplace) -> None:
    """The worker still held it as it was, when it took it over again."""
    workplace.is_taken_by_one_that_is_gone()
    workplace.worker.loop._chores.schedule(TakeOver)
    workplace.iterate(times=1)
    assert workplace.owner() == workplace.worker.loop.worker_id
    workplace.ask(SendSignal("answer", 7))
    workplace.iterate()
    assert workplace.handle.result(0).results == {"answer": 7}
