"""A schedule: the times of its rule, across changes of the clock, and what becomes of times that were missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import pytest

from saga_es import App, DefinitionError, Every, Saga
from saga_es.core.schedules import Standing
from saga_es.definition.schedules import by_name
from saga_es.runtime.schedules import AT_ONCE, Due, due_of

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
report = Saga("report")


def times(cron: str, tz: str, after: str, many: int) -> list[str]:
    """The next times of a rule, in UTC."""
    found = islice(Every(cron, report, tz=tz).times(datetime.fromisoformat(after)), many)
    return [at.strftime("%m-%d %H:%M") for at in found]


def due(missed: str, since: timedelta, cron: str = "* * * * *", at_most: int = 100) -> Due:
    """What is due now of a schedule that was dealt with so long ago."""
    stood = NOW - since
    every = Every(cron, report, missed=missed, at_most=at_most)  # type: ignore[arg-type]
    return due_of(every, Standing(every.rule, stood, stood), NOW)


def minute(ago: int) -> datetime:
    """The full minute so many minutes ago."""
    return NOW.replace(second=0) - timedelta(minutes=ago)


def minutes(*ago: int) -> tuple[datetime, ...]:
    """The full minutes so many minutes ago."""
    return tuple(map(minute, ago))


# ── The rule ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_rule_is_read_in_its_time_zone() -> None:
    """Three in the morning in Tokyo is six in the evening in UTC, all year."""
    assert times("0 3 * * *", "Asia/Tokyo", "2026-03-28T20:00Z", 2) == ["03-29 18:00", "03-30 18:00"]


def test_a_time_that_the_spring_leaves_out_comes_right_after_the_gap() -> None:
    """In Berlin, 2:30 does not exist on 29 March 2026: the clock goes from 2:00 to 3:00, which is 1:00 UTC."""
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00Z", 3) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_two_times_in_the_gap_are_one() -> None:
    """Both come right after it, and one instant is one time; a time of its own there is the same."""
    assert times("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00Z", 3) == [
        "03-29 01:00",
        "03-29 01:30",
        "03-30 00:00",
    ]


def test_a_time_that_the_autumn_has_twice_comes_once_at_the_first() -> None:
    """In Berlin, 2:30 is there twice on 25 October 2026: at 0:30 and at 1:30 UTC."""
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2) == ["10-25 00:30", "10-26 01:30"]


def test_from_between_the_two_passages_the_first_does_not_come_again() -> None:
    """A worker that looks then sees the next day's time, not one that has passed."""
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10Z", 1) == ["10-26 01:30"]


def test_a_rule_for_every_hour_follows_the_time_that_elapses() -> None:
    """With a star for the hour there is no gap, and both passages of an hour count."""
    assert times("0 * * * *", "Europe/Berlin", "2026-03-29T00:30Z", 2) == ["03-29 01:00", "03-29 02:00"]
    assert times("0 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", 3) == ["10-25 00:00", "10-25 01:00", "10-25 02:00"]


@pytest.mark.parametrize("tz", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "0,30 1-3 * * *", "*/30 1-3 * * *", "15 */2 * * *", "*/20 2 * * *"])
def test_the_times_are_the_same_from_wherever_one_looks(cron: str, tz: str) -> None:
    """Each worker looks from where it stands, and all must see the same times: on each day the clock changes, too."""
    every = Every(cron, report, tz=tz)
    for date in ("03-08", "03-29", "04-05", "10-04", "10-25", "11-01"):
        begin = datetime.fromisoformat(f"2026-{date}T00:00Z") - timedelta(hours=14)
        end = begin + timedelta(hours=40)
        whole = list(takewhile(lambda at: at <= end, every.times(begin)))  # noqa: B023 (used at once)
        assert whole == sorted(set(whole))
        for hours in range(40):
            after = begin + timedelta(hours=hours, minutes=10, seconds=3)
            seen = list(takewhile(lambda at: at <= end, every.times(after)))  # noqa: B023 (used at once)
            assert seen == [at for at in whole if at > after], after


def test_a_day_that_never_comes_is_no_time() -> None:
    """The rule is well formed; the schedule starts nothing."""
    assert times("0 0 31 2 1", "UTC", "2026-01-01T00:00Z", 1) != []  # Mondays: with both days given, either counts
    with pytest.raises(DefinitionError, match="no rule of cron"):
        Every("0 0 31 2 *", report)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"cron": "0 3 * *"}, "has not five fields"),
        ({"cron": "0 0 3 * * *"}, "has not five fields"),
        ({"cron": "61 3 * * *"}, "is no rule of cron: Bad minute"),
        ({"tz": "Asia/Tokio"}, "there is no time zone 'Asia/Tokio'"),
        ({"tz": "../etc/passwd"}, "there is no time zone"),
        ({"missed": "some"}, "missed is 'skip', 'last' or 'all'"),
        ({"at_most": 0}, "at_most is at least 1"),
        ({"name": ""}, "1 to"),
    ],
)
def test_a_mistake_is_found_where_it_is_written(wrong: dict[str, Any], why: str) -> None:
    """Not at three in the morning."""
    options: dict[str, Any] = {"cron": "0 3 * * *", "saga": report, **wrong}
    with pytest.raises(DefinitionError, match=why):
        Every(**options)


def test_two_schedules_of_one_saga_have_names_of_their_own() -> None:
    """Or one would be taken for the other."""
    schedules = [Every("0 3 * * *", report), Every("0 4 * * *", report)]
    with pytest.raises(DefinitionError, match="two schedules named 'report'"):
        by_name(schedules)
    assert set(by_name([schedules[0], Every("0 4 * * *", report, name="late")])) == {"report", "late"}


def test_the_saga_of_a_schedule_is_one_of_the_application() -> None:
    """Whether it is named among the sagas or not."""
    schedules = [Every("0 3 * * *", report)]
    assert list(App(schedules=schedules).definitions) == list(App(sagas=[report], schedules=schedules).definitions)


# ── What is due ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("missed", ["skip", "last", "all"])
def test_a_time_that_has_just_come_is_kept_whatever_is_said_of_missed_ones(missed: str) -> None:
    """A worker that is some seconds late has missed nothing."""
    assert due(missed, timedelta(seconds=40)) == Due(minutes(0))


def test_missed_times_are_skipped() -> None:
    """And the log says from when to when."""
    assert due("skip", timedelta(hours=2), "0 * * * *") == Due(minutes(0), (minute(60), minute(60)))
    assert due("skip", timedelta(hours=3), "30 * * * *") == Due((), (minute(150), minute(30)))


def test_of_missed_times_the_last_is_made_up_for() -> None:
    """Unless a later one is due already."""
    assert due("last", timedelta(hours=3), "30 * * * *") == Due(minutes(30), (minute(150), minute(90)))
    assert due("last", timedelta(hours=1), "30 * * * *") == Due(minutes(30))
    assert due("last", timedelta(hours=3), "0 * * * *") == Due(minutes(0), (minute(120), minute(60)))


def test_all_missed_times_are_made_up_for_up_to_a_bound() -> None:
    """The latest ones; some at a time."""
    assert due("all", timedelta(hours=3), "0 * * * *") == Due(minutes(120, 60, 0))
    assert due("all", timedelta(hours=3), "0 * * * *", at_most=1) == Due(minutes(60, 0), (minute(120), minute(120)))
    many = due("all", timedelta(hours=5))
    assert (len(many.starts), many.is_cut) == (AT_ONCE, True)
    assert (many.starts[0], many.missed) == (*minutes(100), (minute(299), minute(101)))


def test_years_without_a_worker_are_not_counted_time_by_time() -> None:
    """Ten years of minutes are five million; the answer is there at once."""
    found = due("all", timedelta(days=3650), at_most=3)
    assert found.starts == minutes(3, 2, 1, 0)


def test_what_was_dealt_with_is_not_due_again() -> None:
    """Nor what came before the schedule began."""
    every = Every("* * * * *", report, missed="all")
    begun = Standing(every.rule, since=NOW - timedelta(minutes=3), upto=NOW - timedelta(days=9))
    assert due_of(every, begun, NOW).starts == minutes(2, 1, 0)
    assert due_of(every, Standing(every.rule, NOW, NOW), NOW) == Due()
