"""A model participant in a few lines: it does each thing once, and undoes what it did or might still do."""

from __future__ import annotations

from collections import Counter
from typing import Any

from saga_es.errors import StepRejected


class Ledger:
    """Remembers what was done under which idempotency key.

    A repeated key gets the first answer, and nothing is done again. An action that was undone before it came is never
    done.

    Attributes:
        effects: How often each key had an effect; more than once is a fault.
    """

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self._answers: dict[str, Any] = {}
        self._undone: set[str] = set()

    @property
    def standing(self) -> set[str]:
        """The keys whose effects stand now."""
        return set(self._answers) - self._undone

    def clear(self) -> None:
        """Forget everything, for the next run."""
        self.effects.clear()
        self._answers.clear()
        self._undone.clear()

    def act(self, key: str, answer: Any = None) -> Any:
        """Do something, under the key of the action's call.

        Raises:
            StepRejected: It was undone before it came.
        """
        if key in self._undone:
            raise StepRejected("it was undone before it came")
        if key not in self._answers:
            self.effects[key] += 1
            self._answers[key] = answer
        return self._answers[key]

    def undo(self, action_key: str) -> None:
        """Undo what was done under the action's key, or make sure that it is never done."""
        self._undone.add(action_key)

    def has(self, key: str) -> bool:
        """Whether something was done under this key."""
        return key in self._answers
