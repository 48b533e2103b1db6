"""Which calls under way here are over, because another process recorded what their participant replied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.core.state import direction_of
from saga_es.runtime.calls.port import Call, is_taken

Way = tuple[str, Direction]
"""A step, and the direction of its call."""

_CALLS = (e.StepStarted, e.CompensationStarted, e.ProbeStarted)


def replied(under_way: Mapping[Way, Call | None], intents: Iterable[e.Intent]) -> list[Way]:
    """The calls that are over, of those whose participants may have taken them with 202.

    Args:
        under_way: The calls of a saga that is not paused.
        intents: What is open in the log, all of it.
    """
    taken = {way: call for way, call in under_way.items() if call is not None and is_taken(call)}
    if not taken:
        return []
    open_ = {(one.step, direction_of(one), one.attempt) for one in intents if isinstance(one, _CALLS)}
    return [way for way, call in taken.items() if (*way, call.attempt) not in open_]
