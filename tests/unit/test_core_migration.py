"""Migrating a saga to another plan: what becomes of each step, and what is refused."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.commands import Migrate, Resume, SendSignal
from saga_es.core.describe import describe
from saga_es.core.evolve import fold
from saga_es.core.facts import ChildEnded
from saga_es.core.invariants import violations
from saga_es.core.migration import present_name, preview_migration
from saga_es.core.outcomes import ChildReady, Completed, Rejected
from saga_es.core.plan import Child, Delay, Plan, Signal, StepPlan, plan_id
from saga_es.core.state import SagaState, SagaStatus, StepStatus, open_intents
from saga_es.errors import CommandRefused
from tests.support.evolutions import an_evolution_of
from tests.support.random_plans import a_journey, let_it_end
from tests.support.story import (
    ABC,
    NOW,
    SAGA_ID,
    STARTED,
    Loop,
    Past,
    a_plan,
    a_step,
    action,
    done,
    given,
    seconds,
    started,
)

WHO = ("Ann", "because")


def to(plan: Plan, **replaces: str) -> Migrate:
    """Migrate to this plan, in which each of these steps has another name: was=now."""
    return Migrate(plan_id(plan), plan, replaces, *WHO)


def migrated(plan: Plan, current: str | None = None, **renamed: str) -> e.SagaMigrated:
    return e.SagaMigrated(plan_id(plan), plan, *WHO, renamed, current)


# ── What is done stays done ──────────────────────────────────────────────────────────────────────────────


def test_what_is_done_stays_done_and_the_rest_follows_the_new_plan() -> None:
    """A call in flight is in flight; the step that the new plan adds comes when its turn has come."""
    new = a_plan("a", "b", "x", "c")
    story = given(STARTED, *done("a"), e.StepStarted("b", 1)).when(to(new)).then(migrated(new, "b"))
    assert story.state.results == {"a": "a!"}
    story.when(action("b", Completed("b!"))).then(e.StepCompleted("b", "b!"), e.StepStarted("x", 1))


def test_a_saga_that_has_done_all_of_the_new_plan_is_complete() -> None:
    """The step that comes next in the old plan had not begun while the saga was paused."""
    new = a_plan("a", "b")
    story = given(STARTED, *done("a", "b"), e.SagaPaused(*WHO)).when(to(new)).then(migrated(new, "b"))
    story.when(Resume(*WHO)).then(e.SagaResumed(*WHO), e.SagaCompleted())


def test_a_renamed_step_keeps_its_result_its_place_and_the_name_of_its_keys() -> None:
    """It is undone under its new name, in the order in which it was done."""
    new = a_plan("first", "b", "last")
    past = [STARTED, *done("a"), e.StepStarted("b", 1)]
    story = given(*past).when(to(new, a="first", c="last")).then(migrated(new, "b", a="first", c="last"))
    assert (story.state.step("first").called_as, story.state.step("b").called_as) == ("a", None)
    assert story.state.results == {"first": "a!"}
    story.when(action("b", Rejected("no")))
    assert story.decided[-1] == e.CompensationStarted("first", 1)


def test_an_answer_that_was_on_its_way_under_the_old_name_counts() -> None:
    """A call in flight is not made again because its step was renamed."""
    new = a_plan("a", "second", "c")
    story = given(STARTED, *done("a"), e.StepStarted("b", 1)).when(to(new, b="second"))
    story.when(action("b", Completed("b!"))).then(e.StepCompleted("second", "b!"), e.StepStarted("c", 1))


def test_a_retry_and_a_child_of_a_renamed_step_are_awaited_under_its_new_name() -> None:
    """And a step renamed twice is known by each of its names."""
    old, new = a_plan(a_step("b", work=Child("c"))), a_plan(a_step("pay", work=Child("c")))
    third = a_plan(a_step("charge", work=Child("c")))
    story = given(STARTED, e.StepStarted("b", 1), plan=old).when(action("b", ChildReady("child", {})))
    story.when(to(new, b="pay")).when(to(third, pay="charge")).when(ChildEnded("b", "child", "COMPLETED", {"n": 1}))
    story.then(e.StepCompleted("charge", {"n": 1}), e.SagaCompleted())
    assert story.state.step("charge").called_as == "b"


AWAITED: list[tuple[StepPlan, e.Intent]] = [
    (a_step("b"), e.StepFailed("b", 1, "unavailable", "busy", seconds(60))),
    (a_step("b", work=Delay(60)), e.WaitStarted("b", seconds(60))),
    (a_step("b", work=Child("c")), e.ChildStarted("b", "c", "child", {})),
]


@pytest.mark.parametrize(("step", "intent"), AWAITED, ids=["a retry", "a time", "a child"])
def test_what_is_awaited_is_open_under_the_new_name(step: StepPlan, intent: e.Intent) -> None:
    """Whoever takes the saga over waits for it by that name."""
    old, new = Plan("order", (step,)), Plan("order", (replace(step, name="second"),))
    assert isinstance(intent, e.SagaEvent)
    past: Past = [STARTED, e.StepStarted("b", 1), intent]
    story = given(*past, plan=old).when(to(new, b="second"))
    assert open_intents(story.state) == [replace(intent, step="second")]


def test_an_interrupted_step_is_asked_about_under_its_new_name() -> None:
    """Nobody heard what came of its call: a migration does not make that forgotten."""
    old, new = a_plan(a_step("b", probe=True)), a_plan(a_step("second", probe=True))
    past: Past = [STARTED, e.StepStarted("b", 1), e.SagaPaused(*WHO), e.SagaTakenOver("w2", "w1")]
    story = given(*past, plan=old).when(to(new, b="second"))
    story.when(Resume(*WHO)).then(e.SagaResumed(*WHO), e.ProbeStarted("second", 1))


def test_a_signal_to_a_renamed_step_may_name_it_as_before() -> None:
    """Whoever sends it need not know of the migration; what came before it is kept."""
    old, new = a_plan("a", a_step("ok", work=Signal(None))), a_plan("a", a_step("approved", work=Signal(None)))
    early = given(STARTED, e.StepStarted("a", 1), e.SignalReceived("ok", 1, "k"), plan=old).when(to(new, ok="approved"))
    early.when(SendSignal("ok", 1, "k")).then()
    early.when(action("a", Completed()))
    assert early.decided[-2:] == [e.StepCompleted("approved", 1), e.SagaCompleted()]
    late = given(STARTED, *done("a"), e.WaitStarted("ok"), plan=old).when(to(new, ok="approved"))
    late.when(SendSignal("ok", 2))
    assert late.decided[-1] == e.SagaCompleted()


def test_the_elements_of_a_renamed_step_go_with_it() -> None:
    """Also those that have not begun."""
    old = a_plan(a_step("seat", over="input[two]", at_once=1))
    new = a_plan(a_step("place", over="input[two]", at_once=1))
    past: Past = [started({"two": [1, 2]}), e.StepFannedOut("seat", 2), e.StepStarted("seat[0]", 1)]
    story = given(*past, plan=old).when(to(new, seat="place"))
    story.when(action("seat[0]", Completed(7))).then(e.StepCompleted("place[0]", 7), e.StepStarted("place[1]", 1))
    assert (story.state.step("place[0]").called_as, story.state.step("place[1]").called_as) == ("seat[0]", None)


def test_a_done_step_without_a_compensation_may_be_dropped() -> None:
    """Nothing is left of it but its events."""
    old, new = a_plan(a_step("mail", compensation=None), "b"), a_plan("b")
    story = given(STARTED, *done("mail"), e.StepStarted("b", 1), plan=old).when(to(new)).then(migrated(new, "b"))
    assert story.state.effects == ()
    story.when(action("b", Rejected("no")))
    assert story.state.status is SagaStatus.COMPENSATED


def test_a_compensation_that_the_new_plan_adds_undoes_what_was_done_before() -> None:
    """A done step gets it, too."""
    old, new = a_plan(a_step("a", compensation=None), "b"), a_plan("a", "b")
    story = given(STARTED, *done("a"), e.StepStarted("b", 1), plan=old).when(to(new))
    story.when(action("b", Rejected("no")))
    assert story.decided[-1] == e.CompensationStarted("a", 1)


def test_a_saga_that_has_the_plan_already_is_left_as_it_is() -> None:
    """The command may be repeated, also on behalf of somebody else."""
    new = a_plan("a", "b", "c", "d")
    story = given(STARTED).when(to(new))
    story.when(to(new)).then()
    story.when(replace(to(new), on_behalf_of="Bob")).then()


def test_a_saga_that_is_failed_stays_failed_until_it_is_retried() -> None:
    """A migration mends what it lacks; a person says when it goes on."""
    new = a_plan("a", "second", "c")
    story = given(STARTED, *done("a"), e.StepStarted("b", 1), e.SagaFailed("it is gone")).when(to(new, b="second"))
    assert story.state.status is SagaStatus.FAILED


@pytest.mark.parametrize("deadline_s", [None, 90])
def test_a_saga_keeps_the_deadline_with_which_it_started(deadline_s: float | None) -> None:
    """Whatever the new plan says: its deadline may lie in the past, or not exist, and no sentence names it."""
    old = a_plan("a", "b", deadline_s=60)
    past = [e.SagaStarted("order", "plan-1", {}, "w1", deadline_at=NOW), *done("a")]
    story = given(*past, e.SagaPaused(*WHO), plan=old).when(to(a_plan("a", "b", "c", deadline_s=deadline_s)))
    story.when(Resume(*WHO)).then(
        e.SagaResumed(*WHO),
        e.SagaAborted(None, "the deadline passed: 2026-01-02 03:04:05Z"),
        e.CompensationStarted("a", 1),
    )


# ── What is refused ──────────────────────────────────────────────────────────────────────────────────────

PIVOT = a_plan("a", a_step("p", kind="pivot", compensation=None), a_step("r", kind="retriable", compensation=None))
ABORTED: Past = [STARTED, *done("a"), e.StepStarted("b", 1), e.SagaCancelled(*WHO)]

NO_PIVOT = (
    "step 'p', which the new plan lacks, is a pivot that is done; "
    "step 'r' has begun as retriable, and is compensatable in the new plan"
)
NEW_PIVOT = (
    "step 'b' has begun as compensatable, and is pivot in the new plan; "
    "step 'b' has begun, and the new plan has no compensation for it"
)
REFUSED: list[tuple[str, Plan, Past, Plan, dict[str, str], str]] = [
    ("completed", ABC, [STARTED, *done("a", "b", "c"), e.SagaCompleted()], a_plan("a"), {}, "it has ended: COMPLETED"),
    (
        "compensating",
        ABC,
        ABORTED,
        a_plan("a", "b", "x"),
        {},
        "it has aborted: what was done is compensated under the plan under which it was done",
    ),
    (
        "failed while it compensated",
        ABC,
        [*ABORTED, e.SagaFailed("stuck")],
        a_plan("a", "b"),
        {},
        "it has aborted: what was done is compensated under the plan under which it was done",
    ),
    (
        "done, and has a compensation",
        ABC,
        [STARTED, *done("a"), e.StepStarted("b", 1)],
        a_plan("b", "c"),
        {},
        "step 'a', which the new plan lacks, is done, and has a compensation",
    ),
    (
        "under way",
        ABC,
        [STARTED, *done("a"), e.StepStarted("b", 1)],
        a_plan("a", "c"),
        {},
        "step 'b', which the new plan lacks, has begun, and is not done",
    ),
    (
        "a step before one that is done",
        ABC,
        [STARTED, *done("a"), e.StepStarted("b", 1)],
        a_plan("x", "a", "b", "c"),
        {},
        "step 'a' has begun, and in the new plan it waits for 'x', which is not done",
    ),
    (
        "the order is another",
        ABC,
        [STARTED, *done("a"), e.StepStarted("b", 1)],
        a_plan("b", "a", "c"),
        {},
        "step 'a' has begun, and in the new plan it waits for 'b', which is not done",
    ),
    (
        "a pivot that is done",
        PIVOT,
        [STARTED, *done("a", "p"), e.StepStarted("r", 1)],
        a_plan("a", "r"),
        {},
        NO_PIVOT,
    ),
    (
        "another kind",
        ABC,
        [STARTED, *done("a"), e.StepStarted("b", 1)],
        a_plan("a", a_step("b", kind="pivot", compensation=None)),
        {},
        NEW_PIVOT,
    ),
    (
        "another work",
        a_plan(a_step("a", work=Delay(9), compensation=None), "b"),
        [STARTED, e.WaitStarted("a", NOW)],
        a_plan(a_step("a", compensation=None), "b"),
        {},
        "step 'a' has begun as a delay, and is a call in the new plan",
    ),
    (
        "another child",
        a_plan(a_step("a", work=Child("x"))),
        [STARTED, e.StepStarted("a", 1)],
        a_plan(a_step("a", work=Child("y"))),
        {},
        "step 'a' has begun as the saga 'x', and is the saga 'y' in the new plan",
    ),
    (
        "another list",
        a_plan(a_step("a", over="input[two]")),
        [started({"two": []}), e.StepFannedOut("a", 0), e.SagaPaused(*WHO)],
        a_plan(a_step("a", over="input[one]")),
        {},
        "step 'a' has begun over input[two], and goes over input[one] in the new plan",
    ),
    (
        "the compensation of a done step is gone",
        ABC,
        [STARTED, *done("a"), e.StepStarted("b", 1)],
        a_plan(a_step("a", compensation=None), "b", "c"),
        {},
        "step 'a' has begun, and the new plan has no compensation for it",
    ),
    (
        "the probe of a step that is being asked is gone",
        a_plan(a_step("a", probe=True)),
        [STARTED, e.StepStarted("a", 1), e.SagaTakenOver("w2", "w1"), e.ProbeStarted("a", 1)],
        a_plan("a"),
        {},
        "step 'a' has begun and is asked whether it has happened, and the new plan has no probe for it",
    ),
    (
        "a signal for which nothing waits",
        a_plan("a", a_step("ok", work=Signal(None), compensation=None)),
        [STARTED, e.StepStarted("a", 1), e.SignalReceived("ok")],
        a_plan("a"),
        {},
        "it has received the signal 'ok', for which no step of the new plan waits",
    ),
    (
        "two steps that would be one",
        ABC,
        [STARTED, *done("a"), e.StepStarted("b", 1)],
        a_plan("x", "c"),
        {"a": "x", "b": "x"},
        "steps 'a' and 'b' would both be 'x'",
    ),
]


@pytest.mark.parametrize(
    ("old", "past", "new", "replaces", "why"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_has_no_place_in_the_new_plan_is_refused(
    old: Plan, past: Past, new: Plan, replaces: dict[str, str], why: str
) -> None:
    """Nothing is recorded, and the reason names the step; the preview says the same."""
    story = given(*past, plan=old)
    story.refuses(to(new, **replaces), why)
    assert "; ".join(preview_migration(story.state, new, plan_id(new), replaces).refused) == why


def test_a_step_that_would_be_called_with_the_keys_of_another_is_refused() -> None:
    """A participant would answer it with what the other one did."""
    new, newest = a_plan("first", "b"), a_plan("first", "b", "a")
    story = given(STARTED, *done("a"), e.StepStarted("b", 1), plan=a_plan("a", "b")).when(to(new, a="first"))
    why = "step 'a' of the new plan would be called with the keys of 'first', once called 'a'"
    story.refuses(to(newest), why)


def test_a_preview_says_what_becomes_of_each_step() -> None:
    """Those of the new plan first, in its order, then those that it lacks."""
    new = a_plan("a", "second", "x")
    state = given(STARTED, *done("a"), e.StepStarted("b", 1)).state
    found = preview_migration(state, new, plan_id(new), {"b": "second"})
    assert [(step.step, step.was, step.fate, step.status) for step in found.steps] == [
        ("a", "a", "stays", StepStatus.COMPLETED),
        ("second", "b", "renamed", StepStatus.IN_PROGRESS),
        ("x", None, "added", StepStatus.PENDING),
        ("c", "c", "dropped", StepStatus.PENDING),
    ]
    assert (found.refused, found.from_plan, found.to_plan) == ([], "plan-1", plan_id(new))


@pytest.mark.parametrize(
    ("elements", "status"),
    [([0, 1], StepStatus.COMPLETED), ([0], StepStatus.IN_PROGRESS), ([], StepStatus.IN_PROGRESS)],
)
def test_a_preview_says_whether_a_list_is_done(elements: list[int], status: StepStatus) -> None:
    """It is done with the last of its elements."""
    plan = a_plan(a_step("a", over="input[two]"), "b")
    past: Past = [started({"two": [1, 2]}), e.StepFannedOut("a", 2), *done(*(f"a[{place}]" for place in elements))]
    new = a_plan(a_step("a", over="input[two]"), "b", "c")
    found = preview_migration(given(*past, plan=plan).state, new, plan_id(new), {})
    assert [step.status for step in found.steps] == [status, StepStatus.PENDING, StepStatus.PENDING]


def test_people_read_who_migrated_it_and_what_was_renamed() -> None:
    """One sentence for what happened, one for each step that has another name."""
    said = describe(migrated(ABC, b="second"))
    assert said == f"Ann migrated the saga to {plan_id(ABC)}: because. Step b is second from now on."


# ── Any plan, any moment ─────────────────────────────────────────────────────────────────────────────────


def _migrated_somewhere(dice: Random) -> tuple[Loop, Plan, Migrate, bool]:
    """A saga somewhere on its way, to which a random new version of its plan was proposed; and whether it took it."""
    loop = a_journey(dice, 12)
    old, command = loop.state.plan, an_evolution_of(dice, loop.state.plan)
    try:
        loop.tell(command)
    except CommandRefused:
        return loop, old, command, False
    return loop, old, command, command.plan_id != "plan-1"


migrations = st.randoms(use_true_random=True).map(_migrated_somewhere)


@for_all(migrations)
def test_a_migrated_saga_keeps_every_rule_to_its_end(tried: tuple[Loop, Plan, Migrate, bool]) -> None:
    """Checked by books that use neither decide nor evolve; and it comes to an end."""
    loop, old, _, _ = tried
    log = let_it_end(loop).log
    assert [broken.rule for broken in violations(SAGA_ID, old, enumerate(log, 1))] == []
    assert fold(SagaState(SAGA_ID, old), log) == loop.state


@for_all(migrations)
def test_what_has_begun_is_the_same_after_a_migration(tried: tuple[Loop, Plan, Migrate, bool]) -> None:
    """Its status, attempts and result, and the order in which it is undone; what is lost has no effect to undo."""
    loop, _, command, is_migrated = tried
    if not is_migrated:
        return
    moment = loop.moments[-1]
    before, event = moment.before, moment.events[0]
    assert isinstance(event, e.SagaMigrated)
    after = fold(before, [event])
    for was, step in before.steps.items():
        now = after.steps.get(present_name(was, event.renamed))
        if now is None:
            assert before.plan.step(was).compensation is None or was not in before.effects
            assert before.is_done(was.partition("[")[0])
        else:
            same = ("status", "attempts", "compensation_attempts", "result", "in_doubt", "crashes", "input")
            assert [getattr(now, name) for name in same] == [getattr(step, name) for name in same]
            assert (now.called_as or present_name(was, event.renamed)) == (step.called_as or was)
    undone = [present_name(name, event.renamed) for name in before.effects if before.plan.step(name).compensation]
    assert [name for name in after.effects if name in undone] == undone
    assert (after.plan, after.plan_id) == (command.plan, command.plan_id)


@for_all(migrations)
def test_a_preview_refuses_what_the_command_refuses(tried: tuple[Loop, Plan, Migrate, bool]) -> None:
    """In every state: never one without the other."""
    loop, old, command, is_migrated = tried
    before = loop.moments[-1].before if is_migrated else loop.state
    assert before.plan == old
    refused = preview_migration(before, command.plan, command.plan_id, command.replaces).refused
    assert bool(refused) is not is_migrated
