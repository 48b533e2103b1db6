"""Starts of sagas: checked, and recorded for a worker if no engine of this process is to run the saga.

A saga that is recorded here has no owner. It is PENDING until a worker claims it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from saga_es.core import events as e
from saga_es.core.access import Starter
from saga_es.core.decide import decide
from saga_es.core.facts import Start
from saga_es.core.state import SagaState
from saga_es.core.typed import READING_FAILED
from saga_es.core.values import Unfaithful, door, text_of
from saga_es.definition.annotations import readers_of
from saga_es.definition.requests import Request
from saga_es.definition.saga import Saga
from saga_es.definition.signatures import is_async
from saga_es.errors import (
    BadStart,
    BadStreamId,
    DefinitionError,
    PayloadUnencodable,
    SagaArchived,
    SagaExists,
    StoreUnavailable,
)
from saga_es.runtime.handle import Handle
from saga_es.runtime.ids import new_id, saga_id_for, why_not_in_a_url
from saga_es.runtime.inbox import StartRequest
from saga_es.runtime.intake.commands import checked_tags
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.outage import COMMIT_TIMEOUT_S, retry_for
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import STREAM_ID_LIMIT, Draft, Prepared, check_stream_id
from saga_es.store.ports import Conflict, Refused, Written
from saga_es.store.store import SharedStore

INPUT = "input"

LONGEST_WORKER_ID = "worker-" + "0" * 57
"""The longest id of a worker. The check whether a start fits into the log uses it as the owner."""


class Starts:
    """Checks starts, and records starts that wait for a worker.

    Args:
        definitions: The sagas that can be started.
    """

    def __init__(self, store: SharedStore, definitions: Iterable[Saga], clock: Clock) -> None:
        self.definitions: Mapping[str, Saga] = {saga.name: saga for saga in definitions}
        self._log = store.log
        self._sagas = store.sagas
        self._writer = store.writer
        self._clock = clock
        self._keys = store.keys

    @property
    def has_async_steps(self) -> bool:
        """Whether a step of some definition is an `async def`, or is wrapped around one."""
        callees = (callee for saga in self.definitions.values() for callee in saga.callees)
        return any(is_async(inspect.unwrap(callee)) for callee in callees if not isinstance(callee, Request))

    def request(
        self,
        saga: Saga | str,
        input_: Any,
        *,
        saga_id: str | None,
        key: str | None,
        tags: dict[str, str] | None,
        starts_at: datetime | None,
        by: Starter | None = None,
        lookups: int = 0,
    ) -> StartRequest:
        """Check a start, and make the request for it. Without an id or a key, the saga gets a new id.

        Raises:
            DefinitionError: No saga of that name is known here.
            BadStreamId: The log does not accept the id, or no URL can carry it.
            BadTags: There are too many tags, or one is too long.
            BadStart: The id or the key is no text, the key is empty or not valid Unicode, or the time has no zone or no
                place in UTC.
            PayloadUnencodable: The input has no JSON form.
            PayloadTooLarge: The input is larger than the limit.
        """
        definition = self._definition(saga)
        chosen = None if saga_id is None else _text("an id", saga_id)
        if key is not None:
            key = _checked(_text("a key", key))
            tenant = "" if by is None else by.tenant
            chosen = saga_id_for(definition.name, key, tenant) if chosen is None else chosen
        if chosen is not None:
            check_stream_id(chosen)
            self._check_in_url(chosen)
        due = None if starts_at is None else _in_utc(starts_at)
        handle = Handle(chosen or new_id(), lookups=lookups)
        recorded = self._as_recorded(definition, {} if input_ is None else input_)
        encrypted = self._key_id(definition, recorded, by)
        about: dict[str, Any] = {"by": by, "key": encrypted}
        return StartRequest(handle.saga_id, definition, recorded, handle, checked_tags(tags or {}), due, **about)

    def found(self, request: StartRequest, connection: Connection | None = None) -> bool:
        """Whether the saga was started before.

        Raises:
            SagaExists: The saga was started with another input, or came from another log.
        """
        existing = self._sagas.folded(self._log.read(request.saga_id, connection))
        if existing is None:
            return False
        name, input_ = request.definition.name, request.input
        if (error := self._sagas.why_no_answer(existing, name, input_, by=request.by)) is not None:
            raise error
        return True

    def record_within(self, connection: Connection, request: StartRequest) -> None:
        """Record a start in the caller's transaction. The same start from another transaction is no error.

        Raises:
            SagaExists: Another transaction started a saga with another input under this id.
            SagaArchived: The saga of this id was archived.
        """
        try:
            self._writer.write_within(connection, self.prepared(request))
        except IntegrityError as error:
            if not self.found(request):
                raise self._absent_or_other(request.saga_id) from error

    def record(self, request: StartRequest) -> None:
        """Record a start in a transaction of its own, unless the log has it already; durable when this returns.

        While the database is away, the write is repeated for `COMMIT_TIMEOUT_S` seconds. That is safe: if an earlier
        attempt was committed after all, the repetition finds it.

        Raises:
            SagaExists: The id or key belongs to a saga with another input.
            StoreUnavailable: The database did not confirm the start. It may still be recorded.
        """
        prepared = self.prepared(request)
        try:
            retry_for(lambda: self._record(request, prepared), COMMIT_TIMEOUT_S)
        except StoreUnavailable as error:
            cure = f"repeat it with saga_id={request.saga_id!r}"
            raise StoreUnavailable(f"{error}; the start may be in the log or not: {cure}") from error

    def prepared(self, request: StartRequest) -> Prepared:
        """The draft of a start that waits for a worker.

        Raises:
            NoKey: The key of its subject cannot be had.
            StoreUnavailable: What has the key did not answer.
        """
        plan_id, tags = request.definition.plan_id, request.tags
        start = Start(
            plan_id, request.input, None, tags, request.starts_at, trace=request.trace, by=request.by, key=request.key
        )
        now = self._clock.now()
        events = decide(SagaState(request.saga_id, request.definition.plan), start, now)
        return self._writer.prepare(Draft(request.saga_id, SAGA, 0, tuple(events), now, notifies=True, key=request.key))

    def record_plans(self) -> None:
        """Record the plans of all definitions that the log does not hold yet.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        missing = self._sagas.unrecorded([saga.plan for saga in self.definitions.values()])
        now = self._clock.now()
        drafts = [self._writer.prepare(Draft(id_, PLAN, 0, (recorded,), now)) for id_, recorded in missing]
        if drafts:
            self._writer.write(drafts)  # a conflict means that another process just recorded the same plan

    def _record(self, request: StartRequest, prepared: Prepared) -> None:
        match self._writer.write([prepared])[0]:
            case Written():
                return
            case Refused(reason):
                raise self._sagas.refused_start(request.saga_id, reason)
            case Conflict():
                if not self.found(request):  # the stream belongs to something other than a saga
                    raise SagaExists(request.saga_id)

    def _absent_or_other(self, saga_id: str) -> SagaArchived | SagaExists:
        """Why an id without a saga is taken: the saga is archived, or the id belongs to another stream."""
        absent = self._sagas.absent(saga_id)
        return absent if isinstance(absent, SagaArchived) else SagaExists(saga_id)

    def _key_id(self, definition: Saga, input_: dict[str, Any], by: Starter | None) -> str | None:
        """The id of the key of the saga's subject; None: nothing is encrypted."""
        if self._keys is None:
            return None
        return self._keys.key_id_of("" if by is None else by.tenant, definition.subject_of(input_))

    def _check_in_url(self, saga_id: str) -> None:
        """Refuse an id that no URL can carry. A saga that has one already, from an older version, is found as ever."""
        why = why_not_in_a_url(saga_id)
        if why is not None and self._sagas.find(saga_id) is None:
            raise BadStreamId(saga_id, STREAM_ID_LIMIT, why)

    def _definition(self, saga: Saga | str) -> Saga:
        name = saga if isinstance(saga, str) else saga.name
        if name not in self.definitions:
            known = ", ".join(self.definitions) or "none"
            raise DefinitionError(f"no saga {name!r} is known here; there are: {known}")
        return self.definitions[name]

    def _as_recorded(self, definition: Saga, input_: Any) -> dict[str, Any]:
        """The input in the form in which it is read back from the log; checked for its size."""
        try:
            encoded, normal = door(input_, "input")
        except Unfaithful as unfaithful:
            raise PayloadUnencodable(f"saga {definition.name!r} was not started: {unfaithful}") from unfaithful
        if not isinstance(normal, dict):
            raise PayloadUnencodable(f"the input of {definition.name!r} is a dict, not {type(input_).__name__}")
        _check_fits(definition, encoded)
        started = e.SagaStarted(definition.name, definition.plan_id, normal, LONGEST_WORKER_ID)
        self._writer.prepare(Draft("new", SAGA, 0, (started,), self._clock.now()))
        return normal


def _check_fits(definition: Saga, input_: bytes) -> None:
    """Refuse an input that a step could not be given as its annotation says."""
    for callee in definition.callees:
        read = None if isinstance(callee, Request) else readers_of(callee).get(INPUT)
        try:
            if read is not None:
                read(input_)
        except READING_FAILED as error:
            asks = getattr(callee, "__name__", repr(callee))
            why = f"its input does not fit what {asks!r} asks for: {error}"
            raise PayloadUnencodable(f"saga {definition.name!r} was not started: {why}") from error


def _text(what: str, given: object) -> str:
    if not isinstance(given, str):
        raise BadStart(f"{what} is a text, not {given!a:.80} of type {type(given).__name__}; write str(...)")
    return text_of(given)


def _checked(key: str) -> str:
    if not key:
        raise BadStart("a key has at least one character")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise BadStart(f"a key holds no unpaired surrogate: {key!a:.80}") from None
    return key


def _in_utc(starts_at: datetime) -> datetime:
    if starts_at.utcoffset() is None:
        raise BadStart(f"starts_at must have a time zone, and {starts_at} has none")
    try:
        return starts_at.astimezone(UTC)
    except OverflowError:
        raise BadStart(f"starts_at must be in the year 1 to 9999 in UTC, and {starts_at} is not") from None
