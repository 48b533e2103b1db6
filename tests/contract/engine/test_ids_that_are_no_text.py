"""An id of another type than text, such as a UUID from a column of the user's, is refused where it is given."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from saga_es.core.state import SagaStatus
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.trips import Diary, trip

INPUT = {"n": 7}


@pytest.mark.parametrize("given", [UUID(int=7), 7, None, b"s-7", ["s-7"]], ids=lambda given: type(given).__name__)
def test_an_id_that_is_no_text_is_refused_and_stops_no_saga(open_engine: OpenEngine, given: Any) -> None:
    """Neither does a handle on it keep the loop from its work, nor does a command reach the loop."""
    saga = trip(Diary())
    engine = open_engine(saga)
    why = rf"an id is a text, not .* of type {type(given).__name__}; write str"
    with pytest.raises(TypeError, match=why):
        engine.follow(given)
    with pytest.raises(TypeError, match=why):
        engine.cancel(given, reason="a slip", actor="test")
    assert engine.start(saga, INPUT).result(TIMEOUT_S).status is SagaStatus.COMPLETED
