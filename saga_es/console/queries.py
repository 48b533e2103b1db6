"""The filters of the list in an address, and the addresses of other filters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace
from werkzeug.datastructures import MultiDict

from saga_es.api.access import scope
from saga_es.console.words import STATUS_WORDS
from saga_es.core.state import SagaStatus
from saga_es.store.queries.filters import MOST_TAGS, SagaFilter, age_s, tag_of

NAMES = ("status", "name", "tag", "error", "since", "until")
"""The parameters that filter. `since` and `until` are ages (`2h`) or times (ISO 8601)."""

OF_THE_LIST = ("changed", "is", "attempts")
"""Those that filter the list alone: when it changed last, a condition, and how many attempts it has at least."""

CONDITIONS = ("paused", "retrying", "waiting", "stuck")
COLUMNS = ("steps", "what", "attempts", "started", "took", "tags")
"""The columns of the list that may be left out."""

MOST_ATTEMPTS = 1_000_000


class Chip(msgspec.Struct, frozen=True):
    """A filter that is set: its name, its value in words, and the query without it."""

    name: str
    value: str
    others: list[tuple[str, str]]


class Asked(msgspec.Struct, frozen=True):
    """What an address asks the list for.

    Attributes:
        given: The parameters that filter, as they were given, and the columns.
        problems: What is wrong with them.
        statuses: Of the list: one of these.
        conditions: Of the list: all of these.
        attempts: Of the list: more attempts than this.
        columns: The columns that are shown.
    """

    given: list[tuple[str, str]]
    wanted: SagaFilter
    problems: list[str]
    statuses: tuple[str, ...] = ()
    conditions: frozenset[str] = frozenset()
    attempts: int | None = None
    columns: tuple[str, ...] = COLUMNS

    @property
    def needs_fold(self) -> bool:
        """Whether only the fold of a saga tells whether it is wanted."""
        return bool(self.conditions) or self.attempts is not None

    def values(self, name: str) -> list[str]:
        """All values of a parameter."""
        return [value for key, value in self.given if key == name]

    def value(self, name: str) -> str:
        """The first value of a parameter; an empty text when it is not there."""
        return next((value for key, value in self.given if key == name), "")

    def without(self, *names: str) -> list[tuple[str, str]]:
        """The parameters without these."""
        return [(key, value) for key, value in self.given if key not in names]

    def toggled(self, status: str) -> list[tuple[str, str]]:
        """The parameters with this status beside the others, or without it when it is there."""
        pair = ("status", status)
        others = [given for given in self.given if given != pair]
        return others if pair in self.given else [*others, pair]

    @property
    def chips(self) -> list[Chip]:
        """The filters that are set."""
        return [
            Chip(key, STATUS_WORDS.get(value, value), [pair for pair in self.given if pair != (key, value)])
            for key, value in self.given
            if key != "columns"
        ]


def asked_of_list(args: MultiDict[str, str], now: datetime) -> Asked:
    """What an address asks the list for: several statuses mean "or", conditions and all others mean "and"."""
    found = asked(args, now)
    given = [(name, value.strip()) for name in OF_THE_LIST for value in args.getlist(name) if value.strip()]
    problems = [*found.problems]
    statuses = [value.upper().replace("-", "_") for value in found.values("status")]
    problems += [f"status: {one!a:.80} is none" for one in statuses[1:] if one not in set(SagaStatus)]
    conditions = frozenset(value for name, value in given if name == "is")
    problems += [f"is: {one!a:.80} is none of {', '.join(CONDITIONS)}" for one in sorted(conditions - {*CONDITIONS})]
    attempts = next((value for name, value in given if name == "attempts"), None)
    is_number = attempts is None or (attempts.isascii() and attempts.isdigit() and int(attempts[:8]) <= MOST_ATTEMPTS)
    problems += [] if is_number else [f"attempts: {attempts!a:.80} is no number"]
    columns = [column for value in args.getlist("columns") for column in value.split(",") if column in COLUMNS]
    changed = _age(dict(given), "changed", now, problems)
    return replace(
        found,
        given=[*found.given, *given, *([("columns", ",".join(columns))] if 0 < len({*columns}) < len(COLUMNS) else [])],
        wanted=replace(found.wanted, status=None, changed_within_s=changed),
        problems=problems,
        statuses=tuple(sorted({*statuses} & set(SagaStatus))),
        conditions=conditions & {*CONDITIONS},
        attempts=int(attempts) if attempts is not None and is_number else None,
        columns=tuple(columns) or COLUMNS,
    )


def asked(args: MultiDict[str, str], now: datetime) -> Asked:
    """What an address asks for; a parameter that cannot be read is left out and named."""
    given = [(name, value.strip()) for name in NAMES for value in args.getlist(name) if value.strip()]
    first = dict(reversed(given))
    problems: list[str] = []
    status = first.get("status", "").upper().replace("-", "_") or None
    if status is not None and status not in set(SagaStatus):
        problems.append(f"status: {status!a:.80} is none; there are {', '.join(SagaStatus)}")
        status = None
    tags = [tag for name, value in given if name == "tag" for tag in _tag(value, problems)]
    wanted = SagaFilter(
        status=status,
        name=first.get("name"),
        tags=tuple(tags[:MOST_TAGS]),
        error=first.get("error"),
        newer_than_s=_age(first, "since", now, problems),
        older_than_s=_age(first, "until", now, problems),
        scope=scope(),
    )
    return Asked(given, wanted, problems)


def _tag(value: str, problems: list[str]) -> Iterator[tuple[str, str]]:
    try:
        yield tag_of(value)
    except ValueError as error:
        problems.append(f"tag: {error}")


def _age(given: dict[str, str], name: str, now: datetime, problems: list[str]) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return max(0.0, (now - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds())
    except (ValueError, OverflowError):
        pass
    try:
        return age_s(text)
    except ValueError:
        problems.append(f"{name}: {text!a:.80} is neither an age, such as 90s, 10m, 2h or 3d, nor a time (ISO 8601)")
        return None
