"""When the loop itself fails: nobody waits in vain, and what is in the log goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from saga_es.errors import StoreUnavailable
from saga_es.runtime.executor import Executor
from saga_es.store.codec import SAGA
from saga_es.store.writer import Prepared, Receipt
from tests.conftest import PATIENCE_S, Store
from tests.contract.test_takeover import INPUT, an_engine
from tests.contract.trips import STEPS, Diary, Spy, trip


class Stumbling(Spy):
    """A writer that fails once in a way nobody foresaw: before it wrote, or after."""

    def __init__(self, store: Store, *, wrote: bool) -> None:
        super().__init__(store)
        self._wrote = wrote
        self._stumbles = 1

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, but for the once."""
        is_a_saga = any(draft.category == SAGA for draft, _ in batch)
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
        assert engine.start("trip", INPUT, key="k").result(PATIENCE_S).completed
    assert diary.names == list(STEPS)


def test_a_saga_that_was_in_the_log_when_the_loop_failed_goes_on(store: Store) -> None:
    """The engine starts over as a new worker, takes the saga over, and performs what was begun."""
    diary = Diary()
    with an_engine(store, trip(diary), Executor(), Stumbling(store, wrote=True)) as engine:
        with pytest.raises(StoreUnavailable):
            engine.start("trip", INPUT, key="k")
        assert engine.start("trip", INPUT, key="k").result(PATIENCE_S).completed
    assert diary.names == list(STEPS)
