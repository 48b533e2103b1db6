"""Views, as folds of events: which columns each event sets. What the databases do with them is tested there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.core.events import (
    CompensationCompleted,
    CompensationFailed,
    CompensationStarted,
    SagaAborted,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaFailed,
    SagaStarted,
    SagaTakenOver,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from saga_es.core.facts import Completed, Outcome, Rejected, Unavailable, Unknown
from saga_es.core.state import SagaState, fold
from saga_es.store.codec import SAGA
from saga_es.store.log import Recorded
from saga_es.store.saga_view import saga_view, sagas
from saga_es.store.views import Change, View
from tests.unit.story import ABC, SAGA_ID, drive, failing

AT = datetime(2026, 1, 2, tzinfo=UTC)


def recorded(events: list[Any], category: str = SAGA) -> list[Recorded]:
    """The events as they stand in a stream, one second apart."""
    return [
        Recorded(SAGA_ID, category, version, event, AT + timedelta(seconds=version - 1))
        for version, event in enumerate(events, 1)
    ]


# ── Any view ─────────────────────────────────────────────────────────────────────────────────────────────


class Opened(msgspec.Struct, frozen=True):
    """An event that makes the row."""

    name: str


class Renamed(msgspec.Struct, frozen=True):
    """An event that changes one column."""

    name: str


class Counted(msgspec.Struct, frozen=True):
    """An event that changes another."""

    count: int


class Looked(msgspec.Struct, frozen=True):
    """An event that no column shows."""


class Closed(msgspec.Struct, frozen=True):
    """An event that ends the row."""


def change(recorded: Recorded) -> Change:
    match recorded.event:
        case Opened(name):
            return {"name": name, "count": 0}
        case Renamed(name):
            return {"name": name}
        case Counted(count):
            return {"count": count}
        case Looked():
            return {}
        case _:
            return None


SHOPS = View(
    sa.Table(
        "shops",
        sa.MetaData(),
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64)),
        sa.Column("count", sa.Integer),
    ),
    "shop",
    change,
)


def shop(*events: object) -> Change:
    return SHOPS.fold(recorded(list(events), "shop"))


def test_a_view_is_named_by_its_table_and_keyed_by_its_one_key_column() -> None:
    """Nothing is said twice."""
    assert (SHOPS.name, SHOPS.key.name) == ("shops", "shop_id")


def test_each_event_sets_its_columns_and_the_last_word_counts() -> None:
    """A fold is all of them together."""
    assert shop(Opened("a"), Renamed("b"), Counted(3), Renamed("c")) == {"name": "c", "count": 3}


def test_an_event_that_does_not_matter_changes_nothing() -> None:
    """Neither before nor after."""
    assert shop(Opened("a"), Looked()) == shop(Opened("a")) == {"name": "a", "count": 0}
    assert shop(Looked()) == {}


def test_none_takes_the_row_away() -> None:
    """Whatever was set before."""
    assert shop(Opened("a"), Counted(1), Closed()) is None
    assert shop(Closed()) is None
    assert shop(Opened("a"), Closed(), Looked()) is None


def test_a_row_that_is_gone_stays_gone() -> None:
    """Or a row would depend on which events happened to be appended together: only version 1 makes one."""
    assert shop(Opened("a"), Closed(), Renamed("b")) is None
    assert shop(Closed(), Renamed("b")) is None


def test_later_events_alone_set_only_their_columns() -> None:
    """What an update needs when the row is there already."""
    late = recorded([Opened("a"), Counted(1), Counted(2)], "shop")[1:]
    assert SHOPS.fold(late) == {"count": 2}


# ── The view of sagas ────────────────────────────────────────────────────────────────────────────────────

COLUMNS: list[tuple[SagaEvent, dict[str, Any]]] = [
    (
        SagaStarted("order", "plan-1", {"n": 1}, "w1"),
        {
            "name": "order",
            "plan_id": "plan-1",
            "status": "IN_PROGRESS",
            "owner": "w1",
            "current_step": None,
            "error": None,
            "created_at": AT,
        },
    ),
    (
        SagaStarted("order", "plan-1", {}, None),
        {
            "name": "order",
            "plan_id": "plan-1",
            "status": "PENDING",
            "owner": None,
            "current_step": None,
            "error": None,
            "created_at": AT,
        },
    ),
    (SagaTakenOver("w2", None), {"owner": "w2", "status": "IN_PROGRESS"}),
    (SagaTakenOver("w2", "w1"), {"owner": "w2"}),
    (StepStarted("a", 2), {"current_step": "a"}),
    (StepCompleted("a", 1), {}),
    (StepFailed("a", 1, "unknown", "lost", AT), {}),
    (SagaAborted("a", "no"), {"status": "COMPENSATING", "error": "no"}),
    (CompensationStarted("a", 1), {"current_step": "a"}),
    (CompensationCompleted("a"), {}),
    (CompensationFailed("a", 1, "unknown", "lost", AT), {}),
    (SagaCompleted(), {"status": "COMPLETED", "current_step": None}),
    (SagaCompensated(), {"status": "COMPENSATED", "current_step": None}),
    (SagaFailed("why"), {"status": "FAILED", "error": "why"}),
]


@pytest.mark.parametrize(("event", "columns"), COLUMNS)
def test_an_event_of_a_saga_sets_these_columns(event: SagaEvent, columns: dict[str, Any]) -> None:
    """And each of them the time of the last change."""
    assert saga_view.change(Recorded(SAGA_ID, SAGA, 1, event, AT)) == {**columns, "updated_at": AT}


def test_every_event_of_a_saga_has_its_columns() -> None:
    """A new event says what it sets, too."""
    assert {type(event) for event, _ in COLUMNS} == set(get_args(SagaEvent))


def test_the_first_event_fills_every_column_that_must_be_filled() -> None:
    """The row can be made from it alone."""
    row = saga_view.fold(recorded([SagaStarted("order", "plan-1", {}, "w1")]))
    assert row is not None
    assert {"saga_id", *row} == {column.name for column in sagas.columns}


def test_a_started_saga_shows_where_it_is() -> None:
    """Its step, its owner, and when it was touched last."""
    row = saga_view.fold(recorded([SagaStarted("order", "plan-1", {}, "w1"), StepStarted("a", 1)]))
    assert row is not None
    assert (row["current_step"], row["created_at"], row["updated_at"]) == ("a", AT, AT + timedelta(seconds=1))


@pytest.mark.parametrize("outcome", [Completed(1), Rejected("no"), Unavailable("busy"), Unknown("lost")])
@pytest.mark.parametrize("step", ["a", "c"])
def test_the_row_says_what_the_state_says(step: str, outcome: Outcome) -> None:
    """After every event of a saga's life: status, owner, plan and error are those of the fold."""
    log = drive(ABC, failing(step, outcome)).log
    for length in range(1, len(log) + 1):
        row = saga_view.fold(recorded(log)[:length])
        state = fold(SagaState(SAGA_ID, ABC), log[:length])
        assert row is not None
        assert (row["status"], row["owner"], row["plan_id"]) == (state.status, state.owner, state.plan_id)
        assert row["error"] == state.error


@for_all(st.integers(0, 20), st.sampled_from([Completed(1), Rejected("no"), Unavailable("busy"), Unknown("lost")]))
def test_the_row_does_not_depend_on_how_the_events_were_batched(cut: int, outcome: Outcome) -> None:
    """Cut the log anywhere: the columns of the parts, one after the other, are those of the whole."""
    whole = recorded(drive(ABC, failing("c", outcome)).log)
    first, rest = saga_view.fold(whole[:cut]), saga_view.fold(whole[cut:])
    assert first is not None
    assert rest is not None
    assert {**first, **rest} == saga_view.fold(whole)
