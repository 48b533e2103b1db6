"""What a participant bears of one worker."""

from __future__ import annotations

import msgspec

CALLS_AT_ONCE = 256
"""How many requests over HTTP are in flight to one participant, unless a setting says otherwise."""


class Limit(msgspec.Struct, frozen=True):
    """What one participant bears of one worker.

    Attributes:
        calls: The most calls in flight.
        rate: The most calls that begin in a second; None: any number.
    """

    calls: int = CALLS_AT_ONCE
    rate: float | None = None


class Turn(msgspec.Struct, frozen=True):
    """Why a call waits for its turn.

    Attributes:
        participant: Whom it calls.
        waiting: How many calls wait there.
        limit: What the participant bears.
    """

    participant: str
    waiting: int
    limit: Limit

    @property
    def words(self) -> str:
        """Whom it calls, and what is allowed, in words."""
        at_most = f"{self.limit.calls} at once"
        if self.limit.rate is not None:
            at_most += f" and {self.limit.rate:g} a second"
        return f"participant {self.participant!r}, which gets at most {at_most}"
