"""The timeline as data: from a saga's events to rows and marks, from moments to places, and to SVG."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_es.console import drawing
from saga_es.console.axis import FOLD, MODES, axis, span
from saga_es.console.timeline import Row, Timeline, timeline
from saga_es.core import events as e
from saga_es.core.evolve import fold
from saga_es.core.plan import Plan, RetryPolicy, Signal, StepPlan
from saga_es.core.state import SagaState

BEGIN = datetime(2026, 11, 29, 14, 2, 10, tzinfo=UTC)
PLAN = Plan(
    "order",
    (
        StepPlan(name="seat", title="Seat", retry=RetryPolicy(attempts=30)),
        StepPlan(name="each", title="Each", over="input[list]"),
        StepPlan(name="approval", title="Approval", work=Signal(None)),
        StepPlan(name="letter", title="Letter", compensation=None),
    ),
)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def told(*events: tuple[float, e.SagaEvent], now: float | None = None) -> Timeline:
    """The timeline of a saga that these events happened to, after its start."""
    past = [(BEGIN, e.SagaStarted("order", "p", {}, worker="w")), *((at(when), event) for when, event in events)]
    state = fold(SagaState("s", PLAN), [event for _, event in past])
    return timeline(state, past, None if now is None else at(now))


def kinds(row: Row) -> list[str]:
    return [mark.kind for mark in row.marks]


def row_of(rows: list[Row], step: str) -> Row:
    return next(row for row in rows if row.step == step)


# ── Marks ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_is_one_row_with_all_its_tries() -> None:
    """A failed try, the wait for the next, and the try that succeeds; later steps have no mark yet."""
    whole = told(
        (0, e.StepStarted("seat", 1)),
        (2, e.StepFailed("seat", 1, "unavailable", "HTTP 503", retry_at=at(5))),
        (5.1, e.StepStarted("seat", 2)),
        (6, e.StepCompleted("seat", "14C")),
        now=7,
    )
    row = whole.forward[0]
    assert kinds(row) == ["failed-try", "back-off", "ran"]
    assert (row.state, row.tries) == ("ok", 2)
    assert (row.marks[1].begin, row.marks[1].end) == (at(2), at(5.1))
    assert [row.state for row in whole.forward[1:]] == ["pending"] * 3
    assert whole.undo == []


def test_a_call_that_says_that_it_goes_on_has_its_last_words_beside_it() -> None:
    """While it runs; what a probe says stands nowhere."""
    whole = told(
        (0, e.StepStarted("seat", 1)),
        (10, e.StepProgressed("seat", 1, details={"done": 1})),
        (20, e.StepProgressed("seat", 1, details={"done": 2})),
        (25, e.StepProgressed("seat", 1, "probe", "asks")),
        now=30,
    )
    (mark,) = row_of(whole.forward, "seat").marks
    assert (mark.kind, mark.words) == ("running", '{"done":2}')


def test_a_try_that_is_planned_is_a_moment_of_the_axis() -> None:
    """The axis reaches to it."""
    whole = told(
        (0, e.StepStarted("seat", 1)), (2, e.StepFailed("seat", 1, "unavailable", "x", retry_at=at(60))), now=3
    )
    assert kinds(whole.forward[0]) == ["failed-try", "back-off", "planned"]
    assert (whole.forward[0].state, whole.end) == ("retry", at(60))


@pytest.mark.parametrize(("failure", "kind"), [("rejected", "failed"), ("unknown", "unknown")])
def test_a_failure_for_good_and_an_unknown_outcome_differ(failure: e.Failure, kind: str) -> None:
    """The one certainly did nothing, the other may have."""
    whole = told(
        (0, e.StepStarted("seat", 1)),
        (1, e.StepFailed("seat", 1, failure, "no")),
        (1, e.SagaAborted("seat", "no")),
        (1, e.SagaCompensated()),
    )
    assert kinds(whole.forward[0]) == [kind]
    assert whole.forward[0].marks[0].words == "no"
    assert [row.note for row in whole.forward[1:]] == ["not reached"] * 3


def test_the_undo_lane_begins_where_the_saga_aborts_and_names_what_is_to_come() -> None:
    """In the order of undoing; what waited has nothing to undo."""
    whole = told(
        (0, e.StepStarted("seat", 1)),
        (1, e.StepCompleted("seat")),
        (1, e.StepFannedOut("each", 2)),
        (1, e.StepStarted("each[0]", 1)),
        (1, e.StepStarted("each[1]", 1)),
        (2, e.StepCompleted("each[0]")),
        (2, e.StepCompleted("each[1]")),
        (2, e.WaitStarted("approval")),
        (3, e.SagaCancelled("ann", "why")),
        (4, e.CompensationStarted("each[1]", 1)),
        (5, e.CompensationFailed("each[1]", 1, "unavailable", "away", retry_at=at(9))),
        (9, e.CompensationStarted("each[1]", 2)),
        now=9.5,
    )
    assert whole.turned == at(3)
    assert [row.step for row in whole.undo] == ["each[1]", "each[0]", "seat"]
    assert kinds(whole.undo[0]) == ["failed-try", "back-off", "undoing"]
    assert whole.undo[2].note == "to be undone"


def test_many_elements_are_one_row_with_their_ends() -> None:
    """With the counts by state; few elements have rows of their own."""
    names = [f"each[{n}]" for n in range(20)]
    whole = told(
        (0, e.StepStarted("seat", 1)),
        (1, e.StepCompleted("seat")),
        (1, e.StepFannedOut("each", 20)),
        *((1.0, e.StepStarted(name, 1)) for name in names),
        *((2 + n / 10, e.StepCompleted(name)) for n, name in enumerate(names[:15])),
        (5, e.StepFailed("each[15]", 1, "unavailable", "x", retry_at=at(9))),
        now=6,
    )
    row = row_of(whole.forward, "each")
    assert (row.size, len(row.ends), row.state) == (20, 15, "retry")
    assert row.marks[0].words == "1 retrying, 4 called, 15 done"
    assert [row.step for row in whole.forward] == ["seat", "each", "approval", "letter"]


def test_of_many_tries_the_first_and_the_last_are_drawn() -> None:
    """The others are one stretch that says how many they are."""
    events: list[tuple[float, e.SagaEvent]] = []
    for n in range(25):
        events += [
            (2 * n, e.StepStarted("seat", n + 1)),
            (2 * n + 1, e.StepFailed("seat", n + 1, "unavailable", "x", retry_at=at(2 * n + 2))),
        ]
    row = told(*events, now=50).forward[0]
    assert kinds(row).count("failed-try") == 6
    (stretch,) = [mark for mark in row.marks if mark.kind == "many-tries"]
    assert stretch.words == "19 tries"


def test_a_pause_stands_across_the_rows() -> None:
    """Who, and from when to when; one that has not ended reaches to the present."""
    whole = told((0, e.StepStarted("seat", 1)), (1, e.SagaPaused("ann", "why")), now=8)
    assert whole.pauses == [(at(1), at(8), "ann: why")]


# ── The axis ─────────────────────────────────────────────────────────────────────────────────────────────


def test_three_days_with_two_seconds_of_work_show_the_two_seconds() -> None:
    """Idle time is folded to a fixed width; all other stretches share one scale."""
    day = 86_400.0
    moments = [at(second) for second in (0, 0.6, 0.9, day, day + 0.5, 3 * day, 3 * day + 0.6)]
    ruler = axis(moments, None, "folded")
    assert [fold.seconds for fold in ruler.folds] == [pytest.approx(day - 0.9), pytest.approx(2 * day - 0.5)]
    assert {round(fold.right - fold.left, 6) for fold in ruler.folds} == {FOLD}
    scales = {(part.right - part.left) / part.seconds for part in ruler.stretches if not part.is_folded}
    assert max(scales) == pytest.approx(min(scales))
    assert ruler.place(at(0.9)) > 30


def test_a_saga_that_did_one_thing_all_the_time_is_not_folded() -> None:
    """Otherwise there would be nothing to see."""
    ruler = axis([at(0), at(60)], None, "folded")
    assert (ruler.folds, ruler.place(at(30))) == ([], 50.0)


def test_the_last_seconds_before_the_present_are_never_folded() -> None:
    """However long nothing has happened."""
    ruler = axis([at(0), at(1), at(3600)], at(3600), "folded")
    assert [fold.end for fold in ruler.folds] == [at(3590)]


Moments = st.lists(st.floats(0, 1e7).map(at), min_size=1, max_size=40).map(sorted)


@given(Moments, st.sampled_from(MODES))
def test_an_axis_keeps_the_order_and_stays_within_its_bounds(moments: list[datetime], mode: str) -> None:
    """For any moments, in every mode; its stretches lie one after the other."""
    moments = sorted(set(moments))
    ruler = axis(moments, moments[-1], mode)  # type: ignore[arg-type]  # one of the modes
    places = [ruler.place(moment) for moment in moments]
    assert places == sorted(places)
    assert places[0] == pytest.approx(0, abs=1e-6)
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    assert len(ruler.folds) <= 6
    assert len(ruler.ticks) <= 12
    for one, other in zip(ruler.stretches, ruler.stretches[1:], strict=False):
        assert one.right == pytest.approx(other.left)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.24, "240 ms"), (1.9, "1.9 s"), (20, "20 s"), (100, "1 min 40 s"), (5640, "1 h 34 min"), (187_200, "2 d 4 h")],
)
def test_a_span_is_said_in_two_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


# ── SVG ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_is_svg_without_styles_and_escapes_what_it_says() -> None:
    """Well-formed, with places in per cent."""
    words = "</svg><script>alert(1)</script>"
    whole = told(
        (0, e.StepStarted("seat", 1)),
        (1, e.StepFailed("seat", 1, "rejected", words)),
        (1, e.SagaAborted("seat", words)),
        (2, e.SagaPaused("ann", words)),
        (3, e.SagaResumed("ann", words)),
        (4, e.SagaCompensated()),
    )
    ruler = axis(whole.moments, None, "folded")
    for row in whole.forward:
        drawn = drawing.draw(row, ruler, whole)
        root = ET.fromstring(drawn)  # noqa: S314 (made here)
        assert root.tag == "svg"
        assert not [found for found in root.iter() if "style" in found.attrib or found.tag in {"script", "style"}]
    assert "&lt;script&gt;" in drawing.draw(whole.forward[0], ruler, whole)


def test_a_matrix_is_one_path_a_state() -> None:
    """Above a thousand elements a cell stands for ten, and shows the worst of them."""
    states = ["ok"] * 12_000
    states[5] = "failed"
    root = ET.fromstring(drawing.draw_matrix(states))  # noqa: S314 (made here)
    paths = [found.attrib["class"] for found in root.iter("path")]
    assert paths == ["cell c-failed", "cell c-ok"]
    assert len(drawing.draw_matrix(states)) < 20_000
