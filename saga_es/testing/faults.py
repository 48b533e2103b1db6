"""What can go wrong in a simulated run, and which objects decide it.

A fault is decided at each *point*: before and after each commit, before each call is made, when its answer comes.
The same decisions always lead to the same log, byte for byte.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

from saga_es.core.outcomes import Direction


class Crash(BaseException):
    """The worker's process dies here. Not an `Exception`: nothing in the worker survives to handle it."""


class StoreFault(Enum):
    """The fate of a commit."""

    NONE = auto()
    LOST = auto()
    """It did not take place; the worker learns only that nobody knows."""
    UNHEARD = auto()
    """It took place; the worker learns only that nobody knows."""


class CallFault(Enum):
    """The fate of a call."""

    NONE = auto()
    REQUEST_LOST = auto()
    ANSWER_LOST = auto()
    DUPLICATED = auto()
    """It arrives twice, the second time much later."""
    SLOW = auto()
    """It arrives after its timeout."""
    REFUSED = auto()
    BUSY = auto()
    """The participant is busy; nothing was done."""


class Faults(Protocol):
    """Decides what goes wrong."""

    def crashes(self) -> bool:
        """Whether the worker dies at this point."""
        ...

    def freezes(self) -> bool:
        """Whether the worker stands still here, for so long that the others take it for dead."""
        ...

    def commit(self) -> StoreFault:
        """The fate of the next commit."""
        ...

    def call(self, step: str, direction: Direction, attempt: int) -> CallFault:
        """The fate of a call; each worker counts attempts from 1."""
        ...


class Calm:
    """Nothing goes wrong; counts the points at which something could have.

    Attributes:
        points: Places where the worker could have died.
        iterations: Places where it could have stood still.
        calls: Calls that could have been lost.
    """

    def __init__(self) -> None:
        self.points = 0
        self.iterations = 0
        self.calls = 0

    def crashes(self) -> bool:
        """Never."""
        self.points += 1
        return False

    def freezes(self) -> bool:
        """Never."""
        self.iterations += 1
        return False

    def commit(self) -> StoreFault:
        """Takes place."""
        return StoreFault.NONE

    def call(self, step: str, direction: Direction, attempt: int) -> CallFault:
        """Is answered."""
        del step, direction, attempt
        self.calls += 1
        return CallFault.NONE


class Script(Calm):
    """Goes wrong at the given places.

    Args:
        kill_at: The points, counted from 0, at which the worker dies.
        freeze_at: The iterations, counted from 0, before which the worker stands still.
        lose_reply: The call, counted from 0, whose answer is lost.
        calls: The fates of the first, second ... call of a step in a direction; all further calls are answered.
        commits: The fates of the first, second ... commit; all further commits take place.
    """

    def __init__(
        self,
        kill_at: Collection[int] = (),
        freeze_at: Collection[int] = (),
        lose_reply: int | None = None,
        calls: Mapping[tuple[str, Direction], Sequence[CallFault]] | None = None,
        commits: Sequence[StoreFault] = (),
    ) -> None:
        super().__init__()
        self._kill_at = frozenset(kill_at)
        self._freeze_at = frozenset(freeze_at)
        self._lose_reply = lose_reply
        self._waiting = {key: list(reversed(faults)) for key, faults in (calls or {}).items()}
        self._commits = list(reversed(commits))

    def crashes(self) -> bool:
        """Whether this point is in `kill_at`."""
        super().crashes()
        return self.points - 1 in self._kill_at

    def freezes(self) -> bool:
        """Whether this iteration is in `freeze_at`."""
        super().freezes()
        return self.iterations - 1 in self._freeze_at

    def commit(self) -> StoreFault:
        """The next of `commits`."""
        return self._commits.pop() if self._commits else StoreFault.NONE

    def call(self, step: str, direction: Direction, attempt: int) -> CallFault:
        """The next of `calls`, or a lost answer at `lose_reply`."""
        super().call(step, direction, attempt)
        if self.calls - 1 == self._lose_reply:
            return CallFault.ANSWER_LOST
        waiting = self._waiting.get((step, direction))
        return waiting.pop() if waiting else CallFault.NONE


class Chaos(Calm):
    """Goes wrong at random, the same way for the same seed; after `until_point` points nothing goes wrong.

    Args:
        seed: Names the run.
        rate: How likely a fault is at each point, 0 to 1.
        calls: The faults that calls may meet.
        until_point: Lets every run come to its end.
    """

    def __init__(
        self, seed: int, rate: float = 0.1, calls: Sequence[CallFault] = tuple(CallFault), until_point: int = 200
    ) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311 (the same dice for the same seed; nothing is kept secret)
        self._rate = rate
        self._calls = [fault for fault in calls if fault is not CallFault.NONE]
        self._until = until_point

    def crashes(self) -> bool:
        """At random, and rarer than other faults: each death costs a takeover."""
        super().crashes()
        return self._strikes(self._rate / 2)

    def freezes(self) -> bool:
        """At random, rarer still."""
        super().freezes()
        return self._strikes(self._rate / 10)

    def commit(self) -> StoreFault:
        """At random."""
        if self._strikes(self._rate):
            return self._random.choice([StoreFault.LOST, StoreFault.UNHEARD])
        return StoreFault.NONE

    def call(self, step: str, direction: Direction, attempt: int) -> CallFault:
        """At random. A probe is never refused: that is how a participant says that nothing has happened."""
        super().call(step, direction, attempt)
        fault = self._random.choice(self._calls) if self._calls and self._strikes(self._rate * 2) else CallFault.NONE
        is_a_lie = fault is CallFault.REFUSED and direction is Direction.PROBE
        return CallFault.NONE if is_a_lie else fault

    def _strikes(self, rate: float) -> bool:
        return self.points < self._until and self._random.random() < rate
