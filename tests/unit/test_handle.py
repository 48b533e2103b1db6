"""A handle: waited on from threads and from asyncio, by as many as like."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_type

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.outcomes import Rejected
from saga_es.core.state import SagaStatus
from saga_es.errors import NotFound, SagaExists
from saga_es.runtime.handle import Handle, SagaResult
from tests.support.story import ABC, SAGA_ID, STARTED, done, drive, failing, given

TIMEOUT_S = 10.0
RESULT = SagaResult(SAGA_ID, "order", SagaStatus.COMPLETED, {"a": 1})


def test_a_result_is_read_from_the_state() -> None:
    """A completed saga shows what its steps answered."""
    state = given(STARTED, *done("a", "b", "c"), e.SagaCompleted()).state
    result = SagaResult.from_state(state)
    assert result == SagaResult(SAGA_ID, "order", SagaStatus.COMPLETED, {"a": "a!", "b": "b!", "c": "c!"})
    assert result.completed


def test_the_result_of_a_compensated_saga_says_what_failed() -> None:
    """The step and the words of the participant."""
    result = SagaResult.from_state(drive(ABC, failing("b", Rejected("sold out"))).state)
    assert result == SagaResult(SAGA_ID, "order", SagaStatus.COMPENSATED, {}, "b", "sold out")
    assert not result.completed


def test_a_handle_tells_the_end() -> None:
    """As often as it is asked; who has ended has started."""
    handle = Handle(SAGA_ID)
    handle.mark_ended(RESULT)
    handle.started(0)
    assert handle.result(0) is handle.result(0) is RESULT


def test_a_handle_can_be_awaited() -> None:
    """It gives what `result` gives."""
    handle = Handle(SAGA_ID)

    async def wait() -> SagaResult:
        asyncio.get_running_loop().call_soon(handle.mark_ended, RESULT)
        return await handle

    assert asyncio.run(asyncio.wait_for(wait(), TIMEOUT_S)) is RESULT


def test_a_started_saga_has_not_ended() -> None:
    """The two are waited for apart."""
    handle = Handle(SAGA_ID)
    with pytest.raises(TimeoutError):
        handle.started(0)
    handle.mark_started()
    handle.started(0)
    with pytest.raises(TimeoutError):
        handle.result(0)


def test_a_failure_reaches_everybody_who_waits() -> None:
    """For the start and for the end."""
    handle = Handle(SAGA_ID)
    handle.mark_failed(SagaExists(SAGA_ID))
    for wait in (handle.started, handle.result):
        with pytest.raises(SagaExists, match=SAGA_ID):
            wait(0)


def test_what_is_known_first_stays() -> None:
    """A second word about a saga changes nothing and raises nothing."""
    handle = Handle(SAGA_ID)
    handle.mark_ended(RESULT)
    handle.mark_failed(NotFound(SAGA_ID))
    handle.mark_started()
    handle.mark_ended(SagaResult(SAGA_ID, "order", SagaStatus.FAILED, {}))
    assert handle.result(0) is RESULT


def test_who_stops_waiting_does_not_take_the_result_from_others() -> None:
    """A time-out in asyncio cancels the waiting, not the saga: it goes on, and its end is told."""
    handle = Handle(SAGA_ID)

    async def wait_a_little() -> None:
        async with asyncio.timeout(0.01):
            await handle

    with pytest.raises(TimeoutError):
        asyncio.run(wait_a_little())
    handle.mark_ended(RESULT)
    assert handle.result(0) is RESULT


# ── Results as the types that steps say ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Charge:
    """What a payment returns."""

    charge_id: str
    amount: Decimal


def payment() -> Charge:
    """A step that returns a dataclass."""
    raise NotImplementedError


def test_a_result_is_of_the_type_that_its_step_says() -> None:
    """What the log holds is JSON; the annotation of the step says what it was."""
    results = {"payment": {"charge_id": "c-1", "amount": "20.10"}}
    result = SagaResult("s-1", "order", SagaStatus.COMPLETED, results)
    charge = result.of(payment)
    assert_type(charge, Charge)
    assert charge == Charge("c-1", Decimal("20.10"))


def test_a_result_that_is_not_of_that_type_is_told() -> None:
    """The log may hold what an older version returned."""
    result = SagaResult("s-1", "order", SagaStatus.COMPLETED, {"payment": {"charge_id": "c-1"}})
    with pytest.raises(msgspec.ValidationError, match="amount"):
        result.of(payment)
    with pytest.raises(KeyError):
        SagaResult("s-1", "order", SagaStatus.COMPENSATED, {}).of(payment)
