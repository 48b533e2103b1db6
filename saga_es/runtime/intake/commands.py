"""Commands on their way to a saga: checked, and recorded in the log if this process does not own the saga."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from saga_es.core.commands import Cancel, Command, Fail, ReplaceInput, Reply, Resolve, Resume, Revoke, SendSignal, Skip
from saga_es.core.operate import record
from saga_es.core.values import Unfaithful, door, text_of
from saga_es.errors import BadTags, CommandRefused, PayloadUnencodable, StoreUnavailable
from saga_es.runtime.calls.outcomes import storable, text
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.outage import retry_for
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Conflict, Refused, Writer, Written
from saga_es.store.queries.filters import MOST_TAGS
from saga_es.store.store import Store

ATTEMPTS = 20
"""How often others may append to the saga first, before recording a command fails."""

UNDATED = datetime.min.replace(tzinfo=UTC)
"""The time of what is decided or prepared to see whether it could be, and is never appended."""

LONGEST_TAG = 200
LONGEST_NAME = 64
LONGEST_WORDS = 2000


def checked_tags(tags: Mapping[Any, Any]) -> dict[str, str]:
    """The tags, checked: at most `MOST_TAGS`, with names and values of limited length.

    Raises:
        BadTags: There are too many tags, or one is too long or not a valid text.
    """
    if len(tags) > MOST_TAGS:
        raise BadTags(f"{len(tags)} tags are more than {MOST_TAGS}")
    checked: dict[str, str] = {}
    for given_name, given_value in tags.items():
        if not (isinstance(given_name, str) and isinstance(given_value, str)):
            raise BadTags(f"a tag is a text with a name, not {given_name!a}: {given_value!a:.80}")
        name, value = text_of(given_name), text_of(given_value)
        if not 0 < len(name) <= LONGEST_NAME or len(value) > LONGEST_TAG:
            raise BadTags(
                f"the name of a tag has 1 to {LONGEST_NAME} characters, its value at most {LONGEST_TAG}; "
                f"these have {len(name)} and {len(value)}: {name!a:.80}"
            )
        if ":" in name:
            raise BadTags(f"the name of a tag holds no colon, which separates it from its value: {name!a:.80}")
        if storable(name) != name or storable(value) != value:
            raise BadTags(f"a tag holds no NUL and no unpaired surrogate: {name!a:.80}")
        checked[name] = value
    return checked


ENDING = (Cancel, Fail, Reply, Resolve, Resume, Revoke, Skip)
"""Commands that a saga follows a few times at most, and that bring it nearer to its end: however large it is."""


def admitted(saga_id: str, command: Command, store: Store) -> Command:
    """A command for a saga in the form in which it is read back from the log, if the saga may become larger.

    Raises:
        CommandRefused: The saga has as many events or bytes as it may have.
        PayloadUnencodable: The payload has no JSON form, or the actor or reason is empty or too long.
        PayloadTooLarge: The command is larger than the limit.
        StoreUnavailable: The database did not answer.
    """
    recorded = as_recorded(command, store.writer)
    if isinstance(recorded, ENDING):
        return recorded
    why = store.sagas.why_no_more(saga_id, len(msgspec.json.encode(recorded)))
    if why is not None and _adds_something(saga_id, recorded, store):
        raise CommandRefused(saga_id, why)
    return recorded


def _adds_something(saga_id: str, command: Command, store: Store) -> bool:
    """Whether a command is not a repetition, which adds nothing."""
    state = store.sagas.find(saga_id)
    return state is not None and bool(record(state, command, UNDATED))


def as_recorded(command: Command, writer: Writer) -> Command:
    """The command in the form in which it is read back from the log. A reply is in it already.

    Raises:
        PayloadUnencodable: The payload has no JSON form, or the actor or reason is empty or too long.
        PayloadTooLarge: The command is larger than the limit.
    """
    if isinstance(command, Reply):
        return command
    try:
        recorded: Command = msgspec.json.decode(_through_the_door(command), type=type(command))
    except (Unfaithful, msgspec.ValidationError) as error:
        raise PayloadUnencodable(f"the command was not recorded: {error}") from error
    writer.prepare(Draft("command", SAGA, 0, (recorded,), UNDATED))
    match recorded:
        case SendSignal() | Revoke() | Reply():
            return recorded
        case _:
            return replace(recorded, actor=_words("actor", recorded.actor), reason=_words("reason", recorded.reason))


def _through_the_door(command: Command) -> bytes:
    match command:
        case SendSignal(payload=payload):
            door(payload, "payload")
        case ReplaceInput(input=input_):
            door(input_, "input")
        case _:
            pass
    return door(command, type(command).__name__)[0]


def _words(what: str, words: str) -> str:
    if not words.strip() or len(words) > LONGEST_WORDS:
        raise PayloadUnencodable(f"a command's {what} has 1 to {LONGEST_WORDS} characters, not {len(words.strip())}")
    return text(words)


class Commands:
    """Records commands in the streams of sagas. The expected version keeps appends apart, as everywhere."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._sagas = store.sagas
        self._writer = store.writer
        self._clock = clock

    def record(self, saga_id: str, command: Command, timeout_s: float = 0.0) -> None:
        """Record a command, and notify the saga's owner; durable when this returns.

        Args:
            saga_id: The saga.
            command: The command.
            timeout_s: Seconds for which the same write is repeated while the database is away. If an earlier attempt
                was committed after all, the repetition finds it.

        Raises:
            NotFound: There is no such saga.
            CommandRefused: The saga cannot follow the command in its present state.
            PayloadTooLarge: The payload is larger than the limit.
            PayloadUnencodable: The payload cannot be stored.
            StoreUnavailable: The database did not confirm the command. It may still be recorded.
        """
        for _ in range(ATTEMPTS):
            state = self._sagas.find(saga_id)
            if state is None:
                raise self._sagas.absent(saga_id)
            now = self._clock.now()
            events = record(state, command, now)
            if not events:
                return
            draft = Draft(saga_id, SAGA, state.version, tuple(events), now, key=state.key, notifies=True)
            prepared = self._writer.prepare(draft)
            match retry_for(partial(self._writer.write, [prepared]), timeout_s)[0]:
                case Written():
                    return
                case Refused(reason):
                    raise PayloadUnencodable(f"the database does not accept this command: {reason}")
                case Conflict():
                    continue
        raise StoreUnavailable(f"saga {saga_id} changed {ATTEMPTS} times before the command was recorded; repeat it")
