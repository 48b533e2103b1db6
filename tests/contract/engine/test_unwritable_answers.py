"""A step whose answer cannot be written down: its saga aborts with the reason, and the process lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.trips import ONCE, Diary, trip


def deep() -> Any:
    """Lists in lists, more than the log takes."""
    answer: Any = "deep"
    for _ in range(500):
        answer = [answer]
    return answer


ANSWERS: dict[str, Callable[[], Any]] = {
    "no JSON": object,
    "bytes that are no text": lambda: "\ud800",
    "too large": lambda: "x" * 2_000_000,
    "too deep": deep,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_cannot_be_written_turns_its_saga_round(
    open_engine: OpenEngine, answer: Callable[[], Any]
) -> None:
    """It may have happened, so it is undone, too; the next saga of the same engine completes."""
    undone: list[str] = []
    saga = Saga("odd")

    @saga.step(retry=ONCE)
    def act() -> Any:
        return answer()

    @saga.compensates(act)
    def undo(key: str) -> None:
        undone.append(key)

    other = trip(Diary())
    engine = open_engine(saga, other)
    ended = engine.start(saga, {}).result(TIMEOUT_S)
    assert (ended.status, ended.failed_step) == (SagaStatus.COMPENSATED, "act")
    assert ended.error
    assert len(undone) == 1
    assert engine.start(other, {"n": 1}).result(TIMEOUT_S).completed
