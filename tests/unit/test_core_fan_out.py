"""One step over a list: each element its own key, its own result, its own compensation."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.commands import ReplaceInput, Skip
from saga_es.core.evolve import fold
from saga_es.core.facts import OwnerGone, RetryDue, Start
from saga_es.core.outcomes import Completed, Direction, Rejected, Skipped, Unavailable, Unknown
from saga_es.core.plan import Plan, element_of, index_of, step_of
from saga_es.core.proceed import LARGEST_FAN_OUT
from saga_es.core.state import SagaState, StepStatus, open_intents
from tests.support.story import (
    NOW,
    ONCE,
    Past,
    Story,
    a_plan,
    a_step,
    action,
    done,
    given,
    seconds,
    started,
    undo,
)

THREE = {"lines": ["x", "y", "z"]}


def ticket(at_once: int = 16, over: str = "input[lines]") -> Plan:
    return a_plan(a_step("ticket", over=over, at_once=at_once), "mail")


def begun(*parts: str) -> list[e.SagaEvent]:
    return [e.StepStarted(part, 1) for part in parts]


def completed(*parts: str) -> list[e.SagaEvent]:
    return [e.StepCompleted(part, f"{part}!") for part in parts]


ALL = ("ticket[0]", "ticket[1]", "ticket[2]")
FANNED_OUT: Past = [started(THREE), e.StepFannedOut("ticket", 3)]
MAILING: Past = [*FANNED_OUT, *begun(*ALL), *completed(*ALL), e.StepStarted("mail", 1)]


# ── Forward ──────────────────────────────────────────────────────────────────────────────────────────────


def test_each_element_is_a_part_of_its_own() -> None:
    """The size of the list and the intents of the parts are one append with the start."""
    story = given(plan=ticket()).when(Start("plan-1", THREE, "w1"))
    story.then(e.SagaStarted("order", "plan-1", THREE, "w1"), e.StepFannedOut("ticket", 3), *begun(*ALL))


def test_the_step_behind_waits_for_all_parts() -> None:
    """In whatever order they answer."""
    story = given(*FANNED_OUT, *begun(*ALL), plan=ticket())
    story.when(action("ticket[2]", Completed("c"))).then(e.StepCompleted("ticket[2]", "c"))
    story.when(action("ticket[0]", Completed("a"))).then(e.StepCompleted("ticket[0]", "a"))
    story.when(action("ticket[1]", Completed("b"))).then(e.StepCompleted("ticket[1]", "b"), e.StepStarted("mail", 1))


def test_the_result_is_the_list_of_results_in_the_order_of_the_elements() -> None:
    """Not in the order of their answers."""
    story = given(*FANNED_OUT, *begun(*ALL), plan=ticket())
    for part in ("ticket[2]", "ticket[0]", "ticket[1]"):
        assert "ticket" not in story.state.results
        story.when(action(part, Completed(part)))
    assert story.state.results == {"ticket": list(ALL)}
    assert story.state.known_to("mail")["ticket"] == list(ALL)


def test_no_more_are_under_way_than_may_be_at_once() -> None:
    """Each that is done brings the next along."""
    story = given(plan=ticket(at_once=2)).when(Start("plan-1", THREE, "w1"))
    assert story.decided[-2:] == begun("ticket[0]", "ticket[1]")
    story.when(action("ticket[1]", Completed("b"))).then(e.StepCompleted("ticket[1]", "b"), *begun("ticket[2]"))
    story.when(action("ticket[2]", Completed("c"))).then(e.StepCompleted("ticket[2]", "c"))
    story.when(action("ticket[0]", Completed("a"))).then(e.StepCompleted("ticket[0]", "a"), e.StepStarted("mail", 1))


def test_the_first_that_is_done_brings_the_next_along_too() -> None:
    """Although the last that was started is still out."""
    story = given(*FANNED_OUT, *begun("ticket[0]", "ticket[1]"), plan=ticket(at_once=2))
    story.when(action("ticket[0]", Completed("a"))).then(e.StepCompleted("ticket[0]", "a"), *begun("ticket[2]"))


def test_a_part_that_waits_to_be_tried_again_keeps_its_place() -> None:
    """One at once means one, also while it waits."""
    story = given(*FANNED_OUT, *begun("ticket[0]"), plan=ticket(at_once=1)).when(action("ticket[0]", Unknown("lost")))
    story.then(e.StepFailed("ticket[0]", 1, "unknown", "lost", seconds(1)))
    story.when(RetryDue("ticket[0]", Direction.ACTION, 1)).then(e.StepStarted("ticket[0]", 2))


def test_the_list_may_be_what_an_earlier_step_answered() -> None:
    """It is read when the step's turn comes."""
    plan = a_plan("cart", a_step("ticket", over="cart[lines]"))
    story = given(started({}), e.StepStarted("cart", 1), plan=plan).when(action("cart", Completed({"lines": [7]})))
    story.then(e.StepCompleted("cart", {"lines": [7]}), e.StepFannedOut("ticket", 1), *begun("ticket[0]"))


def test_a_list_of_lists_can_be_fanned_out_again() -> None:
    """What a step over a list answers is a list."""
    plan = a_plan(a_step("ticket", over="input[lines]"), a_step("seal", over="ticket"))
    past: Past = [started({"lines": [1, 2]}), e.StepFannedOut("ticket", 2), *begun("ticket[0]", "ticket[1]")]
    story = given(*past, *completed("ticket[1]"), plan=plan).when(action("ticket[0]", Completed(1)))
    story.then(e.StepCompleted("ticket[0]", 1), e.StepFannedOut("seal", 2), *begun("seal[0]", "seal[1]"))


def test_an_empty_list_is_done_at_once() -> None:
    """Its result is the empty list."""
    story = given(plan=ticket()).when(Start("plan-1", {"lines": []}, "w1"))
    story.then(started({"lines": []}), e.StepFannedOut("ticket", 0), e.StepStarted("mail", 1))
    assert story.state.results == {"ticket": []}


def test_an_element_that_is_not_wanted_is_skipped_alone() -> None:
    """The condition is asked for each; the result holds None in its place."""
    plan = a_plan(a_step("ticket", over="input[lines]", condition=True))
    story = given(*FANNED_OUT, *begun(*ALL), *completed("ticket[0]", "ticket[2]"), plan=plan)
    story.when(action("ticket[1]", Skipped())).then(e.StepSkipped("ticket[1]"), e.SagaCompleted())
    assert story.state.results == {"ticket": ["ticket[0]!", None, "ticket[2]!"]}


# ── Lists that are none ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("input_", "words"),
    [
        ({}, "there is no input[lines] to go over: KeyError: 'lines'"),
        ({"lines": 7}, "input[lines] must be a list of at most 1000 elements, not int"),
        ({"lines": {"a": 1}}, "input[lines] must be a list of at most 1000 elements, not dict"),
        (
            {"lines": [0] * (LARGEST_FAN_OUT + 1)},
            "input[lines] must be a list of at most 1000 elements, not a list of 1001",
        ),
    ],
)
def test_what_is_no_list_aborts_the_saga(input_: dict[str, object], words: str) -> None:
    """Nobody was called; the words say what was found where."""
    story = given(plan=ticket()).when(Start("plan-1", input_, "w1"))
    story.then(
        started(input_),
        e.StepFailed("ticket", 0, "rejected", words),
        e.SagaAborted("ticket", words),
        e.SagaCompensated(),
    )


def test_the_largest_list_is_taken() -> None:
    """Its last element, too."""
    input_ = {"lines": list(range(LARGEST_FAN_OUT))}
    story = given(plan=ticket(at_once=1000)).when(Start("plan-1", input_, "w1"))
    assert story.decided[1] == e.StepFannedOut("ticket", LARGEST_FAN_OUT)
    assert story.decided[-1] == e.StepStarted("ticket[999]", 1)


def test_other_steps_are_not_begun_beside_a_list_that_is_none() -> None:
    """They would have to be undone at once."""
    plan = a_plan(a_step("book", after=()), a_step("ticket", after=(), over="input[lines]"))
    story = given(plan=plan).when(Start("plan-1", {"lines": 7}, "w1"))
    assert e.StepStarted("book", 1) not in story.decided
    assert story.decided[-1] == e.SagaCompensated()


PIVOT_FIRST = a_plan(
    a_step("pay", compensation=None, kind="pivot"),
    a_step("ticket", compensation=None, kind="retriable", over="input[lines]"),
)
PAID: Past = [started({"lines": 7}), *done("pay")]
NO_LIST = "input[lines] must be a list of at most 1000 elements, not int"
STUCK: Past = [*PAID, e.StepFailed("ticket", 0, "rejected", NO_LIST), e.SagaFailed("why")]


def test_what_is_no_list_after_the_pivot_needs_a_person() -> None:
    """There is no way back."""
    story = given(started({"lines": 7}), e.StepStarted("pay", 1), plan=PIVOT_FIRST).when(action("pay", Completed(1)))
    reason = f"step 'ticket' must succeed and was refused: {NO_LIST}"
    story.then(e.StepCompleted("pay", 1), e.StepFailed("ticket", 0, "rejected", NO_LIST), e.SagaFailed(reason))


def test_a_list_can_be_given_by_a_person() -> None:
    """With another input the step reads its list anew."""
    story = given(*STUCK, plan=PIVOT_FIRST).when(ReplaceInput("ticket", {"lines": [1]}, "Ann", "typo"))
    story.when(OwnerGone("w2"))
    story.then(e.SagaTakenOver("w2"), e.StepFannedOut("ticket", 1), *begun("ticket[0]"))


def test_a_step_over_a_list_can_be_skipped_as_a_whole() -> None:
    """Its list is not read again, and what comes behind it starts."""
    story = given(*STUCK, plan=PIVOT_FIRST).when(Skip("ticket", "Ann", "no tickets"))
    story.then(e.StepSkipped("ticket", "Ann", "no tickets"), e.SagaReopened("IN_PROGRESS", "Ann", "no tickets", NOW))
    story.when(OwnerGone("w2")).then(e.SagaTakenOver("w2"), e.SagaCompleted())
    assert story.state.results == {"pay": "pay!"}


# ── Back ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_parts_are_undone_last_first_and_together() -> None:
    """Each has a compensation of its own; what they came after is undone when all are."""
    plan = a_plan("cart", a_step("ticket", over="input[lines]"), "mail")
    past: Past = [started(THREE), *done("cart"), e.StepFannedOut("ticket", 3), *begun(*ALL), *completed(*ALL)]
    story = given(*past, e.StepStarted("mail", 1), plan=plan).when(action("mail", Rejected("no")))
    assert story.decided[2:] == [e.CompensationStarted(part, 1) for part in reversed(ALL)]
    story.when(undo("ticket[1]", Completed())).then(e.CompensationCompleted("ticket[1]"))
    story.when(undo("ticket[0]", Completed())).then(e.CompensationCompleted("ticket[0]"))
    story.when(undo("ticket[2]", Completed()))
    story.then(e.CompensationCompleted("ticket[2]"), e.CompensationStarted("cart", 1))


def test_no_more_are_undone_at_once_than_were_done_at_once() -> None:
    """The service that may be called twice at a time may be so both ways."""
    story = given(*MAILING, plan=ticket(at_once=2)).when(action("mail", Rejected("no")))
    assert story.decided[2:] == [e.CompensationStarted("ticket[2]", 1), e.CompensationStarted("ticket[1]", 1)]
    story.when(undo("ticket[1]", Completed()))
    story.then(e.CompensationCompleted("ticket[1]"), e.CompensationStarted("ticket[0]", 1))
    story.when(undo("ticket[0]", Completed())).then(e.CompensationCompleted("ticket[0]"))
    story.when(undo("ticket[2]", Completed())).then(e.CompensationCompleted("ticket[2]"), e.SagaCompensated())


def turned_at(part: str, *out: str, plan: Plan | None = None) -> Story:
    return given(*FANNED_OUT, *begun(*out), plan=plan or ticket()).when(action(part, Rejected("no")))


def test_a_part_that_fails_has_the_others_awaited() -> None:
    """The part is named as what aborted the saga; those that were done are undone."""
    story = turned_at("ticket[1]", *ALL)
    story.then(e.StepFailed("ticket[1]", 1, "rejected", "no"), e.SagaAborted("ticket[1]", "no"))
    assert (story.state.failed_step, story.state.current_step_index) == ("ticket[1]", 0)
    story.when(action("ticket[0]", Completed(1))).then(e.StepCompleted("ticket[0]", 1))
    story.when(action("ticket[2]", Completed(2)))
    story.then(
        e.StepCompleted("ticket[2]", 2), e.CompensationStarted("ticket[2]", 1), e.CompensationStarted("ticket[0]", 1)
    )


def test_parts_that_have_not_begun_when_one_fails_never_do() -> None:
    """They were not called, so there is nothing to undo."""
    story = turned_at("ticket[0]", "ticket[0]", plan=ticket(at_once=1))
    story.then(e.StepFailed("ticket[0]", 1, "rejected", "no"), e.SagaAborted("ticket[0]", "no"), e.SagaCompensated())
    assert story.state.step("ticket[1]").status is StepStatus.PENDING


def test_parts_that_fail_together_abort_the_saga_once() -> None:
    """The first is why; the others are just given up."""
    story = turned_at("ticket[1]", *ALL)
    story.when(action("ticket[2]", Unavailable("busy"))).then(e.StepFailed("ticket[2]", 1, "unavailable", "busy"))
    story.when(action("ticket[0]", Unknown("lost")))
    story.then(e.StepFailed("ticket[0]", 1, "unknown", "lost"), e.CompensationStarted("ticket[0]", 1))


def test_a_part_that_cannot_be_undone_lets_no_more_begin() -> None:
    """Those that are out are awaited; the rest is for a person to decide."""
    plan = a_plan(a_step("ticket", compensation=ONCE, over="input[lines]", at_once=2), "mail")
    story = given(*MAILING, plan=plan).when(action("mail", Rejected("no")))
    story.when(undo("ticket[2]", Rejected("sold"))).then(e.CompensationFailed("ticket[2]", 1, "rejected", "sold"))
    story.when(undo("ticket[1]", Completed()))
    reason = "the compensation of step 'ticket[2]' was given up after attempt 1 of 1: sold"
    story.then(e.CompensationCompleted("ticket[1]"), e.SagaFailed(reason))
    assert story.state.effects == ("ticket[0]", "ticket[2]")


# ── A crash ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_parts_that_were_out_are_called_again_after_a_crash() -> None:
    """The others are left as they are."""
    story = given(*FANNED_OUT, *begun(*ALL), *completed("ticket[1]"), plan=ticket()).when(OwnerGone("w2"))
    story.then(e.SagaTakenOver("w2", "w1"))
    assert open_intents(story.state) == begun("ticket[0]", "ticket[2]")


def test_a_part_knows_its_step_and_its_place() -> None:
    """By its name alone."""
    assert (element_of("ticket", 2), step_of("ticket[2]"), index_of("ticket[2]")) == ("ticket[2]", "ticket", 2)
    assert (step_of("ticket"), index_of("ticket")) == ("ticket", None)


def test_a_part_has_the_input_of_its_step_unless_it_was_given_its_own() -> None:
    """A person may replace either."""
    state: SagaState = given(*FANNED_OUT, plan=ticket()).state
    assert state.known_to("ticket[1]")["input"] == THREE
    state = fold(state, [e.InputReplaced("ticket", {"lines": [1]}, "Ann", "typo")])
    assert state.known_to("ticket[1]")["input"] == {"lines": [1]}
    state = fold(state, [e.InputReplaced("ticket[1]", {"lines": [2]}, "Ann", "typo")])
    assert [state.known_to(f"ticket[{n}]")["input"] for n in (0, 1)] == [{"lines": [1]}, {"lines": [2]}]


class Compared(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)


def test_the_elements_of_a_long_list_are_not_compared_with_each_other() -> None:
    """An element that completes at its first attempt is not looked for among the effects of all before it."""
    size = 500
    names = [Compared(element_of("ticket", index)) for index in range(size)]
    past: list[e.SagaEvent] = [started({"lines": ["x"] * size}), e.StepFannedOut("ticket", size)]
    past += [event for name in names for event in (*begun(name), *completed(name))]
    Compared.times = 0
    state = fold(SagaState("s", ticket()), past)
    assert state.effects == tuple(names)
    assert Compared.times < 20 * size, f"{Compared.times} comparisons for {size} elements"


@pytest.mark.parametrize(
    "probe", [[], [e.ProbeStarted("ticket[0]", 1), e.ProbeAnswered("ticket[0]", happened=True, result="x!")]]
)
def test_an_effect_in_doubt_is_kept_once_when_its_step_completes(probe: list[e.SagaEvent]) -> None:
    """A step that was given up in doubt, and completes after a retry or a probe, is compensated once."""
    past: list[e.SagaEvent] = [
        *FANNED_OUT,
        *begun("ticket[0]"),
        e.StepFailed("ticket[0]", 1, "unknown", "?", None),
        e.SagaReopened("IN_PROGRESS", "ops", "again", NOW),
        *probe,
        *completed("ticket[0]"),
    ]
    assert fold(SagaState("s", ticket()), past).effects == ("ticket[0]",)
