"""The events of a schedule: the times at which a saga is started. Each schedule has a stream of its own in the log.

Each event says where the schedule stands after it. So the last one is all that a worker reads, however long the stream.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class ScheduledStart(msgspec.Struct, frozen=True):
    """The saga that was started for a time."""

    due_at: datetime
    saga_id: str


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a schedule stands.

    Attributes:
        rule: The rule in force: the times, the time zone, the saga.
        since: Times up to this one are nothing to the schedule: it began, or was resumed, then.
        upto: Times up to this one have been dealt with.
        paused: Whether no time is kept.
        last: The last start for a time.
    """

    rule: str
    since: datetime
    upto: datetime
    paused: bool = False
    last: ScheduledStart | None = None


class ScheduleDefined(msgspec.Struct, frozen=True):
    """A worker keeps the schedule under this rule for the first time, or again after another rule."""

    schedule: str
    stands: Standing


class ScheduleAdvanced(msgspec.Struct, frozen=True, omit_defaults=True):
    """Times were dealt with.

    Attributes:
        started: The sagas that were started, in the same transaction.
        missed_from: The first time that was missed, and for which nothing was started; None: there was none.
        missed_upto: The last of them.
    """

    stands: Standing
    started: tuple[ScheduledStart, ...] = ()
    missed_from: datetime | None = None
    missed_upto: datetime | None = None


class SchedulePaused(msgspec.Struct, frozen=True):
    """A person paused the schedule: no time is kept until it is resumed."""

    stands: Standing
    actor: str
    reason: str


class ScheduleResumed(msgspec.Struct, frozen=True):
    """A person resumed the schedule: times after this are kept."""

    stands: Standing
    actor: str
    reason: str


class ScheduleTriggered(msgspec.Struct, frozen=True):
    """A person started the saga of the schedule, apart from its times."""

    stands: Standing
    saga_id: str
    actor: str
    reason: str


ScheduleEvent = ScheduleDefined | ScheduleAdvanced | SchedulePaused | ScheduleResumed | ScheduleTriggered
"""The closed union of the events in a schedule's stream."""
