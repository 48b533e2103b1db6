"""The figures are those of the log, whoever counted them, and however the log was cut into pieces."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.access import Scope, Starter
from saga_es.store.admin import migrate
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.queries.figures import figures, since
from saga_es.store.views import building
from saga_es.store.views import figures as counting
from saga_es.store.views.catch_up import CatchUp, Step
from saga_es.store.views.comparing import compare
from saga_es.store.views.figures import Figures, figures_view, saga_figures
from saga_es.store.views.kinds import Views
from tests.conftest import AT, Store

STEPS = {"trip": ["car", "hotel"]}
LATER = timedelta(milliseconds=100)


def life(saga_id: str, number: int) -> Iterator[Draft]:
    """The appends of a saga, 100 ms apart: all that lets its figures differ, for some numbers."""
    starter = Starter("ann", "acme") if number % 3 == 0 else None
    appends: list[tuple[e.SagaEvent, ...]] = [
        (e.SagaStarted("trip", "plan-1", {}, "w-1", by=starter), e.StepStarted("car", 1)),
        (e.StepFailed("car", 1, "unavailable", "503", AT),),
        (e.StepStarted("car", 2),),
        (e.StepCompleted("car"), e.StepStarted("hotel", 1)),
    ]
    match number % 4:
        case 0:
            appends += [(e.StepCompleted("hotel"), e.SagaCompleted())]
        case 1:
            failed = e.StepFailed("hotel", 1, "rejected", "409")
            appends += [(failed, e.SagaAborted("hotel", "409"), e.CompensationStarted("car", 1))]
            appends += [(e.CompensationCompleted("car"), e.SagaCompensated())]
        case 2:  # asked about by a probe, given up, reopened, and done
            appends += [(e.StepFailed("hotel", 1, "unknown", "lost", AT, last=True),), (e.ProbeStarted("hotel", 1),)]
            appends += [(e.ProbeAnswered("hotel"), e.StepFailed("hotel", 1, "unknown", "lost"), e.SagaFailed("lost"))]
            appends += [(e.SagaReopened("IN_PROGRESS", "ann", "again", AT), e.StepStarted("hotel", 2))]
            appends += [(e.StepCompleted("hotel"), e.SagaCompleted())]
        case _:
            appends += [(e.SagaPaused("ann", "lunch"),)]
    version = 0
    for i, events in enumerate(appends):
        yield Draft(saga_id, SAGA, version, events, AT + i * LATER)
        version += len(events)


@pytest.fixture
def counted(store: Store) -> Store:
    """A log of twelve sagas, interleaved, and the empty view."""
    migrate.upgrade(store.database, store.log, Views([figures_view()]))
    lives = [life(f"s-{number}", number) for number in range(12)]
    while drafts := [draft for one in lives for draft in islice(one, 1)]:
        store.write(*drafts)
    return store


def rows(store: Store) -> list[tuple[object, ...]]:
    with store.database.reading() as connection:
        return sorted(tuple(row) for row in connection.execute(sa.select(saga_figures)))


def caught_up(store: Store, *views: Figures, limit: int = 1000) -> list[tuple[object, ...]]:
    """The rows, once these views, each of another process, have taken up all that there is, in turn."""
    followers = [CatchUp(store.database, store.log, view) for view in views]
    while Step.ADVANCED in [follower.step(limit) for follower in followers]:
        pass
    return rows(store)


def test_sagas_and_steps_are_counted_by_outcome(counted: Store) -> None:
    """A call that is tried again, one that is given up, and one that is undone are three things."""
    caught_up(counted, figures_view())
    (found,) = figures(counted.database, STEPS, since("hour", AT))
    assert (found.started, found.completed, found.compensated, found.failed) == (12, 6, 3, 3)
    car, hotel = found.steps
    assert (car.completed, car.retried, car.failed, car.undone) == (12, 12, 0, 3)
    assert (hotel.completed, hotel.retried, hotel.failed, hotel.calls) == (6, 3, 6, 15)
    assert found.success_rate == 0.5


def test_figures_are_told_of_what_one_may_see(counted: Store) -> None:
    """Of a tenant, of some definitions; and to who sees only its own sagas nothing is told."""
    caught_up(counted, figures_view())
    hour = since("hour", AT)
    of_acme, of_none = (figures(counted.database, STEPS, hour, Scope(tenant)) for tenant in ("acme", ""))
    assert [found.started for found in of_acme + of_none] == [4, 8]
    assert figures(counted.database, STEPS, hour, Scope(sagas=frozenset(["order"]))) == []
    assert figures(counted.database, STEPS, hour, Scope(by="ann")) == []


def test_what_is_older_is_not_counted(counted: Store) -> None:
    """The span begins with the quarter of an hour in which it begins."""
    caught_up(counted, figures_view())
    late = AT + timedelta(hours=2)
    assert [found.started for found in figures(counted.database, STEPS, since("hour", late))] == [0]
    assert [found.started for found in figures(counted.database, STEPS, since("day", late))] == [12]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_log_may_be_cut_anywhere(counted: Store, limit: int) -> None:
    """Two processes that count in turn, each of which has not seen what the other counted, count as one does."""
    assert caught_up(counted, figures_view(), figures_view(), limit=limit) == expected(counted)


def test_what_was_forgotten_is_read_again(counted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few sagas are remembered."""
    wanted = expected(counted)
    monkeypatch.setattr(counting, "MOST_SAGAS", 1)
    assert caught_up(counted, figures_view(), limit=3) == wanted


def expected(store: Store) -> list[tuple[object, ...]]:
    """The rows by one replay of the whole log, after which the view begins anew."""
    store.make(figures_view())
    found = rows(store)
    with store.database.writing() as connection:
        connection.execute(sa.delete(saga_figures))
        connection.execute(sa.text("UPDATE saga_checkpoints SET position = 0"))
    assert sum(int(str(row[-1])) for row in found) == 66
    return found


def test_a_replay_makes_the_same(counted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one in small pieces, and the comparison that changes nothing finds no difference."""
    wanted = caught_up(counted, figures_view(), limit=7)
    (comparison,) = compare(counted.database, counted.log, [figures_view()], lambda *_: None)
    assert (comparison.is_equal, comparison.rows) == (True, len(wanted))
    monkeypatch.setattr(building, "CHUNK", 7)
    monkeypatch.setattr(building, "NEAR", 3)
    counted.make(figures_view())
    assert rows(counted) == wanted
