"""Views, as folds of events: which columns each event sets. What the databases do with them is tested there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.core import events as e
from saga_es.core.commands import Cancel, Pause, Resolve, Resume, Retry, Revoke
from saga_es.core.decide import decide
from saga_es.core.evolve import fold
from saga_es.core.facts import CannotGoOn, Fact, OwnerGone
from saga_es.core.outcomes import Completed, Outcome, Rejected, Unavailable, Unknown
from saga_es.core.state import SagaState, only_waits
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import Change, View
from saga_es.store.views.saga_view import NOT_BY_ITSELF, is_due, saga_view, sagas
from saga_es.store.views.tags import tag_view
from tests.support.random_plans import sequences
from tests.support.story import ABC, SAGA_ID, STARTED, Loop, action, done, drive, failing, given, undo

AT = datetime(2026, 1, 2, tzinfo=UTC)
LATER = AT + timedelta(hours=1)


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

BLANK = {
    "name": "order",
    "plan_id": "plan-1",
    "status": "PENDING",
    "owner": None,
    "paused": False,
    "parent": None,
    "current_step": None,
    "error": None,
    "created_at": AT,
    "wakes_at": None,
    "deadline_at": None,
}
COLUMNS: list[tuple[e.SagaEvent, dict[str, Any]]] = [
    (e.SagaStarted("order", "plan-1", {"n": 1}, "w1"), {**BLANK, "status": "IN_PROGRESS", "owner": "w1"}),
    (e.SagaStarted("order", "plan-1", {}, None, {"customer": "7"}), BLANK),
    (e.SagaStarted("order", "plan-1", {}, "w1", starts_at=LATER), {**BLANK, "owner": "w1", "wakes_at": LATER}),
    (
        e.SagaStarted("order", "plan-1", {}, "w1", deadline_at=LATER),
        {**BLANK, "status": "IN_PROGRESS", "owner": "w1", "deadline_at": LATER},
    ),
    (e.SagaStarted("order", "plan-1", {}, parent="saga-0"), {**BLANK, "parent": "saga-0"}),
    (e.SagaBegan(), {"status": "IN_PROGRESS"}),
    (e.SagaTakenOver("w2", None), {"owner": "w2"}),
    (e.SagaTakenOver("w2", "w1"), {"owner": "w2"}),
    (e.SagaReleased("w1", "no code"), {"owner": None, "wakes_at": None}),
    (e.StepStarted("a", 2), {"current_step": "a", "wakes_at": None}),
    (e.StepCompleted("a", 1), {}),
    (e.StepSkipped("a"), {}),
    (e.StepFailed("a", 1, "unknown", "lost", AT), {"wakes_at": AT}),
    (e.StepFailed("a", 1, "rejected", "no"), {"wakes_at": None}),
    (e.StepFannedOut("a", 2), {}),
    (e.StepProgressed("a", 1, details=7), {}),
    (e.WaitStarted("a", LATER), {"current_step": "a", "wakes_at": LATER}),
    (e.WaitStarted("a"), {"current_step": "a", "wakes_at": NOT_BY_ITSELF}),
    (e.SignalReceived("a"), {"wakes_at": None}),
    (e.ChildStarted("a", "pay", "saga-2", {}), {"current_step": "a", "wakes_at": None}),
    (e.ProbeStarted("a", 1), {}),
    (e.ProbeAnswered("a"), {}),
    (e.SagaAborted("a", "no"), {"status": "COMPENSATING", "error": "no", "wakes_at": None}),
    (
        e.SagaCancelled("ada", "a typo"),
        {"status": "COMPENSATING", "error": "cancelled by ada: a typo", "paused": False, "wakes_at": None},
    ),
    (e.CompensationStarted("a", 1), {"current_step": "a", "wakes_at": None}),
    (e.CompensationCompleted("a"), {}),
    (e.CompensationFailed("a", 1, "unknown", "lost", AT), {"wakes_at": AT}),
    (e.CompensationSkipped("a", "ada", "by hand"), {}),
    (e.SagaPaused("ada", "lunch"), {"paused": True, "wakes_at": NOT_BY_ITSELF}),
    (e.SagaResumed("ada", "back"), {"paused": False, "wakes_at": None}),
    (e.RetryOrdered("ada", "now", AT), {"wakes_at": None}),
    (e.InputReplaced("a", {}, "ada", "a typo"), {}),
    (
        e.SagaMigrated("plan-2", ABC, "ada", "a new version", {"b": "z"}, "z"),
        {"name": "order", "plan_id": "plan-2", "current_step": "z", "wakes_at": None},
    ),
    (
        e.SagaReopened("IN_PROGRESS", "ada", "again", AT),
        {"status": "IN_PROGRESS", "owner": None, "error": None, "paused": False, "wakes_at": None},
    ),
    (
        e.SagaReopened("COMPENSATING", "ada", "again", AT, "no"),
        {"status": "COMPENSATING", "owner": None, "error": "no", "paused": False, "wakes_at": None},
    ),
    (e.SagaResolved("COMPENSATED", "ada", "by hand"), {"status": "COMPENSATED", "paused": False}),
    (e.SagaCompleted(), {"status": "COMPLETED", "current_step": None}),
    (e.SagaCompensated(), {"status": "COMPENSATED", "current_step": None}),
    (e.SagaFailed("why"), {"status": "FAILED", "error": "why"}),
]


@pytest.mark.parametrize(("event", "columns"), COLUMNS)
def test_an_event_of_a_saga_sets_these_columns(event: e.SagaEvent, columns: dict[str, Any]) -> None:
    """And each of them the time of the last change; with an error, whether there is one."""
    also = {"has_error": columns["error"] is not None} if "error" in columns else {}
    assert saga_view.change(Recorded(SAGA_ID, SAGA, 1, event, AT)) == {**columns, **also, "updated_at": AT}


def test_every_event_of_a_saga_has_its_columns() -> None:
    """A new event says what it sets, too."""
    assert {type(event) for event, _ in COLUMNS} == set(get_args(e.SagaEvent))


def test_the_first_event_fills_every_column_that_must_be_filled() -> None:
    """The row can be made from it alone."""
    row = saga_view.fold(recorded([e.SagaStarted("order", "plan-1", {}, "w1")]))
    assert row is not None
    assert {"saga_id", *row} == {column.name for column in sagas.columns}


def test_a_started_saga_shows_where_it_is() -> None:
    """Its step, its owner, and when it was touched last."""
    row = saga_view.fold(recorded([e.SagaStarted("order", "plan-1", {}, "w1"), e.StepStarted("a", 1)]))
    assert row is not None
    assert (row["current_step"], row["created_at"], row["updated_at"]) == ("a", AT, AT + timedelta(seconds=1))


def assert_the_row_says_what_the_state_says(log: list[e.SagaEvent]) -> None:
    """After every event: status, owner, plan, pause, parent and error are those of the fold."""
    for length in range(1, len(log) + 1):
        row = saga_view.fold(recorded(log)[:length])
        state = fold(SagaState(SAGA_ID, ABC), log[:length])
        assert row is not None
        assert (row["status"], row["owner"], row["plan_id"]) == (state.status, state.owner, state.plan_id)
        assert (row["error"], row["parent"]) == (state.error, state.parent)
        assert row["paused"] is (state.paused is not None)


@pytest.mark.parametrize("outcome", [Completed(1), Rejected("no"), Unavailable("busy"), Unknown("lost")])
@pytest.mark.parametrize("step", ["a", "c"])
def test_the_row_says_what_the_state_says(step: str, outcome: Outcome) -> None:
    """All along a saga's life."""
    assert_the_row_says_what_the_state_says(drive(ABC, failing(step, outcome)).log)


BY_ADA = ("ada", "because")
STUCK = undo("a", Rejected("no"))
ORDERED: dict[str, list[Fact]] = {
    "paused, taken over, resumed": [Pause(*BY_ADA), OwnerGone("w2"), Resume(*BY_ADA)],
    "paused, cancelled": [Pause(*BY_ADA), Cancel(*BY_ADA), action("b", Rejected("no"))],
    "failed while paused": [Pause(*BY_ADA), action("b", Rejected("no")), Resume(*BY_ADA)],
    "could not go on, and did": [CannotGoOn("gone"), Retry(*BY_ADA), OwnerGone("w2"), action("b", Rejected("no"))],
    "stuck while paused": [Pause(*BY_ADA), CannotGoOn("gone"), Retry(*BY_ADA), OwnerGone("w2")],
    "its compensation was stuck": [action("b", Rejected("full")), STUCK, Retry(*BY_ADA), OwnerGone("w2")],
    "set right by hand": [action("b", Rejected("full")), STUCK, Resolve(*BY_ADA)],
    "done, and undone with its parent": [
        *(action("b", Completed()), action("c", Completed()), Revoke("saga-0", "it aborted"), OwnerGone("w2")),
        *(undo(step, Completed()) for step in "cba"),
    ],
}


@pytest.mark.parametrize("facts", ORDERED.values(), ids=ORDERED.keys())
@pytest.mark.parametrize("parent", [None, "saga-0"])
def test_it_does_so_too_when_somebody_gives_commands(parent: str | None, facts: list[Fact]) -> None:
    """Pauses, cancels, what was FAILED and goes on, what was set right by hand, what is undone after its end."""
    log = [e.SagaStarted("order", "plan-1", {}, "w1", parent=parent), *done("a"), e.StepStarted("b", 1)]
    story = given(*log)
    for fact in facts:
        log += story.when(fact).decided
        assert story.decided, f"{fact} changes something"
    assert_the_row_says_what_the_state_says(log)


def test_a_saga_that_waits_for_its_time_is_pending_until_it_begins() -> None:
    """Although a worker has it."""
    assert_the_row_says_what_the_state_says(
        [e.SagaStarted("order", "plan-1", {}, "w1", starts_at=LATER), e.SagaTakenOver("w2", "w1"), e.SagaBegan()]
    )


@for_all(st.integers(0, 20), st.sampled_from([Completed(1), Rejected("no"), Unavailable("busy"), Unknown("lost")]))
def test_the_row_does_not_depend_on_how_the_events_were_batched(cut: int, outcome: Outcome) -> None:
    """Cut the log anywhere: the columns of the parts, one after the other, are those of the whole."""
    whole = recorded(drive(ABC, failing("c", outcome)).log)
    first, rest = saga_view.fold(whole[:cut]), saga_view.fold(whole[cut:])
    assert first is not None
    assert rest is not None
    assert {**first, **rest} == saga_view.fold(whole)


@for_all(sequences())
def test_a_saga_in_sequence_that_can_go_on_is_due(loop: Loop) -> None:
    """Its row says so, whatever has happened to it: otherwise it would be taken over last."""
    row = saga_view.fold(recorded(loop.log))
    assert row is not None
    assert only_waits(loop.state, loop.now) or is_due(dict(row), loop.now)


@for_all(sequences())
def test_a_saga_that_only_waits_would_do_nothing_now(loop: Loop) -> None:
    """Another worker that takes it over makes no call, and begins none: it needs no capacity."""
    if only_waits(loop.state, loop.now) and not loop.state.status.ended:
        events = decide(loop.state, OwnerGone("w-next"), loop.now)
        assert [type(event) for event in events] == [e.SagaTakenOver]


# ── The view of tags ─────────────────────────────────────────────────────────────────────────────────────


def test_each_tag_of_a_saga_is_a_row() -> None:
    """With the instant of its start, by which sagas are listed."""
    started = e.SagaStarted("order", "plan-1", {}, "w1", {"customer": "7", "shop": "Köln"})
    assert tag_view.rows(Recorded(SAGA_ID, SAGA, 1, started, AT)) == [
        {"saga_id": SAGA_ID, "name": "customer", "value": "7", "created_at": AT},
        {"saga_id": SAGA_ID, "name": "shop", "value": "Köln", "created_at": AT},
    ]


def test_a_saga_without_tags_has_no_rows() -> None:
    """And no event after its start adds any."""
    events = [event for event, _ in COLUMNS if not isinstance(event, e.SagaStarted)]
    assert tag_view.added([Recorded(SAGA_ID, SAGA, 1, event, AT) for event in (STARTED, *events)]) == []
