"""Given a saga somewhere on its way, and code from which something is gone: does it go on?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given as for_all

from saga_es.core import events as e
from saga_es.core.commands import Resume
from saga_es.core.facts import OwnerGone
from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.plan import Child, step_of
from saga_es.core.state import SagaState
from saga_es.definition.code import code_of
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga, family
from saga_es.runtime.needed_code import Need, missing, needed
from tests.support.random_plans import WHO, journeys, let_it_end
from tests.support.story import NOW, STARTED, Loop, done, drive, failing, given

SHOP = Participant("shop")
CALL = SHOP.post("/things")

Options = Mapping[str, Any]
PLAIN: Options = {}


def an_order(**steps: Options | str) -> Saga:
    """A saga of requests, each with a compensation unless its options say otherwise; `"wait"` is a step that waits."""
    saga = Saga("order")
    for name, options in steps.items():
        if isinstance(options, str):
            saga.wait_for(name, timeout_s=None)
        else:
            saga.request(name, CALL, **{"compensation": CALL, **options})
    return saga


OLD = an_order(a=PLAIN, b=PLAIN, c=PLAIN)
WITHOUT_B = an_order(a=PLAIN, c=PLAIN)


Prospect = tuple[str, tuple[str, ...]]


def fares(events: Iterable[e.SagaEvent], code: Saga, old: Saga = OLD) -> Prospect:
    """What a saga misses that was started by the old code: surely; or else, only if it aborts."""
    return in_words(given(STARTED, *events, plan=old.plan).state, *family([code]))


def in_words(state: SagaState, *code: Saga) -> Prospect:
    found = missing(state, code_of(code))
    surely = tuple(one.why for one in found if one.is_sure)
    perhaps = tuple(one.why for one in found if not one.is_sure)
    return ("misses", surely) if surely else ("may miss", perhaps) if perhaps else GOES_ON


GOES_ON: Prospect = ("goes on", ())


def misses(*gone: str) -> Prospect:
    return "misses", tuple(f"the code of step {what}" for what in gone)


def may_miss(*gone: str) -> Prospect:
    return "may miss", tuple(f"the code of step {what}" for what in gone)


NO_ACTION_B = "'b' is gone: saga 'order' has no action for it"
NO_UNDO_B = "'b' is gone: saga 'order' has no compensation for it"

# ── Any code ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome", [Completed(), Rejected("no"), Unavailable("busy"), Unknown("lost")])
def test_with_the_code_it_started_with_a_saga_goes_on(outcome: Completed) -> None:
    """At every moment of its life."""
    for moment in drive(OLD.plan, failing("c", outcome)).moments[1:]:
        assert in_words(moment.before, OLD) == GOES_ON


def test_new_steps_and_another_order_trouble_no_saga() -> None:
    """It knows nothing of them: it has a plan of its own."""
    code = an_order(c=PLAIN, new=PLAIN, b=PLAIN, a=PLAIN)
    assert fares([*done("a"), e.StepStarted("b", 1)], code) == GOES_ON


def test_a_saga_whose_definition_is_gone_waits_for_a_worker_that_knows_it() -> None:
    """Wherever it is: workers leave alone what they do not know."""
    found = in_words(given(STARTED, *done("a"), plan=OLD.plan).state)
    assert found == ("misses", ("no saga 'order' is defined here",))


# ── A step whose code is gone ────────────────────────────────────────────────────────────────────────────


def test_a_step_that_is_still_to_come_is_missed() -> None:
    """The saga waits for a worker that has it."""
    assert fares(done("a"), WITHOUT_B) == misses(NO_ACTION_B)


def test_a_step_that_is_out_is_missed() -> None:
    """Its worker stops with the old code, and the next one has to call it again."""
    assert fares([*done("a"), e.StepStarted("b", 1)], WITHOUT_B) == misses(NO_ACTION_B)
    waits = e.StepFailed("b", 1, "unavailable", "busy", NOW)
    assert fares([*done("a"), e.StepStarted("b", 1), waits], WITHOUT_B) == misses(NO_ACTION_B)


def test_a_step_that_is_done_is_missed_only_if_the_saga_aborts() -> None:
    """Its compensation is gone with it."""
    assert fares(done("a", "b"), WITHOUT_B) == may_miss(NO_UNDO_B)


def test_a_step_that_was_left_out_is_never_missed() -> None:
    """It has done nothing that could be undone."""
    assert fares([*done("a"), e.StepStarted("b", 1), e.StepSkipped("b")], WITHOUT_B) == GOES_ON


def test_a_paused_saga_is_judged_as_if_it_went_on() -> None:
    """Somebody will resume it."""
    assert fares([*done("a"), e.SagaPaused("ada", "lunch")], WITHOUT_B) == misses(NO_ACTION_B)


def test_everything_that_is_missing_is_told_once() -> None:
    """However many of them there are."""
    assert fares([], an_order(a=PLAIN)) == misses(NO_ACTION_B, NO_ACTION_B.replace("'b'", "'c'"))


# ── Going back ───────────────────────────────────────────────────────────────────────────────────────────

WITHOUT_UNDOING_B = an_order(a=PLAIN, b={"compensation": None}, c=PLAIN)
TURNED: list[e.SagaEvent] = [*done("a", "b"), e.StepStarted("c", 1), e.StepFailed("c", 1, "rejected", "no")]
TURNED += [e.SagaAborted("c", "no"), e.CompensationStarted("b", 1)]


def test_a_compensation_that_is_gone_is_missed_only_if_the_saga_aborts() -> None:
    """Before the step as well as after it."""
    for events in ([], done("a"), done("a", "b")):
        assert fares(events, WITHOUT_UNDOING_B) == may_miss(NO_UNDO_B)


def test_a_compensation_that_the_saga_is_coming_to_is_missed() -> None:
    """It has aborted already."""
    assert fares(TURNED, WITHOUT_UNDOING_B) == misses(NO_UNDO_B)
    assert fares(TURNED[:-1], WITHOUT_B) == misses(NO_UNDO_B)


def test_a_step_that_is_undone_or_never_happened_is_not_missed_on_the_way_back() -> None:
    """Nobody calls it any more."""
    assert fares(TURNED, an_order(a=PLAIN, b=PLAIN)) == GOES_ON
    turned_early = [*done("a"), e.StepStarted("b", 1), e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no")]
    assert fares(turned_early, WITHOUT_B) == GOES_ON


def test_a_call_that_is_out_is_made_again_before_it_is_undone() -> None:
    """A cancelled saga waits for it."""
    cancelled = [*done("a"), e.StepStarted("b", 1), e.SagaCancelled("ada", "enough")]
    assert fares(cancelled, WITHOUT_B) == misses(NO_ACTION_B, NO_UNDO_B)


def test_once_the_pivot_is_done_nothing_is_undone() -> None:
    """Until then it may be refused, and the saga aborts."""
    old = an_order(a=PLAIN, p={"kind": "pivot", "compensation": None}, r={"kind": "retriable", "compensation": None})
    code = an_order(p={"kind": "pivot", "compensation": None}, r={"kind": "retriable", "compensation": None})
    no_undo_a = NO_UNDO_B.replace("'b'", "'a'")
    assert fares([*done("a"), e.StepStarted("p", 1)], code, old) == may_miss(no_undo_a)
    assert fares(done("a", "p"), code, old) == GOES_ON


# ── Conditions and probes ────────────────────────────────────────────────────────────────────────────────


def test_a_condition_that_is_gone_is_missed_until_its_step_is_done() -> None:
    """Nobody could say whether the step is wanted."""
    old, code = an_order(a=PLAIN, b={"when": lambda a: a}), an_order(a=PLAIN, b=PLAIN)
    assert fares(done("a"), code, old) == misses("'b' is gone: saga 'order' has no condition for it")
    assert fares(done("a", "b"), code, old) == GOES_ON


OLD_PROBED = an_order(a=PLAIN, b={"probe": SHOP.get("/things/{key}")})
NO_PROBE = "'b' is gone: saga 'order' has no probe for it"
WITHOUT_PROBE = an_order(a=PLAIN, b=PLAIN)


def test_a_probe_that_is_gone_is_missed_only_if_an_answer_is_lost() -> None:
    """As long as its step is not called, and never again once that is done."""
    assert fares(done("a"), WITHOUT_PROBE, OLD_PROBED) == may_miss(NO_PROBE)
    assert fares(done("a", "b"), WITHOUT_PROBE, OLD_PROBED) == GOES_ON


OUT = [*done("a"), e.StepStarted("b", 1)]
LOST = [*OUT, e.StepFailed("b", 1, "unknown", "lost", NOW)]


@pytest.mark.parametrize(
    "events",
    [
        OUT,
        LOST,
        [*OUT, e.SagaTakenOver("w2", "w1")],
        [*LOST, e.ProbeStarted("b", 1)],
        [*LOST, e.SagaAborted("b", "lost")],
        [*OUT, e.SagaCancelled("ada", "enough")],
    ],
)
def test_a_probe_that_is_gone_is_missed_where_a_call_is_in_doubt(events: list[e.SagaEvent]) -> None:
    """A call that is out is in doubt as soon as its worker stops."""
    assert fares(events, WITHOUT_PROBE, OLD_PROBED) == misses(NO_PROBE)


def test_a_probe_that_could_not_tell_is_not_asked_again() -> None:
    """Then the step is called again."""
    could_not_tell = [*LOST, e.ProbeStarted("b", 1), e.ProbeAnswered("b"), e.StepStarted("b", 2)]
    refused = [*could_not_tell, e.StepFailed("b", 2, "unavailable", "busy", NOW)]
    code = an_order(a=PLAIN, b={"compensation": None})
    assert fares(refused, code, OLD_PROBED)[0] == "misses"


def test_an_action_that_is_gone_is_perhaps_not_needed_where_a_probe_is_asked_first() -> None:
    """It may have happened."""
    old = an_order(a=PLAIN, b={"probe": SHOP.get("/things/{key}"), "compensation": None})
    code = an_order(a=PLAIN)
    needs = set(needed(given(STARTED, *OUT, plan=old.plan).state))
    assert {need for need in needs if need.step == "b"} == {
        Need("b", Direction.PROBE, is_sure=True),
        Need("b", Direction.ACTION, is_sure=False),
        Need("b", Direction.PROBE, is_sure=False),
    }
    assert fares(OUT, code, old) == misses(NO_PROBE)


# ── Steps that call nobody ───────────────────────────────────────────────────────────────────────────────


def test_a_step_that_only_waits_has_no_code_to_miss() -> None:
    """Neither before nor while it waits."""
    old, code = an_order(a=PLAIN, b="wait", c=PLAIN), an_order(a=PLAIN, c=PLAIN)
    assert fares(done("a"), code, old) == GOES_ON
    assert fares([*done("a"), e.WaitStarted("b")], code, old) == GOES_ON


def test_a_step_that_waits_on_a_condition_misses_it_until_it_waits() -> None:
    """Then the condition was asked."""
    old, code = Saga("order"), Saga("order")
    for saga in (old, code):
        saga.delay("b", 5, when=(lambda input: input) if saga is old else None)  # noqa: A006 (the name it asks for)
    assert fares([], code, old) == misses("'b' is gone: saga 'order' has no condition for it")
    assert fares([e.StepStarted("b", 1), e.WaitStarted("b", NOW)], code, old) == GOES_ON


# ── Steps that run sagas, and steps over lists ───────────────────────────────────────────────────────────


def test_the_definition_of_a_saga_that_a_step_runs_is_needed_too() -> None:
    """Before, while it runs, and if it is to be undone; but not what makes its input, once that is made."""
    old, code = an_order(a=PLAIN), an_order(a=PLAIN)
    old.child("b", an_order_named("pay"))
    gone = "'b' is gone: no saga 'pay' is defined here"
    runs: list[e.SagaEvent] = [*done("a"), e.StepStarted("b", 1), e.ChildStarted("b", "pay", "saga-2", {})]
    assert fares(done("a"), code, old) == misses(gone, NO_ACTION_B)
    assert fares(runs, code, old) == misses(gone)
    assert fares([*runs, e.StepCompleted("b")], code, old) == may_miss(gone)
    runs_again = [*runs, e.StepFailed("b", 1, "rejected", "no", NOW)]
    assert fares(runs_again, code, old) == misses(gone, NO_ACTION_B)
    assert fares([*runs, e.StepCompleted("b"), e.SagaCancelled("ada", "enough")], code, old) == misses(gone)


def an_order_named(name: str) -> Saga:
    saga = Saga(name)
    saga.request("charge", CALL, compensation=CALL)
    return saga


def test_a_step_over_a_list_is_missed_as_long_as_one_part_is_to_come() -> None:
    """Also when nobody knows yet how many there are; but not by a list of none."""
    old = an_order(a=PLAIN, b={"over": "a", "compensation": None})
    two = [*done("a"), e.StepFannedOut("b", 2), *done("b[0]")]
    assert fares(done("a"), an_order(a=PLAIN), old) == misses(NO_ACTION_B)
    assert fares(two, an_order(a=PLAIN), old) == misses(NO_ACTION_B)
    assert fares([*two, *done("b[1]")], an_order(a=PLAIN), old) == GOES_ON
    assert fares([*done("a"), e.StepFannedOut("b", 0)], an_order(a=PLAIN), old) == GOES_ON


# ── Whatever happens ─────────────────────────────────────────────────────────────────────────────────────


def called(events: Iterable[object], state: SagaState) -> set[tuple[str, Direction | None]]:
    """The code that these intents call for."""
    found: set[tuple[str, Direction | None]] = set()
    for event in events:
        match event:
            case e.StepStarted(step):
                found.add((step_of(step), Direction.ACTION))
            case e.ProbeStarted(step):
                found.add((step_of(step), Direction.PROBE))
            case e.ChildStarted(step):
                found.add((step_of(step), None))
            case e.CompensationStarted(step):
                is_child = isinstance(state.plan.step(step).work, Child)
                found.add((step_of(step), None if is_child else Direction.COMPENSATION))
            case _:
                pass
    return found


@for_all(journeys())
def test_a_saga_never_calls_what_it_was_not_seen_to_need(loop: Loop) -> None:
    """From any moment until its end, whatever is answered and ordered: so a saga that goes on misses nothing."""
    later: set[tuple[str, Direction | None]] = set()
    for moment in reversed(loop.moments):
        if moment.before.status.ended:
            later = set()
            continue
        later |= called(moment.events, moment.before)
        if moment.before.version:
            assert later <= {(need.step, need.direction) for need in needed(moment.before)}


@for_all(journeys())
def test_a_saga_that_meets_no_trouble_calls_all_that_it_surely_needs(loop: Loop) -> None:
    """From any moment, taken over by another worker and answered well: so a saga that is said to fail does."""
    for moment in loop.moments[1:]:
        before = moment.before
        if before.status.ended:
            continue
        other = Loop(before.plan)
        other.state, other.now = before, moment.at
        if before.paused:
            other.tell(Resume(*WHO))
        other.tell(OwnerGone("w-next"))
        calls = called(other.under_way.values(), before)
        let_it_end(other)
        if not meets_trouble(before, other):
            surely = {(need.step, need.direction) for need in needed(before) if need.is_sure}
            assert surely <= calls | called(other.log, before)


def meets_trouble(before: SagaState, loop: Loop) -> bool:
    """A deadline passes, a list or a delay cannot be read or is of nothing; or it had failed before."""
    aborts = loop.state.aborted is not before.aborted
    ends_failed = any(isinstance(event, e.SagaFailed) for event in loop.log)
    over_nothing = any(isinstance(event, e.StepFannedOut) and event.size == 0 for event in loop.log)
    return aborts or ends_failed or over_nothing
