"""What a saga can be made of beside steps in a row, as it is written; and the mistakes that are told meanwhile."""

from __future__ import annotations

import pytest

from saga_es.core.outcomes import Direction
from saga_es.core.plan import Child, Delay, RetryPolicy, Signal
from saga_es.definition.saga import Saga, family
from saga_es.definition.signatures import Function
from saga_es.errors import DefinitionError
from tests.support.definitions import DESK, a_payment, a_step, add, asking, named, nothing, order, written

TWICE = RetryPolicy(attempts=2)


# ── What waits for what ──────────────────────────────────────────────────────────────────────────────────


def test_steps_in_a_group_run_together_and_what_follows_waits_for_all() -> None:
    """The group itself waits for the step before it."""
    saga = Saga("s")
    add(saga, "a")
    with saga.together():
        add(saga, "b", "c")
    add(saga, "d", "e")
    assert order(saga) == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("d",)}


def test_a_group_at_the_start_waits_for_nothing() -> None:
    """Its steps are the first."""
    saga = Saga("s")
    with saga.together():
        add(saga, "a", "b")
    add(saga, "c")
    assert order(saga) == {"a": (), "b": (), "c": ("a", "b")}


def test_a_group_waits_for_all_of_the_group_before_it() -> None:
    """Two blocks, one after the other."""
    saga = Saga("s")
    with saga.together():
        add(saga, "a", "b")
    with saga.together():
        add(saga, "c", "d")
    assert order(saga) == {"a": (), "b": (), "c": ("a", "b"), "d": ("a", "b")}


def test_an_empty_group_changes_nothing() -> None:
    """The next step waits for the one before."""
    saga = Saga("s")
    add(saga, "a")
    with saga.together():
        pass
    add(saga, "b")
    assert order(saga) == {"a": (), "b": ("a",)}


def test_every_way_of_writing_a_step_can_stand_in_a_group() -> None:
    """Functions, requests, waits and other sagas."""
    child = Saga("child")
    add(child, "x")
    saga = Saga("s")
    with saga.together():
        add(saga, "a")
        saga.request("b", DESK.post("/b"), compensation=None)
        saga.delay("c", 1)
        saga.wait_for("d", timeout_s=None)
        saga.child("e", child)
    assert set(order(saga).values()) == {()}


def test_after_says_what_a_step_waits_for() -> None:
    """Steps as functions or names, each once; of an empty list, nothing."""
    saga = Saga("s")
    first = saga.step(compensation=None)(named("first"))
    add(saga, "second", after=[])
    add(saga, "third", after=[first, "second", "first"])
    assert order(saga) == {"first": (), "second": (), "third": ("first", "second")}


def test_a_step_knows_only_what_is_surely_done_before_it() -> None:
    """A step beside it may not have answered yet."""
    saga = Saga("s")
    with saga.together():
        add(saga, "a", "b")
        with pytest.raises(DefinitionError, match=r"step 'c' asks for 'a', .* there are input, key, saga_id$"):
            saga.step(compensation=None)(asking("c", lambda a: a))
    saga.step(compensation=None)(asking("d", lambda a, b: (a, b)))
    assert order(saga)["d"] == ("a", "b")


# ── Conditions and lists ─────────────────────────────────────────────────────────────────────────────────


def test_a_step_may_have_a_condition() -> None:
    """The plan says that there is one; the code is the definition's."""
    wanted: Function = lambda input: input["gift"]  # noqa: A006, E731
    saga = Saga("s")
    saga.step(when=wanted, compensation=None)(named("a"))
    assert a_step(saga).condition
    assert written(saga, "a").condition is wanted


@pytest.mark.parametrize("over", ["input[lines]", "cart", "cart[lines][0]"])
def test_a_step_may_go_over_a_list(over: str) -> None:
    """By a path into the input, or into what an earlier step answered; its calls may ask for the element."""
    saga = Saga("s")
    add(saga, "cart")
    saga.step(over=over, at_once=3)(asking("a", lambda item, index, cart: (item, index, cart)))
    saga.compensates("a")(lambda a, item, index, action_key: (a, item, index, action_key))
    assert (a_step(saga).over, a_step(saga).at_once) == (over, 3)


def test_a_list_may_be_given_by_its_step() -> None:
    """As a function, like everywhere."""
    saga = Saga("s")
    cart = saga.step(compensation=None)(named("cart"))
    add(saga, "a", over=cart)
    saga.request("b", DESK.post("/{item[id]}"), compensation=DESK.delete("/{index}"), over=cart)
    assert (a_step(saga).over, a_step(saga, "b").over) == ("cart", "cart")


# ── Probes ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_may_have_a_probe() -> None:
    """It may ask for what the action may ask for, and its key is the action's."""
    saga = Saga("s")
    saga.step(compensation=None)(nothing)
    before = saga.plan_id
    probe = saga.probes(nothing)(lambda key, input, saga_id: (key, input, saga_id))  # noqa: A006
    assert a_step(saga, "nothing").probe
    assert written(saga, "nothing").callee(Direction.PROBE) is probe
    assert saga.plan_id != before


def test_a_request_may_have_a_probe() -> None:
    """A GET, that changes nothing."""
    saga = Saga("s")
    probe = DESK.get("/seats/{key}")
    saga.request("seat", DESK.post("/seats"), compensation=None, probe=probe)
    assert (probe.method, written(saga, "seat").probe, a_step(saga, "seat").probe) == ("GET", probe, True)


# ── Waits ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_delay_is_a_step_that_calls_nobody() -> None:
    """There is nothing to undo."""
    saga = Saga("s")
    saga.delay("nap", 90, title="Time to think")
    step = a_step(saga, "nap")
    assert (step.work, step.title, step.compensation) == (Delay(90), "Time to think", None)
    assert written(saga, "nap").action is None


def test_a_delay_may_be_told_by_the_input_or_a_result() -> None:
    """By a path, and under a condition."""
    saga = Saga("s")
    add(saga, "quote")
    saga.delay("nap", "quote[valid_s]", when=lambda quote: quote["valid_s"] > 1)
    assert (a_step(saga, "nap").work, a_step(saga, "nap").condition) == (Delay("quote[valid_s]"), True)


@pytest.mark.parametrize("timeout_s", [None, 86_400])
def test_a_wait_for_a_signal_says_how_long(timeout_s: float | None) -> None:
    """For ever has to be said."""
    saga = Saga("s")
    saga.wait_for("approval", timeout_s=timeout_s)
    assert (a_step(saga, "approval").work, a_step(saga, "approval").compensation) == (Signal(timeout_s), None)


# ── Sagas in sagas ───────────────────────────────────────────────────────────────────────────────────────


def test_a_step_may_run_another_saga() -> None:
    """What makes its input is its action; its compensation is that saga's."""
    saga = Saga("s")
    saga.child("payment", a_payment(), input=lambda input: {"n": input["n"]}, compensation_retry=TWICE)  # noqa: A006
    step = a_step(saga, "payment")
    assert (step.work, step.compensation) == (Child("payment"), TWICE)
    assert written(saga, "payment").compensation is None


def test_a_saga_that_is_run_gets_its_parents_input_if_nothing_else_is_said() -> None:
    """As it is."""
    saga = Saga("s")
    saga.child("payment", a_payment())
    action = written(saga, "payment").action
    assert callable(action)
    assert action(input={"n": 1}) == {"n": 1}


def test_a_saga_with_a_pivot_may_be_run_as_one() -> None:
    """Then it is not compensated either."""
    saga = Saga("s")
    saga.child("payment", a_payment("pivot"), kind="pivot")
    saga.child("again", a_payment("pivot"), kind="retriable")
    assert [step.compensation for step in saga.plan.steps] == [None, None]


def test_a_family_is_a_saga_and_those_that_its_steps_run() -> None:
    """Each once, also when two run the same, or one runs itself."""
    payment, order = a_payment(), Saga("order")
    order.child("first", payment)
    order.child("second", payment)
    order.child("again", order, when=lambda: False)
    assert family([order]) == [order, payment]
    assert family([payment, order, payment]) == [payment, order]


def test_two_sagas_of_one_name_are_no_family() -> None:
    """The log could not tell them apart."""
    saga = Saga("s")
    saga.child("payment", a_payment())
    with pytest.raises(DefinitionError, match="there are two sagas named 'payment'"):
        family([saga, a_payment()])


# ── The whole ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_may_have_a_deadline() -> None:
    """It is part of the plan."""
    with_deadline, without = Saga("s", deadline_s=60), Saga("s")
    add(with_deadline, "a")
    add(without, "a")
    assert (with_deadline.plan.deadline_s, without.plan.deadline_s) == (60, None)
    assert with_deadline.plan_id != without.plan_id


def test_waits_that_cannot_fail_may_come_after_the_pivot() -> None:
    """A time surely comes; who waits for ever is never disappointed."""
    saga = Saga("s")
    add(saga, "pay", kind="pivot")
    saga.delay("nap", 1)
    saga.wait_for("seen", timeout_s=None)
    add(saga, "ship", kind="retriable")
    assert [step.name for step in saga.plan.steps] == ["pay", "nap", "seen", "ship"]
