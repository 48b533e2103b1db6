"""Control: what may be asked of a saga that exists, the same of an engine, of a client, and of a handle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from saga_es.core.commands import Cancel, Command, Pause, ReplaceInput, Resolve, Resume, Retry, SendSignal, Skip
from saga_es.core.operate import Undoing, preview
from saga_es.store.queries.past import story_at
from saga_es.store.queries.story import SagaStory
from saga_es.store.store import Store


class Control(ABC):
    """Gives commands to sagas, whichever worker runs them, and reads how they are.

    Each command returns when it is in the log. All of them raise the same errors:

    - `NotFound`: there is no such saga; `SagaArchived`: it has ended and left the log;
    - `CommandRefused`: the saga cannot follow the command, as it is now; nothing was recorded;
    - `StoreUnavailable`: the database does not take it; whether it yet will is not known: repeat it;
    - `PayloadUnencodable`, `PayloadTooLarge`: what the command carries cannot be stored.

    Args of all commands: `reason` says why, and `actor` says who; both stand in the log for ever.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @abstractmethod
    def submit(self, saga_id: str, command: Command) -> None:
        """Give a command as a value (see `saga_es.commands`); each of the methods below gives one."""

    def cancel(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Abort the saga: what was done is compensated, last first."""
        self.submit(saga_id, Cancel(actor, reason))

    def pause(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Begin nothing more until somebody resumes the saga; answers of calls in flight are still recorded."""
        self.submit(saga_id, Pause(actor, reason))

    def resume(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Go on after a pause."""
        self.submit(saga_id, Resume(actor, reason))

    def retry(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Try now what waits to be tried again; of a FAILED saga, what was given up."""
        self.submit(saga_id, Retry(actor, reason))

    def skip(self, saga_id: str, step: str, *, reason: str, actor: str) -> None:
        """Of a FAILED saga: take a step that stands in its way, or its compensation, for done."""
        self.submit(saga_id, Skip(step, actor, reason))

    def replace_input(self, saga_id: str, step: str, input: dict[str, Any], *, reason: str, actor: str) -> None:  # noqa: A002 (the field's word)
        """Of a FAILED saga: give a step that stands in its way another input, and try it again."""
        self.submit(saga_id, ReplaceInput(step, input, actor, reason))

    def resolve(
        self, saga_id: str, *, reason: str, actor: str, status: Literal["COMPLETED", "COMPENSATED"] | None = None
    ) -> None:
        """Of a FAILED saga: a person has set it right by hand.

        Args:
            saga_id: Which saga.
            reason: What was done.
            actor: Who did it.
            status: How it ended; if left out, COMPENSATED when it had aborted, otherwise COMPLETED.
        """
        self.submit(saga_id, Resolve(actor, reason, status))

    def signal(self, saga_id: str, name: str, payload: Any = None, *, key: str | None = None) -> None:
        """Send a signal: what the saga's step of this name waits for, or will.

        Args:
            saga_id: Which saga.
            name: The name of the step.
            payload: The result of the step.
            key: Any text of the caller's choice; the same key twice is one signal.
        """
        self.submit(saga_id, SendSignal(name, payload, key))

    def preview(self, saga_id: str) -> list[Undoing]:
        """What a cancel would compensate now, in the order in which it would begin to; nothing is done.

        Raises:
            NotFound: There is no such saga.
            CommandRefused: It cannot be cancelled now.
            StoreUnavailable: The database did not answer.
        """
        state = self._store.sagas.find(saga_id)
        if state is None:
            raise self._store.sagas.absent(saga_id)
        return preview(state)

    def status(self, saga_id: str) -> SagaStory:
        """How a saga is, and each of its steps; exact at the moment of reading: it folds the log.

        Raises:
            NotFound: There is no such saga.
            StoreUnavailable: The database did not answer.
        """
        return story_at(self._store.sagas, saga_id)[0]
