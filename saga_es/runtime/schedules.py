"""Schedules: sagas are started at times, one for each time over all workers.

Owns: the streams of schedules. A saga is started in the transaction that records that its time was dealt with, and the
expected version lets one worker win. The id of the saga follows from the schedule and the time: whatever happened, the
same time is never the start of two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import takewhile
from typing import assert_never

import msgspec
from msgspec.structs import replace

from saga_es.core.schedules import (
    ScheduleAdvanced,
    ScheduleDefined,
    ScheduledStart,
    ScheduleEvent,
    SchedulePaused,
    ScheduleResumed,
    ScheduleTriggered,
    Standing,
)
from saga_es.definition.schedules import Every, by_name
from saga_es.errors import SagaError, StoreUnavailable
from saga_es.logs import logger
from saga_es.runtime.ids import saga_id_for, schedule_id
from saga_es.runtime.intake.starts import Starts
from saga_es.store.log.codec import SCHEDULE
from saga_es.store.log.entries import Draft, Prepared
from saga_es.store.store import SharedStore

ON_TIME_S = 60.0
"""A time that is dealt with no later than this was not missed."""

LOOK_EVERY_S = 60.0
"""A worker looks at a schedule at least so often: the clock may have been set right."""

CURE = "say by `missed=` what becomes of them; `saga-es schedule trigger` starts one by hand"

AT_ONCE = 20
"""Sagas that one transaction starts; the rest follows in the next iterations of the loop."""


class ScheduleRefused(SagaError):
    """The schedule cannot do that now; nothing was recorded."""


class Row(msgspec.Struct, frozen=True):
    """A schedule as people read it.

    Attributes:
        next_at: Its next time; None: it is paused, or there is none.
        last: The last start for a time.
    """

    name: str
    cron: str
    tz: str
    saga: str
    missed: str
    paused: bool
    next_at: datetime | None
    last: ScheduledStart | None


class Schedules:
    """Keeps the schedules of an application.

    Args:
        starts: Checks and prepares the starts.
        schedules: The schedules, each with a name of its own.

    Raises:
        DefinitionError: Two have the same name.
    """

    def __init__(self, store: SharedStore, starts: Starts, schedules: Iterable[Every]) -> None:
        self.all: Mapping[str, Every] = by_name(schedules)
        self._store = store
        self._starts = starts
        self._next: dict[str, datetime | None] = {}

    # ── Keeping the times ────────────────────────────────────────────────────────────────────────────────

    def keep(self, now: datetime) -> list[str]:
        """Start the sagas whose time has come; their ids. An error in one schedule holds up no other.

        Raises:
            StoreUnavailable: The database did not answer. What is due is due at the next call.
        """
        return [saga_id for every in self.all.values() for saga_id in self._kept(every, now)]

    def next_in_s(self, now: datetime) -> float:
        """Seconds until `keep` may have something to do."""
        looks = [at for name in self.all if (at := self._next.get(name, now)) is not None]
        return min([LOOK_EVERY_S, *(max(0.0, (at - now).total_seconds()) for at in looks)])

    def _kept(self, every: Every, now: datetime) -> list[str]:
        next_at = self._next.get(every.name, now)
        if next_at is None or now < next_at:
            return []
        try:
            return self._advanced(every, now)
        except StoreUnavailable:
            raise
        except Exception:
            self._next[every.name] = now + timedelta(seconds=LOOK_EVERY_S)
            logger.exception("a schedule cannot start its saga", schedule=every.name, next_try_in_s=LOOK_EVERY_S)
            return []

    def _advanced(self, every: Every, now: datetime) -> list[str]:
        version, recorded = self._find(every)
        stands = _under(every, recorded, now)
        due = NOTHING if stands.paused else due_of(every, stands, now)
        starts = self._to_start(every, due.starts)
        events = _events(every, recorded, stands, due, tuple(starts))
        if events and not self._append(every, version, events, self._prepared(every, starts), now):
            return []  # another worker, or a person, was faster: the schedule is looked at again at once
        self._next[every.name] = now if due.is_cut else next(every.times(now), None)
        _tell(every, due, starts)
        return [start.saga_id for start in starts]

    def _to_start(self, every: Every, times: Iterable[datetime]) -> list[ScheduledStart]:
        """The starts for these times, apart from those of which the saga is there, or was and is archived."""
        starts = [ScheduledStart(at, saga_id_for(every.saga.name, _key(every, at))) for at in times]
        there = self._store.log.versions_of([start.saga_id for start in starts]) if starts else {}
        return [
            start
            for start in starts
            if start.saga_id not in there and self._store.log.archive_of(start.saga_id) is None
        ]

    def _prepared(self, every: Every, starts: Iterable[ScheduledStart]) -> list[Prepared]:
        return [self._start(every, start.due_at, _key(every, start.due_at)) for start in starts]

    def _start(self, every: Every, at: datetime, key: str, *, is_due: bool = True) -> Prepared:
        tags = every.tags | {"schedule": every.name} | ({"due_at": _text(at)} if is_due else {})
        request = self._starts.request(
            every.saga, every.input_for(at), saga_id=None, key=key, tags=tags, starts_at=None
        )
        return self._starts.prepared(request)

    # ── What people do ───────────────────────────────────────────────────────────────────────────────────

    def rows(self, now: datetime) -> list[Row]:
        """The schedules as they stand.

        Raises:
            UnreadableEvent: A newer version wrote the last event of one.
            StoreUnavailable: The database did not answer.
        """
        return [self._row(every, self._find(every)[1], now) for every in self.all.values()]

    def pause(self, name: str, actor: str, reason: str, now: datetime) -> None:
        """Keep no time from now on.

        Raises:
            ScheduleRefused: It is paused.
            UnreadableEvent: A newer version wrote the last event.
            StoreUnavailable: The database did not answer.
        """

        def paused(stands: Standing) -> SchedulePaused:
            if stands.paused:
                raise ScheduleRefused(f"the schedule {name!r} is paused already")
            return SchedulePaused(replace(stands, paused=True), actor, reason)

        self._record(self.all[name], paused, now)

    def resume(self, name: str, actor: str, reason: str, now: datetime) -> None:
        """Keep the times after this one again; those while it was paused are not made up for.

        Raises:
            ScheduleRefused: It is not paused.
            UnreadableEvent: A newer version wrote the last event.
            StoreUnavailable: The database did not answer.
        """

        def resumed(stands: Standing) -> ScheduleResumed:
            if not stands.paused:
                raise ScheduleRefused(f"the schedule {name!r} is not paused")
            return ScheduleResumed(replace(stands, paused=False, since=now, upto=now), actor, reason)

        self._record(self.all[name], resumed, now)

    def trigger(self, name: str, actor: str, reason: str, now: datetime) -> str:
        """Start the saga of a schedule once, now, also while the schedule is paused; the saga's id.

        Raises:
            PayloadUnencodable: The input has no JSON form, or does not fit what a step asks for.
            UnreadableEvent: A newer version wrote the last event.
            StoreUnavailable: The database did not answer.
        """
        every = self.all[name]
        self._starts.record_plans()
        while True:
            version, recorded = self._find(every)
            start = self._start(every, now, f"schedule/{name}/triggered/{version}", is_due=False)
            saga_id = start.draft.stream_id
            begins, stands = _begun(every, recorded, now)
            events = [*begins, ScheduleTriggered(stands, saga_id, actor, reason)]
            if self._append(every, version, events, [start], now):
                return saga_id

    def _record(self, every: Every, follow: Callable[[Standing], ScheduleEvent], now: datetime) -> None:
        while True:
            version, recorded = self._find(every)
            begins, stands = _begun(every, recorded, now)
            if self._append(every, version, [*begins, follow(stands)], [], now):
                return

    # ── The stream ───────────────────────────────────────────────────────────────────────────────────────

    def _find(self, every: Every) -> tuple[int, Standing | None]:
        last = self._store.log.last_of(schedule_id(every.name))
        if last is None:
            return 0, None
        event: ScheduleEvent = last.event
        return last.version, event.stands

    def _append(
        self, every: Every, version: int, events: Iterable[ScheduleEvent], starts: Iterable[Prepared], now: datetime
    ) -> bool:
        writer = self._store.writer
        draft = Draft(schedule_id(every.name), SCHEDULE, version, tuple(events), now)
        return writer.write_whole([writer.prepare(draft), *starts])

    def _row(self, every: Every, stands: Standing | None, now: datetime) -> Row:
        is_paused = stands is not None and stands.paused
        return Row(
            name=every.name,
            cron=every.cron,
            tz=every.tz,
            saga=every.saga.name,
            missed=every.missed,
            paused=is_paused,
            next_at=None if is_paused else next(every.times(now), None),
            last=None if stands is None else stands.last,
        )


# ── Deciding ─────────────────────────────────────────────────────────────────────────────────────────────


class Due(msgspec.Struct, frozen=True):
    """What is to be done about the times that have come.

    Attributes:
        starts: The times for which a saga is started now.
        missed: The first and the last of those for which none is started.
        is_cut: Whether more is to be done at once.
    """

    starts: tuple[datetime, ...] = ()
    missed: tuple[datetime, datetime] | None = None
    is_cut: bool = False


NOTHING = Due()


def due_of(every: Every, stands: Standing, now: datetime) -> Due:
    """What is to be done about the times that have come since a schedule stood there."""
    after, late = max(stands.since, stands.upto), now - timedelta(seconds=ON_TIME_S)
    on_time = list(takewhile(lambda at: at <= now, every.times(max(after, late))))
    most = _most_made_up_for(every, is_later_due=bool(on_time))
    found = _newest(every, after, late, most + 1) if late > after else []
    starts = [*(found[-most:] if most else []), *on_time]
    missed = (next(every.times(after)), found[0]) if len(found) > most else None
    return Due(tuple(starts[:AT_ONCE]), missed, is_cut=len(starts) > AT_ONCE)


def _most_made_up_for(every: Every, *, is_later_due: bool) -> int:
    match every.missed:
        case "skip":
            return 0
        case "last":
            return 0 if is_later_due else 1
        case "all":
            return every.at_most
        case _:
            assert_never(every.missed)


def _newest(every: Every, after: datetime, until: datetime, most: int) -> list[datetime]:
    """The newest times in a span, so many at most. After years without a worker, not all are looked at."""
    span = timedelta(hours=1)
    while True:
        begin = max(after, until - span)
        found = deque(takewhile(lambda at: at <= until, every.times(begin)), maxlen=most)
        if len(found) == most or begin == after:
            return list(found)
        span *= 4


def _under(every: Every, recorded: Standing | None, now: datetime) -> Standing:
    """Where the schedule stands under the rule of this process.

    During a deployment workers with two rules may be at work. A worker whose rule is not the recorded one looks back no
    further than a time may be late: what came before was for the other rule to keep.
    """
    if recorded is None:
        return Standing(every.rule, now, now)
    if recorded.rule == every.rule:
        return recorded
    upto = max(recorded.since, now - timedelta(seconds=ON_TIME_S))
    return replace(recorded, rule=every.rule, upto=upto)


def _begun(every: Every, recorded: Standing | None, now: datetime) -> tuple[list[ScheduleEvent], Standing]:
    """Where the schedule stands, and the event that says so if no worker has kept it yet."""
    if recorded is not None:
        return [], recorded
    stands = _under(every, None, now)
    return [ScheduleDefined(every.name, stands)], stands


def _events(
    every: Every, recorded: Standing | None, stands: Standing, due: Due, started: tuple[ScheduledStart, ...]
) -> list[ScheduleEvent]:
    is_new = recorded is None or recorded.rule != stands.rule
    events: list[ScheduleEvent] = [ScheduleDefined(every.name, stands)] if is_new else []
    if due.starts or due.missed:
        first, last = due.missed or (None, None)
        upto = due.starts[-1] if due.starts else last
        assert upto is not None, "one of them is there"
        now_stands = replace(stands, upto=upto, last=started[-1] if started else stands.last)
        events.append(ScheduleAdvanced(now_stands, started, first, last))
    return events


def _key(every: Every, at: datetime) -> str:
    return f"schedule/{every.name}/{_text(at)}"


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _tell(every: Every, due: Due, starts: Iterable[ScheduledStart]) -> None:
    for start in starts:
        logger.info(
            "a schedule started its saga", schedule=every.name, saga_id=start.saga_id, due_at=_text(start.due_at)
        )
    if due.missed is not None:
        first, last = map(_text, due.missed)
        logger.warning("a schedule has missed times", schedule=every.name, first=first, last=last, cure=CURE)
