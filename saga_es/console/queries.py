"""The filters of the list in an address, and the addresses of other filters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from werkzeug.datastructures import MultiDict

from saga_es.api.access import scope
from saga_es.console.words import STATUS_WORDS
from saga_es.core.state import SagaStatus
from saga_es.store.queries.filters import MOST_TAGS, SagaFilter, age_s, tag_of

NAMES = ("status", "name", "tag", "error", "since", "until")
"""The parameters that filter. `since` and `until` are ages (`2h`) or times (ISO 8601)."""


class Chip(msgspec.Struct, frozen=True):
    """A filter that is set: its name, its value in words, and the query without it."""

    name: str
    value: str
    others: list[tuple[str, str]]


class Asked(msgspec.Struct, frozen=True):
    """What an address asks the list for.

    Attributes:
        given: The parameters that filter, as they were given.
        problems: What is wrong with them.
    """

    given: list[tuple[str, str]]
    wanted: SagaFilter
    problems: list[str]

    def value(self, name: str) -> str:
        """The first value of a parameter; an empty text when it is not there."""
        return next((value for key, value in self.given if key == name), "")

    def without(self, *names: str) -> list[tuple[str, str]]:
        """The parameters without these."""
        return [(key, value) for key, value in self.given if key not in names]

    def toggled(self, status: str) -> list[tuple[str, str]]:
        """The parameters with this status, or without any when it is the present one."""
        others = self.without("status")
        return others if self.value("status") == status else [*others, ("status", status)]

    @property
    def chips(self) -> list[Chip]:
        """The filters that are set."""
        return [
            Chip(key, STATUS_WORDS.get(value, value), [pair for pair in self.given if pair != (key, value)])
            for key, value in self.given
        ]


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
