"""How deep a payload may nest: what one process writes, every other must be able to read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.outcomes import Completed, Direction, Unrecordable
from saga_es.core.values import DEEPEST, is_too_deep
from saga_es.errors import PayloadUnencodable, UnreadableEvent
from saga_es.runtime.calls.caller import Caller
from saga_es.runtime.calls.port import Call
from saga_es.store.log.codec import SAGA, Codec


def nested(depth: int) -> Any:
    value: Any = 1
    for turn in range(depth):
        value = [value] if turn % 2 else {"a": value}
    return value


def test_a_payload_may_nest_a_hundred_deep() -> None:
    """One more is refused before anything is appended, with the number."""
    codec = Codec()
    fits = e.StepCompleted("a", nested(DEEPEST - 1))  # the event itself is the first
    assert codec.decode(SAGA, "StepCompleted", codec.encode(fits)) == fits
    with pytest.raises(PayloadUnencodable, match=f"more than {DEEPEST} lists and objects"):
        codec.encode(e.StepCompleted("a", nested(DEEPEST)))


@pytest.mark.parametrize(
    "flat", [[[]] * 500, {"x": "[" * 500}, {"x": '"' + "{" * 500}, {"x": "\\" + '"[' * 300}, [{"a": []}] * 300]
)
def test_many_brackets_are_not_deep(flat: Any) -> None:
    """Side by side, or within a text, they nest nothing."""
    assert not is_too_deep(msgspec.json.encode(flat))


def test_what_another_process_wrote_too_deep_is_an_unreadable_event() -> None:
    """Like any event that this process cannot read: it is one saga's trouble, and not the loop's."""
    depth = 100_000  # Python 3.12 and later bear more than `sys.getrecursionlimit()`
    with pytest.raises(UnreadableEvent):
        Codec().decode(SAGA, "StepCompleted", '{"step":"a","result":' + "[" * depth + "]" * depth + "}")


def test_a_result_that_nests_too_deep_cannot_be_recorded() -> None:
    """The step acted; its result cannot be kept."""
    call = Call("s", "a", Direction.ACTION, 1, lambda: nested(DEEPEST), "k", {}, 5.0)
    outcome = Caller().answer(call)
    assert isinstance(outcome, Unrecordable)
    assert f"result holds more than {DEEPEST - 1} lists and objects" in outcome.error
    shallow = Caller().answer(msgspec.structs.replace(call, callee=lambda: nested(DEEPEST - 1)))
    assert shallow == Completed(nested(DEEPEST - 1))
