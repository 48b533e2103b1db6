"""Two starts of one id with different inputs, at the same moment: one of them is the saga, the other is told so."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from saga_es.errors import SagaExists
from saga_es.runtime.handle import Handle
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Prepared
from saga_es.store.ports import Receipt
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import Diary, Slow, gathered, trip

INPUTS = ({"n": 7}, {"n": 8})


def completed(handles: Sequence[Handle]) -> list[bool]:
    """Which of these starts are answered by a saga that completes; the others are refused."""
    answered = []
    for handle in handles:
        try:
            answered.append(handle.result(TIMEOUT_S).completed)
        except SagaExists:
            answered.append(False)
    return answered


def is_refused(handle: Handle) -> bool:
    """Whether a start has been refused by now."""
    try:
        handle.started(timeout=0)
    except TimeoutError:
        return False
    except SagaExists:
        return True
    return False


class Looking(Slow):
    """A writer that looks, before it writes events of a saga for the first time, which starts have been refused."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.handles: list[Handle] = []
        self.refused: list[bool] | None = None

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Look, and write."""
        if self.refused is None and any(its.draft.category == SAGA for its in batch):
            self.refused = [is_refused(handle) for handle in self.handles]
        return super().write(batch)


def test_of_two_starts_in_one_batch_the_first_is_the_saga(store: Store, open_engine: OpenEngine) -> None:
    """The second is refused once the first is in the log: a crash before that leaves nothing that could refuse it."""
    slow, saga = Looking(store), trip(Diary())
    engine = open_engine(saga, writer=slow)
    holding = slow.hold(engine)
    handles = slow.handles = [engine.start(saga, input_, saga_id="my-trip", wait=False) for input_ in INPUTS]
    gathered(engine, 2)
    slow.may_write.set()
    holding.join(TIMEOUT_S)
    assert completed(handles) == [True, False]
    assert slow.refused == [False, False]
    found = store.sagas.find("my-trip")
    assert found is not None
    assert found.input == INPUTS[0]


def test_of_two_starts_in_two_processes_the_one_in_the_log_is_the_saga(store: Store, open_engine: OpenEngine) -> None:
    """The other learns of it by the conflict of its append."""
    slow, saga = Slow(store), trip(Diary())
    first, second = open_engine(saga, writer=slow), open_engine(saga)
    holding = slow.hold(first)
    late = first.start(saga, INPUTS[0], saga_id="my-trip", wait=False)
    gathered(first, 1)
    early = second.start(saga, INPUTS[1], saga_id="my-trip")
    slow.may_write.set()
    holding.join(TIMEOUT_S)
    with pytest.raises(SagaExists):
        late.result(TIMEOUT_S)
    assert early.result(TIMEOUT_S).completed
    found = store.sagas.find("my-trip")
    assert found is not None
    assert found.input == INPUTS[1]
