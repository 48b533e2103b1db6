"""A schedule as users write it: at which times a saga is started, and what becomes of times that were missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from saga_es.core.values import text_of
from saga_es.definition.saga import Saga
from saga_es.definition.steps import NAME_LIMIT
from saga_es.errors import DefinitionError, NotInstalled

Missed = Literal["skip", "last", "all"]
"""What becomes of times that were missed."""

FIELDS = 5
MOST = 100
"""The most missed times for which sagas are started, unless the schedule says otherwise."""


class Every:
    """Starts a saga at times that a cron rule names: one start for each time, however many workers there are.

    Args:
        cron: Five fields: minute, hour, day of the month, month, day of the week.
        saga: The definition.
        input: The input of each saga; or a function that makes it from the time, which is in the zone of the schedule.
        tz: The time zone of the rule, as the tz database names it.
        name: The name of the schedule; that of the saga if left out.
        missed: What becomes of times at which no worker was there for more than a minute: `"skip"`: nothing is started;
            `"last"`: one saga, for the last of them, unless a later time is due already; `"all"`: a saga for each.
        at_most: For `"all"`: the most missed times that count, the latest ones.
        tags: Tags of each saga, beside `schedule`, which has the schedule's name, and `due_at`.

    Raises:
        DefinitionError: The rule, the time zone or the name cannot be used.
        NotInstalled: The extra `schedules` is not installed.
    """

    def __init__(
        self,
        cron: str,
        saga: Saga,
        input: object | Callable[[datetime], object] = None,  # noqa: A002 (the field's word)
        *,
        tz: str = "UTC",
        name: str | None = None,
        missed: Missed = "last",
        at_most: int = MOST,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.name = text_of(saga.name if name is None else name)
        if not 0 < len(self.name) <= NAME_LIMIT:
            raise DefinitionError(f"a schedule's name has 1 to {NAME_LIMIT} characters, not {len(self.name)}")
        if missed not in get_args(Missed):
            raise DefinitionError(f"schedule {self.name!r}: missed is 'skip', 'last' or 'all', not {missed!r}")
        if at_most < 1:
            raise DefinitionError(f"schedule {self.name!r}: at_most is at least 1, not {at_most}")
        self.cron = " ".join(cron.split())
        self.saga = saga
        self.input = input
        self.tz = tz
        self.missed = missed
        self.at_most = at_most
        self.tags = dict(tags or {})
        self._zone = self._zone_of(tz)
        self._check_rule()

    @property
    def rule(self) -> str:
        """What the log keeps of the definition: another rule is another schedule under the same name."""
        return f"{self.cron} {self.tz} {self.saga.name}"

    def input_for(self, at: datetime) -> object:
        """The input of the saga that is started for a time, or by hand at it."""
        return self.input(at.astimezone(self._zone)) if callable(self.input) else self.input

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after this one, in UTC, each once and in order; none if the rule names a day that never comes."""
        from cronsim import CronSim  # noqa: PLC0415  # an extra

        last = after
        for found in CronSim(self.cron, after.astimezone(self._zone)):
            # In a gap two times of the rule are one instant; in a fold the parser goes back to the first passage.
            at = found.astimezone(UTC)
            if at > last:
                yield (last := at)

    def _zone_of(self, tz: str) -> ZoneInfo:
        try:
            return ZoneInfo(tz)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            cure = "take a name of the tz database, such as 'Asia/Tokyo'"
            raise DefinitionError(f"schedule {self.name!r}: there is no time zone {tz!r}; {cure}") from error

    def _check_rule(self) -> None:
        try:
            from cronsim import CronSim, CronSimError  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise NotInstalled(["cronsim"], "schedules", "for schedules") from error
        if len(self.cron.split()) != FIELDS:
            fields = "minute, hour, day of the month, month, day of the week"
            raise DefinitionError(f"schedule {self.name!r}: {self.cron!r} has not five fields: {fields}")
        try:
            CronSim(self.cron, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise DefinitionError(f"schedule {self.name!r}: {self.cron!r} is no rule of cron: {error}") from error


def by_name(schedules: Iterable[Every]) -> dict[str, Every]:
    """The schedules by their names.

    Raises:
        DefinitionError: Two have the same name.
    """
    found: dict[str, Every] = {}
    for every in schedules:
        if found.setdefault(every.name, every) is not every:
            raise DefinitionError(f"there are two schedules named {every.name!r}; give one of them another name=")
    return found
