"""Control: the commands and reads of an existing saga. Engine, client and handle have the same ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from saga_es.core.commands import Cancel, Command, Fail, Pause, ReplaceInput, Resolve, Resume, Retry, SendSignal, Skip
from saga_es.core.migration import Migration
from saga_es.core.operate import Undoing, preview
from saga_es.core.state import SagaState
from saga_es.definition.saga import Saga
from saga_es.runtime.migrating import current, migrate_to, previewed
from saga_es.store.queries.past import story_at
from saga_es.store.queries.story import SagaStory
from saga_es.store.store import Store


class Control(ABC):
    """Gives commands to sagas on any worker, and reads their status.

    Each command returns when it is in the log. All commands raise the same errors:

    - `NotFound`: there is no such saga; `SagaArchived`: it has ended and was moved from the log to an archive;
    - `CommandRefused`: the saga cannot follow the command in its present state; nothing was recorded;
    - `StoreUnavailable`: the database did not confirm the command, which may be recorded or not: repeat it;
    - `PayloadUnencodable`, `PayloadTooLarge`: the command's payload cannot be stored.

    All commands of an operator take a `reason` and an `actor`, the person or program that gives the command. Both stay
    in the log for ever.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def check_may_block(self) -> None:  # noqa: B027 (only an engine has something to check)
        """Check that this thread may wait for a saga.

        Raises:
            RuntimeError: The saga may need the event loop of this thread.
        """

    @abstractmethod
    def submit(self, saga_id: str, command: Command) -> None:
        """Give a command as a value (see `saga_es.commands`). Each of the methods below gives one."""

    @property
    @abstractmethod
    def definitions(self) -> Mapping[str, Saga]:
        """The sagas that are known here, by name; the plan of each is in the log."""

    def current(self, state: SagaState) -> Saga:
        """The present definition of a saga.

        Raises:
            CommandRefused: It is not known here.
        """
        return current(self.definitions, state)

    def cancel(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Abort the saga: its completed steps are compensated, last first."""
        self.submit(saga_id, Cancel(actor, reason))

    def pause(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Begin no more calls until the saga is resumed. Answers to calls in flight are still recorded."""
        self.submit(saga_id, Pause(actor, reason))

    def resume(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Go on after a pause."""
        self.submit(saga_id, Resume(actor, reason))

    def retry(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Retry now what waits for its next attempt; in a FAILED saga, what was given up."""
        self.submit(saga_id, Retry(actor, reason))

    def skip(self, saga_id: str, step: str, *, reason: str, actor: str) -> None:
        """In a FAILED saga: treat the step that blocks it, or that step's compensation, as done."""
        self.submit(saga_id, Skip(step, actor, reason))

    def replace_input(self, saga_id: str, step: str, input: dict[str, Any], *, reason: str, actor: str) -> None:  # noqa: A002 (the field's word)
        """In a FAILED saga: give the step that blocks it another input, and retry it."""
        self.submit(saga_id, ReplaceInput(step, input, actor, reason))

    def fail(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Give the saga up as it stands, such as one whose code is gone for good: it is FAILED, for a person.

        Nothing is undone, and the answers of calls in flight are not awaited. `retry` takes it up again.
        """
        self.submit(saga_id, Fail(actor, reason))

    def resolve(
        self, saga_id: str, *, reason: str, actor: str, status: Literal["COMPLETED", "COMPENSATED"] | None = None
    ) -> None:
        """Close a FAILED saga that a person has put right by hand.

        Args:
            saga_id: The saga.
            reason: What the person did.
            actor: The person.
            status: The end to record; if left out, COMPENSATED for a saga that had aborted, otherwise COMPLETED.
        """
        self.submit(saga_id, Resolve(actor, reason, status))

    def migrate(self, saga_id: str, *, reason: str, actor: str) -> None:
        """Move the saga to the present plan of its definition: what has begun stays, the rest follows that plan."""
        state = self._found(saga_id)
        self.submit(saga_id, migrate_to(self.current(state), actor, reason))

    def preview_migration(self, saga_id: str) -> Migration:
        """What `migrate` would do with each step, and why it would be refused. Changes nothing.

        Raises:
            NotFound: There is no such saga.
            CommandRefused: Its definition is not known here.
            StoreUnavailable: The database did not answer.
        """
        state = self._found(saga_id)
        return previewed(state, self.current(state))

    def signal(self, saga_id: str, name: str, payload: Any = None, *, key: str | None = None) -> None:
        """Send the signal that a step of the saga waits for. It may arrive before the step does.

        Args:
            saga_id: The saga.
            name: The name of the step.
            payload: The result of the step.
            key: Any text of the caller's choice. Two signals with the same key count as one.
        """
        self.submit(saga_id, SendSignal(name, payload, key))

    def preview(self, saga_id: str) -> list[Undoing]:
        """What a cancel would compensate now, in the order in which the compensations would begin. Changes nothing.

        Raises:
            NotFound: There is no such saga.
            CommandRefused: The saga cannot be cancelled now.
            StoreUnavailable: The database did not answer.
        """
        return preview(self._found(saga_id))

    def status(self, saga_id: str) -> SagaStory:
        """The status of a saga and of each of its steps. It is folded from the log, so it is exact when it is read.

        Raises:
            NotFound: There is no such saga.
            StoreUnavailable: The database did not answer.
        """
        return story_at(self._store.sagas, saga_id)[0]

    def _found(self, saga_id: str) -> SagaState:
        state = self._store.sagas.find(saga_id)
        if state is None:
            raise self._store.sagas.absent(saga_id)
        return state
