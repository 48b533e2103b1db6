"""The page of failures in groups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from flask import Blueprint, Response, request
from markupsafe import Markup

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import check_error_filter, principal, scope, sees_payloads
from saga_es.api.batches import PERMISSIONS, newest_batches
from saga_es.api.responses import node
from saga_es.console.drawing import draw_trend
from saga_es.console.following import ACTIONS
from saga_es.console.queries import asked
from saga_es.console.rows import MOST_COUNTED, counts
from saga_es.console.shell import page
from saga_es.console.words import STATUS_WORDS
from saga_es.core.state import SagaStatus
from saga_es.store.queries.failures import LEFT_OUT, Group, failures

HOURS = 24


class Shown(msgspec.Struct, frozen=True):
    """A group with its trend, and its error in parts, of which each second was left out."""

    group: Group
    trend: Markup
    parts: list[str]

    @property
    def longest(self) -> str | None:
        """The longest part of the error that all its sagas share, to find them by; a retrying saga has no error yet."""
        return None if self.group.state == "retrying" else max(self.parts, key=len).strip() or None


def add_to(blueprint: Blueprint) -> None:
    """Add the route."""
    blueprint.add_url_rule("/attention", "attention", show_attention)


@permits(Permission.READ)
def show_attention() -> Response:
    """What needs a person, in groups of the same failure."""
    here, now = node(), datetime.now(UTC)
    wanted = asked(request.args, now)
    check_error_filter(wanted.wanted.error)
    found = failures(here.database, here.store.log, here.store.sagas, wanted.wanted, now)
    with here.database.reading() as connection:
        by_status = counts(connection, scope())
    return page(
        "attention.html",
        "attention",
        422 if wanted.problems else 200,
        groups=[_shown(group, now) for group in found.groups],
        is_complete=found.is_complete,
        failed=by_status[SagaStatus.FAILED],
        retrying=sum(group.count for group in found.groups if group.state == "retrying"),
        most=MOST_COUNTED,
        asked=wanted,
        problems=wanted.problems,
        left_out=LEFT_OUT,
        words=STATUS_WORDS,
        actions={state: _actions(state) for state in ("FAILED", "retrying")},
        batches=newest_batches(),
        verbs=ACTIONS,
        now=now,
    )


_OFFERED = {"FAILED": ("retry", "resolve"), "retrying": ("retry", "pause")}


def _actions(state: str) -> list[str]:
    """The commands that the viewer may give a whole group."""
    return [name for name in _OFFERED[state] if principal().may(PERMISSIONS[name])]


def _shown(group: Group, now: datetime) -> Shown:
    if not sees_payloads():
        group = msgspec.structs.replace(group, error="")
    return Shown(group, _trend(group, now), group.error.split(LEFT_OUT))


def _trend(group: Group, now: datetime) -> Markup:
    return draw_trend(by_hour(group.times, now), "retry" if group.state == "retrying" else "failed")


def by_hour(times: Sequence[datetime], now: datetime) -> list[int]:
    """How many of the times lie in each of the last 24 hours, the oldest first."""
    found = [0] * HOURS
    for at in times:
        age = max(0, int((now - at) / timedelta(hours=1)))
        if age < HOURS:
            found[HOURS - 1 - age] += 1
    return found
