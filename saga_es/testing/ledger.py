"""A participant as it should be, in a few lines: it does each thing once, and undoes what it did or might still do."""

from __future__ import annotations

from collections import Counter
from typing import Any

from saga_es.errors import StepRejected


class Ledger:
    """Remembers what was done under which idempotency key.

    A repeated key gets the first answer and does nothing again. What is undone before it was done is never done.

    Attributes:
        effects: How often each key had an effect; never more than once, if all is well.
    """

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self._answers: dict[str, Any] = {}
        self._undone: set[str] = set()

    @property
    def standing(self) -> set[str]:
        """The keys whose effects are there now."""
        return set(self._answers) - self._undone

    def clear(self) -> None:
        """Forget everything, for the next run."""
        self.effects.clear()
        self._answers.clear()
        self._undone.clear()

    def act(self, key: str, answer: Any = None) -> Any:
        """Do something, under the key of the action's call.

        Raises:
            StepRejected: It was undone before; it came too late.
        """
        if key in self._undone:
            raise StepRejected("it was undone before it came")
        if key not in self._answers:
            self.effects[key] += 1
            self._answers[key] = answer
        return self._answers[key]

    def undo(self, action_key: str) -> None:
        """Undo what was done under the action's key, or see to it that it never is."""
        self._undone.add(action_key)

    def has(self, key: str) -> bool:
        """Whether something was done under this key."""
        return key in self._answers
