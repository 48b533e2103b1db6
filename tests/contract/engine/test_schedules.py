"""Schedules on each database: one start for each time over all workers, pauses, commands, and what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from saga_es import App, Every, Saga, open_engine
from saga_es.core.schedules import (
    ScheduleAdvanced,
    ScheduleDefined,
    SchedulePaused,
    ScheduleResumed,
    ScheduleTriggered,
)
from saga_es.core.state import SagaStatus
from saga_es.errors import StoreUnavailable
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.ids import schedule_id
from saga_es.runtime.intake.starts import Starts
from saga_es.runtime.schedules import ScheduleRefused, Schedules
from saga_es.store.drivers.columns import key_text
from saga_es.store.log.codec import SAGA, SCHEDULE
from saga_es.store.views.kinds import View, Views
from saga_es.store.writer import Writer
from saga_es.testing.clock import VirtualClock
from tests.conftest import TIMEOUT_S, Store, note_draft
from tests.support.trips import until

NIGHT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
WHY = ("ann", "inventory")


def report() -> Saga:
    """A saga of one step."""
    saga = Saga("report")

    @saga.step(compensation=None)
    def write(input: dict[str, Any]) -> Any:  # noqa: A002 (the name a step asks for)
        return input

    return saga


@dataclass
class Office:
    """A store, and those who keep its schedules, in virtual time."""

    store: Store

    def keeper(self, *schedules: Every, writer: Writer | None = None) -> Schedules:
        """What a worker has to keep them."""
        store = replace(self.store, writer=writer or self.store.writer)
        starts = Starts(store, [every.saga for every in schedules], VirtualClock())
        starts.record_plans()
        return Schedules(store, starts, schedules)

    def history(self, name: str = "report") -> list[Any]:
        """The events of a schedule."""
        return [recorded.event for recorded in self.store.log.read(schedule_id(name))]

    def started(self) -> list[str]:
        """For which times sagas are there, in order; each is in the log once."""
        entries = [entry for entry in self.store.log.walk() if entry.category == SAGA]
        tags = [self.store.log.decode(entry).event.tags for entry in entries]
        return sorted(found.get("due_at", "by hand")[5:16] for found in tags)


@pytest.fixture
def office(store: Store) -> Office:
    """An office on each database."""
    return Office(store)


def nightly(missed: Any = "last", **options: Any) -> Every:
    """A report, at three in the morning."""
    return Every("0 3 * * *", report(), {"n": 1}, missed=missed, **options)


def test_a_schedule_begins_when_a_worker_first_keeps_it_and_starts_its_saga_at_each_time(office: Office) -> None:
    """What came before is nothing to it; the saga has the input, and tags that say which schedule and time it is of."""
    every = nightly(tags={"kind": "nightly"})
    keeper = office.keeper(every)
    assert keeper.keep(NIGHT - timedelta(hours=1)) == []
    assert keeper.next_in_s(NIGHT - timedelta(seconds=30)) == 30
    assert keeper.keep(NIGHT - timedelta(seconds=1)) == []
    (saga_id,) = keeper.keep(NIGHT + timedelta(seconds=0.1))
    (first,) = office.store.log.read(saga_id)
    assert first.event.tags == {"kind": "nightly", "schedule": "report", "due_at": "2026-03-01T03:00:00Z"}
    assert (first.event.input, first.event.worker) == ({"n": 1}, None)
    assert keeper.keep(NIGHT + timedelta(seconds=5)) == []
    assert len(keeper.keep(NIGHT + timedelta(days=1))) == 1
    assert office.started() == ["03-01T03:00", "03-02T03:00"]
    assert [type(event) for event in office.history()] == [ScheduleDefined, ScheduleAdvanced, ScheduleAdvanced]


def test_any_number_of_workers_start_one_saga_for_each_time(office: Office) -> None:
    """Also when all of them look at the same moment."""
    writers = [Writer(office.store.database, office.store.log, office.store.views) for _ in range(4)]
    keepers = [office.keeper(nightly(), writer=writer) for writer in writers]
    started: list[str] = []
    for day in range(6):
        together = threading.Barrier(len(keepers))

        def look(number: int, day: int = day, together: threading.Barrier = together) -> None:
            keeper, now = keepers[number], NIGHT + timedelta(days=day, microseconds=number)
            together.wait(TIMEOUT_S)
            while keeper.next_in_s(now) == 0:
                started.extend(keeper.keep(now))

        threads = [threading.Thread(target=look, args=[number]) for number in range(len(keepers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert office.started() == [f"03-0{day}T03:00" for day in range(2, 7)]  # on the first day it was defined
    assert len(started) == len(set(started)) == 5


@pytest.mark.parametrize(
    ("missed", "days"),
    [("skip", []), ("last", ["03-04T03:00"]), ("all", ["03-02T03:00", "03-03T03:00", "03-04T03:00"])],
)
def test_times_at_which_no_worker_was_there_are_made_up_for_as_the_schedule_says(
    office: Office, missed: str, days: list[str]
) -> None:
    """Once: the next worker finds them dealt with."""
    office.keeper(nightly(missed)).keep(NIGHT + timedelta(hours=1))
    later = NIGHT + timedelta(days=3, hours=1)
    office.keeper(nightly(missed)).keep(later)
    office.keeper(nightly(missed)).keep(later)
    assert office.started() == days
    last = office.history()[-1]
    assert (last.missed_from is None) == (missed == "all")


def test_many_missed_times_are_made_up_for_some_at_a_time(office: Office) -> None:
    """Each start in the transaction that says so, and none twice."""
    every = Every("* * * * *", report(), missed="all", at_most=50)
    keeper = office.keeper(every)
    keeper.keep(NIGHT)
    now = NIGHT + timedelta(minutes=70)
    counts = []
    keeper = office.keeper(every)
    while keeper.next_in_s(now) == 0:
        counts.append(len(keeper.keep(now)))
    assert counts == [20, 20, 11]  # fifty that were missed, and the one that has just come
    assert len(set(office.started())) == 51


def test_several_drafts_are_written_whole_or_not_at_all(store: Store) -> None:
    """A stream that has moved on keeps the others from being written; and the rows of a whole are found again."""
    assert store.write(note_draft("taken", "first"))
    whole = [store.writer.prepare(note_draft(stream_id, "second")) for stream_id in ("free", "taken")]
    assert not store.writer.write_whole(whole)
    assert store.log.read("free") == []
    assert store.writer.write_whole(whole[:1])
    assert store.writer.write_whole(whole[:1])  # the answer was lost: it stands
    assert len(store.log.read("free")) == 1


def test_what_a_failed_transaction_was_to_start_is_started_by_the_next(office: Office) -> None:
    """Nothing of it is there; the time is not lost."""

    class Dying(Writer):
        dies = False

        def _transact_once(self, batch: Any) -> None:
            if self.dies:
                raise StoreUnavailable("the power was cut")
            super()._transact_once(batch)

    writer = Dying(office.store.database, office.store.log, office.store.views)
    keeper = office.keeper(nightly(), writer=writer)
    keeper.keep(NIGHT - timedelta(hours=1))
    writer.dies = True
    with pytest.raises(StoreUnavailable):
        keeper.keep(NIGHT)
    assert office.started() == []
    assert keeper.next_in_s(NIGHT) == 0
    assert len(office.keeper(nightly()).keep(NIGHT + timedelta(seconds=9))) == 1
    writer.dies = False
    assert keeper.keep(NIGHT + timedelta(seconds=9)) == []


def test_a_commit_whose_answer_was_lost_is_no_second_start(office: Office) -> None:
    """The stream says that the time was dealt with."""

    class Forgetful(Writer):
        def _transact_once(self, batch: Any) -> None:
            super()._transact_once(batch)
            if len(batch) > 1:
                raise StoreUnavailable("the answer was lost") from OperationalError("", {}, Exception())

    writer = Forgetful(office.store.database, office.store.log, office.store.views)
    keeper = office.keeper(nightly(), writer=writer)
    keeper.keep(NIGHT - timedelta(hours=1))
    with pytest.raises(StoreUnavailable):
        keeper.keep(NIGHT)
    assert keeper.keep(NIGHT) == []
    assert office.started() == ["03-01T03:00"]


def test_a_saga_that_is_there_already_is_no_second_start_though_the_schedule_forgot(office: Office) -> None:
    """Its id follows from the schedule and the time: two rules of a deployment share the times that they share."""
    old, new = nightly(), Every("0 3,4 * * *", report(), {"n": 2})
    before, after = office.keeper(old), office.keeper(new)
    before.keep(NIGHT - timedelta(hours=1))
    assert after.keep(NIGHT - timedelta(minutes=50)) == []
    assert len(before.keep(NIGHT)) == 1
    assert after.keep(NIGHT + timedelta(seconds=1)) == []
    assert before.keep(NIGHT + timedelta(seconds=2)) == []
    assert len(after.keep(NIGHT + timedelta(hours=1))) == 1
    assert office.started() == ["03-01T03:00", "03-01T04:00"]


def test_a_new_rule_does_not_count_the_time_before_it(office: Office) -> None:
    """Times that it would have had were no times."""
    office.keeper(nightly("all")).keep(NIGHT - timedelta(hours=1))
    office.keeper(nightly("all")).keep(NIGHT)
    office.keeper(Every("0 * * * *", report(), missed="all")).keep(NIGHT + timedelta(hours=5, minutes=30))
    assert office.started() == ["03-01T03:00"]
    office.keeper(Every("0 * * * *", report(), missed="all")).keep(NIGHT + timedelta(hours=6, minutes=30))
    assert office.started() == ["03-01T03:00", "03-01T09:00"]


# ── People ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_paused_schedule_keeps_no_time_and_makes_up_for_none(office: Office) -> None:
    """The log says who paused and resumed it, and why."""
    every = nightly("all")
    keeper = office.keeper(every)
    keeper.keep(NIGHT - timedelta(hours=1))
    office.keeper(every).pause("report", *WHY, NIGHT - timedelta(minutes=1))
    assert keeper.keep(NIGHT) == []
    assert keeper.keep(NIGHT + timedelta(days=1)) == []
    assert office.keeper(every).rows(NIGHT)[0].next_at is None
    with pytest.raises(ScheduleRefused, match="paused already"):
        office.keeper(every).pause("report", *WHY, NIGHT)
    office.keeper(every).resume("report", *WHY, NIGHT + timedelta(days=1, hours=1))
    with pytest.raises(ScheduleRefused, match="not paused"):
        office.keeper(every).resume("report", *WHY, NIGHT)
    assert len(keeper.keep(NIGHT + timedelta(days=2))) == 1
    assert office.started() == ["03-03T03:00"]
    kinds = [type(event) for event in office.history()]
    assert kinds == [ScheduleDefined, SchedulePaused, ScheduleResumed, ScheduleAdvanced]
    assert (office.history()[1].actor, office.history()[1].reason) == WHY


def test_a_schedule_that_no_worker_has_kept_yet_can_be_paused(office: Office) -> None:
    """So that it never begins by itself."""
    office.keeper(nightly()).pause("report", *WHY, NIGHT - timedelta(hours=1))
    assert office.keeper(nightly()).keep(NIGHT) == []


def test_a_schedule_is_triggered_beside_its_times(office: Office) -> None:
    """Each time anew, also while it is paused; its times stay as they are."""
    every = Every("0 3 * * *", report(), lambda at: {"of": at.isoformat()}, tz="Asia/Tokyo")
    keeper = office.keeper(every)
    keeper.pause("report", *WHY, NIGHT)
    saga_ids = {keeper.trigger("report", *WHY, NIGHT), keeper.trigger("report", *WHY, NIGHT)}
    keeper.resume("report", *WHY, NIGHT)
    assert len(saga_ids) == 2
    (first,) = office.store.log.read(min(saga_ids))
    assert (first.event.tags, first.event.input) == ({"schedule": "report"}, {"of": "2026-03-01T12:00:00+09:00"})
    triggered = [event for event in office.history() if isinstance(event, ScheduleTriggered)]
    assert {event.saga_id for event in triggered} == saga_ids
    assert len(keeper.keep(NIGHT.replace(hour=18))) == 1
    (row,) = keeper.rows(NIGHT.replace(hour=19))
    assert (row.next_at, row.last is not None and row.last.due_at) == (
        NIGHT.replace(day=2, hour=18),
        NIGHT.replace(hour=18),
    )


# ── What goes wrong ──────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_whose_input_cannot_be_made_holds_up_no_other_and_loses_no_time(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again each minute, and says why; once the code is right, the time is one that was missed."""

    def wrong(_at: datetime) -> dict[str, Any]:
        raise LookupError("no such table")

    broken = Every("0 3 * * *", report(), wrong, name="broken")
    keeper = office.keeper(broken, nightly())
    keeper.keep(NIGHT - timedelta(hours=1))
    assert len(keeper.keep(NIGHT)) == 1
    assert "no such table" in caplog.text
    assert keeper.next_in_s(NIGHT) == 60
    keeper.keep(NIGHT + timedelta(seconds=60))
    right = Every("0 3 * * *", report(), {}, name="broken")
    assert len(office.keeper(right).keep(NIGHT + timedelta(hours=1))) == 1


refusing = sa.Table("refusing", sa.MetaData(), sa.Column("stream_id", key_text(64), primary_key=True))


def test_a_view_that_refuses_the_start_holds_up_no_schedule(office: Office) -> None:
    """The saga and the schedule go on; the view is behind."""

    def refuse(_recorded: object) -> dict[str, Any]:
        raise ValueError("not for me")

    views = Views([View(refusing, SCHEDULE, refuse)])
    office.store.make(*views)
    keeper = office.keeper(nightly(), writer=Writer(office.store.database, office.store.log, views))
    keeper.keep(NIGHT - timedelta(hours=1))
    assert len(keeper.keep(NIGHT)) == 1


@contextmanager
def at_work(url: str, every: Every) -> Iterator[Node]:
    """A whole process, with a schedule."""
    node = Node(Settings.load({"database_url": url}), App(schedules=[every]))
    node.open()
    try:
        yield node
    finally:
        node.close()


def test_a_worker_keeps_the_schedules_of_its_application(office: Office, database_url: str) -> None:
    """It starts what was missed, and runs it."""
    office.keeper(nightly()).keep(datetime.now(UTC) - timedelta(days=3))
    with at_work(database_url, nightly()) as node:
        event, *_ = until(lambda: [event for event in office.history() if isinstance(event, ScheduleAdvanced)])
        (start,) = event.started
        assert node.engine.follow(start.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPLETED
        assert node.engine.follow(start.saga_id).result(TIMEOUT_S).results == {"write": {"n": 1}}


def test_an_engine_keeps_the_schedules_that_it_is_opened_with(office: Office, database_url: str) -> None:
    """Without an application around it."""
    office.keeper(nightly()).keep(datetime.now(UTC) - timedelta(days=3))
    with open_engine(database_url, schedules=[nightly()]) as engine:
        event, *_ = until(lambda: [event for event in office.history() if isinstance(event, ScheduleAdvanced)])
        (start,) = event.started
        assert engine.follow(start.saga_id).result(TIMEOUT_S).status is SagaStatus.COMPLETED
