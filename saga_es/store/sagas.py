"""Sagas in the log: their streams, folded under the plans they started with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from saga_es.core import events as e
from saga_es.core.access import Starter
from saga_es.core.evolve import fold
from saga_es.core.plan import Plan, content_id, plan_id
from saga_es.core.state import SagaState, is_same_start
from saga_es.core.waits import in_time
from saga_es.errors import NotFound, PayloadUnencodable, SagaArchived, SagaExists, UnreadableEvent
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Entry, Recorded
from saga_es.store.log.imports import import_of, is_foreign
from saga_es.store.ports import Log

Found = dict[str, SagaState | UnreadableEvent]
"""Sagas by id; an unreadable saga does not affect the others."""

LARGE = 500_000
"""The bytes that a saga is taken to have while none was read."""


class _PlanText(msgspec.Struct):
    """The plan in the text of its event, unchanged."""

    plan: msgspec.Raw


_PLAN = msgspec.json.Decoder(_PlanText)


class SagaLimits(msgspec.Struct, frozen=True):
    """How large a saga's stream may be for commands to be added to it; what its own calls return is always recorded.

    Attributes:
        events: Its events.
        bytes: The bytes of their JSON.
    """

    events: int = 50_000
    bytes: int = 64 * 1_048_576


class Sagas:
    """Reads sagas from the log. A recorded plan never changes, so plans are kept."""

    def __init__(self, log: Log, limits: SagaLimits | None = None) -> None:
        self.log = log
        self._limits = limits or SagaLimits()
        self._plans: dict[str, Plan] = {}
        self._large = LARGE
        self._now: Callable[[], datetime] | None = None
        self._leads: dict[str, dict[int, timedelta]] = {}

    def go_by(self, now: Callable[[], datetime]) -> None:
        """From now on, shorten the waits that were recorded by a clock that was ahead of this one."""
        self._now = now

    def find(self, saga_id: str) -> SagaState | None:
        """The saga at present; None when there is none.

        Raises:
            UnreadableEvent: One of its events cannot be decoded.
            StoreUnavailable: The database did not answer.
        """
        return self.folded(self.log.read(saga_id))

    def find_many(self, saga_ids: Sequence[str]) -> dict[str, SagaState | UnreadableEvent]:
        """The sagas with these ids, where they exist; an unreadable saga does not affect the others."""
        return dict(self._found(self.log.entries_of(saga_ids)))

    def find_within(self, saga_ids: Sequence[str], most_bytes: int | None) -> tuple[Found, Sequence[str]]:
        """The first of these sagas, as many as have so many bytes of events together, but at least one.

        Those read before say how large sagas are, so that hardly more is read than is returned.

        Args:
            saga_ids: The sagas.
            most_bytes: The bytes; None: any number.

        Returns:
            The sagas, and the ids of those that were left out.
        """
        if most_bytes is None or not saga_ids:
            return (self.find_many(saga_ids) if saga_ids else {}), ()
        found: Found = {}
        done = size = 0
        while done < len(saga_ids) and (not done or size + self._large <= most_bytes):
            at_once = max((most_bytes - size) // self._large, 1)
            streams = self.log.entries_of(saga_ids[done : done + at_once])
            sizes = {saga_id: sum(len(entry.text) for entry in entries) for saga_id, entries in streams.items()}
            self._large = max(*sizes.values(), self._large // 2, 1)  # a few large ones are soon forgotten
            for saga_id, entries in streams.items():
                if done and size + sizes[saga_id] > most_bytes:
                    return found, saga_ids[done:]
                found |= self._found({saga_id: entries})
                size, done = size + sizes[saga_id], done + 1
        return found, saga_ids[done:]

    def _found(self, streams: Mapping[str, Sequence[Entry]]) -> Iterator[tuple[str, SagaState | UnreadableEvent]]:
        for saga_id, entries in streams.items():
            try:
                state = self.folded([self.log.decode(entry) for entry in entries])
            except UnreadableEvent as error:
                yield saga_id, error
            else:
                if state:
                    yield saga_id, state

    def moved(self, versions: Mapping[str, int]) -> list[str]:
        """Which of these sagas are at other versions than these by now, or are not there; at most some hundreds."""
        present = self.log.versions_of(list(versions))
        return [saga_id for saga_id, version in versions.items() if present.get(saga_id) != version]

    def why_no_more(self, saga_id: str, more: int) -> str | None:
        """Why nothing more may be added to a saga from outside; None: it may.

        Args:
            saga_id: The saga.
            more: The bytes that are to be added.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        size, limits = self.log.size_of(saga_id), self._limits
        cure = "cancel or resolve it, or raise the limit"
        if size.events >= limits.events:
            return f"it has {size.events} events, and the limit is {limits.events} (SAGA_ES_SAGA_EVENTS_LIMIT); {cure}"
        if size.bytes + more > limits.bytes:
            would = f"its events would have {size.bytes + more} bytes"
            return f"{would}, and the limit is {limits.bytes} (SAGA_ES_SAGA_BYTES_LIMIT); {cure}"
        return None

    def absent(self, saga_id: str) -> NotFound | SagaArchived:
        """Why a saga is not in the log: it never existed, or it is archived.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        archive = self.log.archive_of(saga_id)
        return NotFound(saga_id) if archive is None else SagaArchived(saga_id, archive)

    def why_no_answer(
        self, state: SagaState, saga: str, input_: object, parent: str | None = None, by: Starter | None = None
    ) -> SagaExists | None:
        """Why a saga that exists does not answer a start; None: the start asks for this saga, and gets its result.

        A saga from another log was started by nobody here: who brought it may have chosen its id, which a key stands
        for, and its result. It answers only its parent, if that came from another log, too. A saga that one principal
        started answers no other, and says no more than that its key is used.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        is_anothers = by is not None and state.by not in {None, by}
        if is_anothers or not is_same_start(state, saga, input_):
            return SagaExists(state.saga_id)
        foreign = self._is_foreign(state.saga_id) and not (parent is not None and self._is_foreign(parent))
        return SagaExists(state.saga_id, foreign=True) if foreign else None

    def _is_foreign(self, saga_id: str) -> bool:
        return is_foreign(self.log.read(import_of(saga_id)))

    def refused_start(self, saga_id: str, reason: str) -> SagaArchived | PayloadUnencodable:
        """Why the database refused a start: the saga is archived, or the input holds something it cannot store.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        absent = self.absent(saga_id)
        if isinstance(absent, SagaArchived):
            return absent
        return PayloadUnencodable(f"the database does not take this start: {reason}")

    def folded(self, history: Sequence[Recorded]) -> SagaState | None:
        """The state after these events of one saga's stream, from its first on; None for another kind of stream."""
        if not history or history[0].category != SAGA:
            return None
        saga_id, events = history[0].stream_id, self._events(history)
        if not isinstance(events[0], e.SagaStarted):
            raise UnreadableEvent(SAGA, type(events[0]).__name__, f"saga {saga_id} does not begin with its start")
        blank = SagaState(saga_id, self.plan(events[0].plan_id))
        try:
            return fold(blank, events)
        except Exception as error:
            why = f"the events of saga {saga_id} do not go together: {type(error).__name__}: {error}"
            raise UnreadableEvent(SAGA, type(events[-1]).__name__, why) from error

    def _events(self, history: Sequence[Recorded]) -> list[e.SagaEvent]:
        saga_id, now = history[0].stream_id, self._now and self._now()
        if now is None or (saga_id not in self._leads and max(recorded.recorded_at for recorded in history) <= now):
            return [recorded.event for recorded in history]
        leads = self._leads.setdefault(saga_id, {})  # kept, so that a saga that is read again does not wait anew
        events = in_time([(recorded.recorded_at, recorded.event) for recorded in history], now, leads)
        if not leads:
            del self._leads[saga_id]
        return events

    def plan(self, id_: str) -> Plan:
        """The plan with this id.

        Raises:
            UnreadableEvent: The log does not hold it.
        """
        if id_ not in self._plans:
            self._plans[id_] = self.recorded_plan(id_, self.log.entries_of([id_]).get(id_, []))
        return self._plans[id_]

    def recorded_plan(self, id_: str, entries: Sequence[Entry]) -> Plan:
        """The plan in a stream. A plan that was changed, or stands under the id of another, is no plan.

        Raises:
            UnreadableEvent: The stream holds no plan, or one whose content is not what its id says.
        """
        recorded = self.log.decode(entries[0]).event if entries else None
        if not isinstance(recorded, e.PlanRecorded):
            raise UnreadableEvent(SAGA, "SagaStarted", f"the log holds no plan {id_!r}")
        if (found := content_id(bytes(_PLAN.decode(entries[0].text).plan))) != id_:
            why = f"plan {id_!r} has the content of {found!r}: it was changed, or recorded under a wrong id"
            raise UnreadableEvent(PLAN, "PlanRecorded", why)
        return recorded.plan

    def unrecorded(self, plans: Sequence[Plan]) -> list[tuple[str, e.PlanRecorded]]:
        """The plans that the log does not hold yet, with their ids."""
        wanted = {plan_id(plan): e.PlanRecorded(plan) for plan in plans}
        held = {id_ for id_, events in self.log.read_many(list(wanted)).items() if events}
        return [(id_, recorded) for id_, recorded in wanted.items() if id_ not in held]


def plans_of(history: Iterable[Recorded]) -> list[str]:
    """The ids of the plans that a saga's events name: of its start, and of each migration."""
    events = [recorded.event for recorded in history]
    return [event.plan_id for event in events if isinstance(event, e.SagaStarted | e.SagaMigrated)]
