"""The sagas that a worker owns: what it lets go of with one that another worker has."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from saga_es import Saga
from saga_es.core import events as e
from saga_es.core.evolve import fold
from saga_es.core.state import SagaState
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.owned import OwnedSagas
from saga_es.runtime.remote_handles import RemoteHandles
from saga_es.runtime.waiting.outage import OutageWarning
from saga_es.store.sagas import Sagas
from saga_es.testing.memory import MemoryLog, MemoryStore
from saga_es.testing.world import CODEC
from tests.support.story import SAGA_ID, started
from tests.unit.test_dispatch import TIMEOUT_S, Shell

BEGUN: list[e.SagaEvent] = [started({}), e.StepStarted("book", 1)]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """For steps to hang on; open in the end."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_a_saga_that_is_let_go_of_takes_its_calls_along(gate: threading.Event) -> None:
    """Nobody waits for the answer of a call that another worker makes anew."""
    hanging = Saga("order")

    @hanging.step(compensation=None)
    def book() -> None:
        gate.wait(TIMEOUT_S)

    executor = Executor(threads=1)
    shell = Shell(executor, hanging)
    remote = RemoteHandles(Sagas(MemoryLog(MemoryStore(shell.clock), CODEC)), lambda: None)
    owned = OwnedSagas(shell.dispatch, remote, shell.inbox.put, OutageWarning(shell.clock))
    saga = owned.add(SagaState(SAGA_ID, hanging.plan))
    owned.advance(saga, fold(saga.state, BEGUN), BEGUN)
    shell.dispatch.send()
    assert (shell.dispatch.in_flight, len(owned)) == (1, 1)
    owned.release(saga)
    assert (shell.dispatch.in_flight, len(owned)) == (0, 0)
    gate.set()
    executor.close()
