"""The log says where the application's code raised: the file, the line and the function."""

from __future__ import annotations

import json
import re

import pytest

from saga_es.core import events as e
from saga_es.core.describe import describe
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import StepRejected
from saga_es.runtime.calls.frames import frame_of
from saga_es.store.log.codec import Codec
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.trips import events_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ONCE = RetryPolicy(attempts=1)


def price_of(basket: dict[str, int]) -> int:
    return basket["price"]


def test_a_failed_attempt_says_where_it_was_raised(open_engine: OpenEngine) -> None:
    """In the function of the application that is nearest to it, also when a library raised it; and in the story."""
    saga = Saga("shop")

    @saga.step()
    def reserve() -> None:
        """Something to undo."""

    @saga.compensates(reserve, retry=ONCE)
    def release() -> None:
        json.loads("{")

    @saga.step(compensation=None, retry=ONCE)
    def charge() -> int:
        return price_of({})

    engine = open_engine(saga)
    result = engine.start("shop", {}, saga_id="s-1").result(TIMEOUT_S)
    assert result.status is SagaStatus.FAILED
    charged, undone = (
        event for event in events_of(engine, "s-1") if isinstance(event, e.StepFailed | e.CompensationFailed)
    )
    assert re.fullmatch(r"test_frames\.py:\d+ in price_of", charged.frame or "")
    assert re.fullmatch(r"test_frames\.py:\d+ in \S*release", undone.frame or "")
    assert describe(charged).endswith(f"KeyError: 'price' ({charged.frame})")
    assert describe(undone).endswith(f"({undone.frame})")


def test_an_answer_that_is_meant_has_no_frame(open_engine: OpenEngine) -> None:
    """A refusal is no bug: nobody has to look for its line."""
    saga = Saga("shop")

    @saga.step(compensation=None)
    def charge() -> int:
        raise StepRejected("no money")

    engine = open_engine(saga)
    engine.start("shop", {}, saga_id="s-1").result(TIMEOUT_S)
    (failed,) = (event for event in events_of(engine, "s-1") if isinstance(event, e.StepFailed))
    assert failed.frame is None
    assert "frame" not in Codec().encode(failed)


def test_an_exception_that_passed_through_no_code_of_the_application_has_no_frame(database_url: str) -> None:
    """One that was never raised, for example."""
    assert database_url
    assert frame_of(ValueError("never raised")) is None
