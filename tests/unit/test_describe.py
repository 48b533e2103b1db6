"""Every event as a sentence."""

from __future__ import annotations

from typing import get_args

import pytest

from saga_es.core import events as e
from saga_es.core.describe import SHORT, describe, plain, short
from tests.support.story import NOW, a_plan

T = "2026-01-02 03:04:05.000Z"
LATE = "the deadline passed: 5 s after the start"

TOLD: list[tuple[e.SagaEvent, str]] = [
    (e.SagaStarted("order", "plan-1", {}, "w1"), "The saga order began on w1."),
    (e.SagaStarted("pay", "plan-1", {}, "w1", parent="s1"), "The saga pay began on w1, as a child of s1."),
    (e.SagaStarted("order", "plan-1", {}), "The saga order was requested, and waits for a worker."),
    (
        e.SagaStarted("order", "plan-1", {}, "w1", starts_at=NOW),
        f"The saga order was requested, and starts at {T}.",
    ),
    (e.SagaBegan(), "The saga goes forward."),
    (e.SagaTakenOver("w2"), "w2 took the saga."),
    (e.SagaTakenOver("w2", "w1"), "w2 took the saga over, because w1 is gone."),
    (
        e.SagaReleased("w1", "the code of step 'b' is gone"),
        "w1 let go of the saga, which waits for a worker with the code: the code of step 'b' is gone",
    ),
    (e.StepStarted("a", 1), "Step a is called."),
    (e.StepStarted("a", 2), "Step a is called again: attempt 2."),
    (e.StepCompleted("a", {"id": 7}), 'Step a is done: {"id":7}'),
    (e.StepSkipped("a"), "Step a is skipped: its condition does not hold."),
    (e.StepSkipped("a", "ann", "no use"), "Step a is skipped by ann: no use"),
    (e.StepFailed("a", 1, "rejected", "no"), "Step a failed for good at attempt 1 (rejected): no"),
    (e.StepFailed("a", 0, "rejected", "no list"), "Step a failed for good: no list"),
    (
        e.StepFailed("a", 1, "unavailable", "busy", NOW),
        f"Step a failed at attempt 1 (unavailable), next try at {T}: busy",
    ),
    (
        e.StepFailed("a", 3, "unknown", "lost", NOW, last=True),
        f"Step a failed at attempt 3 (unknown), a probe follows at {T}: lost",
    ),
    (e.StepProgressed("a", 1, details={"done": 3}), 'Step a goes on: {"done":3}'),
    (e.StepProgressed("a", 1, "compensation"), "Undoing step a goes on: null"),
    (e.StepProgressed("a", 1, "probe"), "The probe of step a goes on: null"),
    (e.StepFannedOut("a", 3), "Step a is done for each of 3 elements."),
    (e.WaitStarted("w", NOW), f"Step w waits until {T}."),
    (e.WaitStarted("w"), "Step w waits, for as long as it takes."),
    (e.SignalReceived("w", [1]), "The signal w arrived: [1]"),
    (e.ChildStarted("a", "pay", "s2", {}), "Step a runs the saga pay, as s2."),
    (e.ProbeStarted("a", 2), "A probe asks whether attempt 2 of step a has happened."),
    (e.ProbeAnswered("a", happened=True, result=7), "Step a has happened: 7"),
    (e.ProbeAnswered("a", happened=False, error="404"), "Step a has not happened, and never will: 404"),
    (e.ProbeAnswered("a", error="busy"), "It is unknown whether step a has happened: busy"),
    (e.SagaAborted("a", "no"), "The saga aborts because of step a: what was done is undone, last first."),
    (e.SagaAborted(None, LATE), f"The saga aborts, because {LATE}; what was done is undone, last first."),
    (e.SagaCancelled("ann", "no"), "The saga is cancelled by ann: no. What was done is undone, last first."),
    (e.CompensationStarted("a", 1), "Step a is being undone."),
    (e.CompensationStarted("a", 2), "Step a is being undone again: attempt 2."),
    (e.CompensationCompleted("a"), "Step a is undone."),
    (e.CompensationFailed("a", 1, "rejected", "no"), "Undoing step a failed for good at attempt 1 (rejected): no"),
    (
        e.CompensationFailed("a", 1, "unknown", "lost", NOW),
        f"Undoing step a failed at attempt 1 (unknown), next try at {T}: lost",
    ),
    (e.CompensationSkipped("a", "ann", "by hand"), "ann marks step a as undone: by hand"),
    (e.SagaPaused("ann", "lunch"), "The saga is paused by ann: lunch"),
    (e.SagaResumed("ann", "back"), "The saga is resumed by ann: back"),
    (e.RetryOrdered("ann", "it is up", NOW), "ann retried the saga at once: it is up"),
    (e.InputReplaced("a", {"n": 1}, "ann", "a typo"), 'ann gave step a another input: a typo. It is {"n":1}'),
    (
        e.SagaMigrated("plan-2", a_plan("a", "z"), "ann", "a new version", {"b": "z"}),
        "ann migrated the saga to plan-2: a new version. Step b is z from now on.",
    ),
    (e.SagaReopened("IN_PROGRESS", "ann", "fixed", NOW), "ann reopened the saga, which goes forward: fixed"),
    (e.SagaReopened("COMPENSATING", "ann", "fixed", NOW), "ann reopened the saga, which compensates: fixed"),
    (e.SagaResolved("COMPLETED", "ann", "by post"), "ann resolved the saga by hand as COMPLETED: by post"),
    (e.SagaCompleted(), "The saga is complete: every step is done."),
    (e.SagaCompensated(), "The saga is compensated: everything that was done is undone."),
    (e.SagaFailed("no way"), "The saga stopped and needs a person: no way"),
]


@pytest.mark.parametrize(("event", "sentence"), TOLD, ids=lambda value: type(value).__name__)
def test_an_event_is_a_sentence_with_what_it_holds(event: e.SagaEvent, sentence: str) -> None:
    """Names, people, reasons and times appear as they are."""
    assert describe(event) == sentence


def test_no_event_is_left_out() -> None:
    """Whoever adds an event writes its sentence, too."""
    assert {type(event) for event, _ in TOLD} == set(get_args(e.SagaEvent))


def test_what_others_wrote_cannot_paint_or_begin_a_line() -> None:
    """A reason with line ends and escapes stays one line that says so; other letters stay as they are."""
    told = plain(describe(e.SagaPaused("a\n 99 FAKE", "\x1b[31mred\x9b Zoë")))
    assert told == "The saga is paused by a\\x0a 99 FAKE: \\x1b[31mred\\x9b Zoë"


def test_a_long_result_is_cut() -> None:
    """A line is to be read; the whole is in the log."""
    told = describe(e.StepCompleted("a", "x" * 10_000))
    assert told.endswith("…")
    assert len(told) == len("Step a is done: ") + SHORT


@pytest.mark.parametrize(
    ("hidden", "escaped"),
    [("\xad", "\\xad"), ("\u0600", "\\u0600"), ("\uffff", "\\uffff"), ("\U000e0001", "\\U000e0001")],
)
def test_what_is_not_shown_is_escaped_with_as_few_digits_as_it_has(hidden: str, escaped: str) -> None:
    """As Python writes it: two, four or eight."""
    assert plain(hidden) == escaped == ascii(hidden).strip("'")


@pytest.mark.parametrize("nothing", [None, ""])
def test_what_is_not_there_is_an_empty_text(nothing: str | None) -> None:
    """A page or a line shows it as it is."""
    assert short(nothing) == ""
