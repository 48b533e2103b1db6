"""Mistakes in what a saga can be made of beside steps in a row: each is told while it is being written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from saga_es.core.plan import LONGEST_S
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.definition.steps import MOST_AT_ONCE
from saga_es.errors import DefinitionError
from tests.support.definitions import DESK, a_payment, add, asking, named, nothing, order


def a_group_in_a_group(saga: Saga) -> None:
    with saga.together(), saga.together():
        pass


def after_a_step_that_is_not_there(saga: Saga) -> None:
    add(saga, "b", after=["c"])


def after_itself(saga: Saga) -> None:
    add(saga, "b", after=["b"])


def a_kind_that_is_none(saga: Saga) -> None:
    add(saga, "b", kind="final")


def a_condition_that_asks_for_its_own_step(saga: Saga) -> None:
    saga.step(when=lambda b: b, compensation=None)(named("b"))


def a_condition_that_takes_whatever_comes(saga: Saga) -> None:
    saga.step(when=lambda *rest: rest, compensation=None)(named("b"))


def no_list_to_go_over(saga: Saga) -> None:
    add(saga, "b", over="c[lines]")


def a_list_that_it_makes_itself(saga: Saga) -> None:
    add(saga, "b", over="b")


def a_path_that_is_none(saga: Saga) -> None:
    add(saga, "b", over="input.lines")


def an_element_of_no_list(saga: Saga) -> None:
    saga.step(compensation=None)(asking("b", lambda item: item))


def a_list_of_pivots(saga: Saga) -> None:
    add(saga, "b", over="input[lines]", kind="pivot")


def none_at_once(saga: Saga) -> None:
    add(saga, "b", over="input[lines]", at_once=0)


def too_many_at_once(saga: Saga) -> None:
    add(saga, "b", over="input[lines]", at_once=MOST_AT_ONCE + 1)


def half_of_one_at_once(saga: Saga) -> None:
    add(saga, "b", over="input[lines]", at_once=1.5)


def a_step_named_item(saga: Saga) -> None:
    add(saga, "item")


def a_probe_of_nothing(saga: Saga) -> None:
    saga.probes("b")(nothing)


def two_probes(saga: Saga) -> None:
    saga.probes("a")(nothing)
    saga.probes("a")(nothing)


def a_probe_that_is_answered_later(saga: Saga) -> None:
    bank = Participant("bank")
    saga.request("pay", bank.post("/pay"), compensation=None, probe=bank.post("/paid", accepts_202=True))


def a_probe_of_a_wait(saga: Saga) -> None:
    saga.delay("nap", 1)
    saga.probes("nap")(nothing)


def a_probe_that_asks_for_what_it_looks_for(saga: Saga) -> None:
    saga.probes("a")(lambda a: a)


def a_delay_of_nothing(saga: Saga) -> None:
    saga.delay("nap", 0)


def a_delay_of_more_than_a_year(saga: Saga) -> None:
    saga.delay("nap", LONGEST_S + 1)


def a_delay_by_a_path_that_is_none(saga: Saga) -> None:
    saga.delay("nap", "input[")


def a_delay_that_nobody_tells(saga: Saga) -> None:
    saga.delay("nap", "quote[s]")


def a_signal_that_has_no_time_to_come(saga: Saga) -> None:
    saga.wait_for("ok", timeout_s=-1)


def a_compensation_of_a_wait(saga: Saga) -> None:
    saga.wait_for("ok", timeout_s=None)
    saga.compensates("ok")(nothing)


def a_compensation_of_another_saga(saga: Saga) -> None:
    saga.child("pay", a_payment())
    saga.compensates("pay")(nothing)


def a_saga_that_cannot_be_compensated(saga: Saga) -> None:
    saga.child("pay", a_payment("pivot"))


def a_wait_that_may_fail_after_the_pivot(saga: Saga) -> None:
    add(saga, "pay", kind="pivot")
    saga.wait_for("ok", timeout_s=60)
    _ = saga.plan


def a_wait_that_may_fail_by_its_condition_after_the_pivot(saga: Saga) -> None:
    add(saga, "pay", kind="pivot")
    saga.delay("nap", 1, when=lambda: True)
    _ = saga.plan


def a_retriable_step_beside_the_pivot(saga: Saga) -> None:
    with saga.together():
        add(saga, "pay", kind="pivot")
        add(saga, "ship", kind="retriable")
    _ = saga.plan


def a_compensation_of_what_must_succeed(saga: Saga) -> None:
    add(saga, "pay", kind="pivot")
    saga.request("ship", DESK.post("/"), compensation=DESK.delete("/"), kind="retriable")


MISTAKES: list[tuple[Callable[[Saga], None], str]] = [
    (a_group_in_a_group, "saga 'order': a group cannot hold another; say what waits for what by `after`"),
    (after_a_step_that_is_not_there, r"step 'b' comes after 'c', but no step .* there are a$"),
    (after_itself, "step 'b' comes after 'b', but no step of that name is written before it"),
    (a_kind_that_is_none, "step 'b': a kind is one of compensatable, pivot, retriable, not 'final'"),
    (a_condition_that_asks_for_its_own_step, "step 'b' asks for 'b'"),
    (a_condition_that_takes_whatever_comes, "must name each of its parameters"),
    (no_list_to_go_over, "step 'b' asks for 'c', which is known to no earlier step; there are a, input"),
    (a_list_that_it_makes_itself, "step 'b' asks for 'b'"),
    (a_path_that_is_none, r"step 'b': 'input.lines' is not a path; write name, or name\[key\]"),
    (an_element_of_no_list, "step 'b' asks for 'item'"),
    (a_list_of_pivots, "step 'b' is a pivot, which is one call: it cannot be done over a list"),
    (none_at_once, "step 'b': at_once must be 1 to 1000, not 0"),
    (too_many_at_once, "step 'b': at_once must be 1 to 1000, not 1001"),
    (half_of_one_at_once, "step 'b': at_once must be 1 to 1000, not 1.5"),
    (a_step_named_item, "'item' cannot name a step"),
    (a_probe_of_nothing, "a probe for 'b', but no step of that name; there are a"),
    (two_probes, "step 'a' has a probe already"),
    (a_probe_of_a_wait, "step 'nap' makes no call, so there is nothing to probe"),
    (a_probe_that_is_answered_later, "the probe of step 'pay' is answered at once; leave accepts_202 out"),
    (a_probe_that_asks_for_what_it_looks_for, "step 'a' asks for 'a'"),
    (a_delay_of_nothing, "step 'nap': seconds must be more than 0, not 0"),
    (a_delay_of_more_than_a_year, r"step 'nap': seconds must be finite, and at most 31622400 \(a year\)"),
    (a_delay_by_a_path_that_is_none, r"step 'nap': 'input\[' is not a path"),
    (a_delay_that_nobody_tells, "step 'nap' asks for 'quote'"),
    (a_signal_that_has_no_time_to_come, "step 'ok': timeout_s must be more than 0, not -1"),
    (a_compensation_of_a_wait, "the compensation of step 'ok' is already settled"),
    (a_compensation_of_another_saga, "the compensation of step 'pay' is already settled"),
    (a_saga_that_cannot_be_compensated, "step 'pay' runs 'payment', which has a pivot and so cannot be compensated"),
    (a_wait_that_may_fail_after_the_pivot, "step 'ok' may fail when the pivot 'pay' is done"),
    (a_wait_that_may_fail_by_its_condition_after_the_pivot, "step 'nap' may fail when the pivot 'pay' is done"),
    (a_retriable_step_beside_the_pivot, "step 'ship' is retriable, so it must come after a pivot"),
    (a_compensation_of_what_must_succeed, "step 'ship' is retriable, and so is never compensated"),
]


@pytest.mark.parametrize(("mistake", "words"), MISTAKES, ids=[mistake.__name__ for mistake, _ in MISTAKES])
def test_a_mistake_is_told_while_it_is_written(mistake: Callable[[Saga], None], words: str) -> None:
    """The message names the step, what is wrong, and what there is instead."""
    saga = Saga("order")
    add(saga, "a")
    with pytest.raises(DefinitionError, match=words):
        mistake(saga)


@pytest.mark.parametrize("deadline_s", [0, -1, float("inf"), float("nan"), LONGEST_S + 1])
def test_a_deadline_that_nobody_can_keep_is_a_mistake(deadline_s: float) -> None:
    """It is the saga that is at fault, not one of its steps."""
    with pytest.raises(DefinitionError, match=r"^saga 's': deadline_s must be"):
        Saga("s", deadline_s=deadline_s)


def test_a_mistake_in_a_group_does_not_leave_it_open() -> None:
    """What is written next waits for what was there."""
    saga = Saga("s")
    add(saga, "a")
    with pytest.raises(DefinitionError), saga.together():
        add(saga, "a")
    add(saga, "b", "c")
    assert order(saga) == {"a": (), "b": ("a",), "c": ("b",)}


def test_a_step_that_was_refused_is_not_there() -> None:
    """Its name is free for the one that is right."""
    saga = Saga("s")
    with pytest.raises(DefinitionError):
        add(saga, "a", over="nowhere")
    add(saga, "a")
    assert saga.written("a") is not None
