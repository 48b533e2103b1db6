"""What users write: both ways of writing a step, and every mistake that is told while it is being made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.core.plan import BACKWARD, FORWARD, Plan, RetryPolicy, StepPlan, plan_id
from saga_es.definition.requests import Participant, Request
from saga_es.definition.saga import Saga
from saga_es.definition.signatures import asked_by
from saga_es.definition.steps import NAME_LIMIT, Step
from saga_es.errors import DefinitionError

BOX_OFFICE = Participant("box_office")
TWICE = RetryPolicy(attempts=2)


def nothing() -> None:
    """A step that does nothing."""


def an_order() -> Saga:
    order = Saga("order")

    @order.step
    def reserve_seat(input: dict[str, Any], key: str) -> dict[str, Any]:  # noqa: A002 (the word of the library)
        return {"seat": input["seat"], "key": key}

    @order.compensates(reserve_seat)
    def free_seat(reserve_seat: dict[str, Any] | None, action_key: str) -> None:
        del reserve_seat, action_key

    @order.step(title="Take the money", retry=TWICE, timeout_s=5, compensation=None)
    async def charge(reserve_seat: dict[str, Any], saga_id: str) -> str:
        del reserve_seat
        return saga_id

    return order


def the_step(saga: Saga, name: str) -> Step:
    step = saga.written(name)
    assert step is not None
    return step


# ── Functions ────────────────────────────────────────────────────────────────────────────────────────────


def test_steps_run_in_the_order_in_which_they_are_written() -> None:
    """The plan is what deciding needs, as plain data."""
    assert an_order().plan == Plan(
        "order",
        (
            StepPlan(name="reserve_seat", title="Reserve seat", retry=FORWARD, compensation=BACKWARD, timeout_s=30.0),
            StepPlan(name="charge", title="Take the money", retry=TWICE, compensation=None, timeout_s=5),
        ),
    )


def test_a_decorated_function_stays_what_it_was() -> None:
    """It can be called and tested like any other function."""
    saga = Saga("s")
    assert saga.step(nothing) is nothing
    assert saga.compensates("nothing")(nothing) is nothing


def test_a_definition_knows_what_each_step_calls() -> None:
    """The action and the compensation, by the step's name; None for what there is not."""
    saga = Saga("s")
    saga.step(nothing)
    undo = saga.compensates(nothing, retry=TWICE)(lambda: None)
    assert the_step(saga, "nothing").action is nothing
    assert the_step(saga, "nothing").compensation is undo
    assert saga.plan.step("nothing").compensation == TWICE
    assert saga.written("gone") is None
    assert the_step(an_order(), "charge").compensation is None


def test_a_function_says_what_it_asks_for_by_its_parameters() -> None:
    """Those without a default are needed; those with one are given when there is a value of that name."""

    def plain(input: Any, *, key: str, retries: int = 3) -> None: ...  # noqa: A002

    assert (asked_by(plain).needs, asked_by(plain).may_have) == (("input", "key"), ("retries",))


def test_a_compensation_may_ask_for_its_own_step() -> None:
    """It needs what the action answered, and the key the action had."""
    saga = Saga("s")
    saga.step(nothing)
    saga.compensates(nothing)(lambda nothing, action_key, key, saga_id, input: None)  # noqa: ARG005, A006
    assert saga.plan.step("nothing").compensation == BACKWARD


def test_a_plan_read_early_grows_with_the_definition() -> None:
    """Nothing stale is kept: the plan is that of the definition as it is now."""
    saga = Saga("s")
    saga.step(compensation=None)(nothing)
    first = saga.plan_id
    saga.request("b", BOX_OFFICE.post("/b"), compensation=None)
    assert [step.name for step in saga.plan.steps] == ["nothing", "b"]
    assert saga.plan_id != first


# ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_can_be_a_request() -> None:
    """Its plan is the same as a function's; what it calls is a value."""
    saga = Saga("order")
    action = BOX_OFFICE.post("/seats", body=lambda input: {"row": input["row"]})  # noqa: A006
    undo = BOX_OFFICE.delete("/seats/{action_key}")
    saga.request("seat", action, compensation=undo, retry=TWICE, compensation_retry=TWICE, timeout_s=3)
    assert saga.plan.steps == (StepPlan(name="seat", title="Seat", retry=TWICE, compensation=TWICE, timeout_s=3),)
    assert the_step(saga, "seat").action is action
    assert the_step(saga, "seat").compensation is undo


def test_a_participant_makes_requests_of_each_method() -> None:
    """A request names who is called, how, and where."""
    assert BOX_OFFICE.post("/x") == Request("box_office", "POST", "/x")
    assert BOX_OFFICE.put("/x") == Request("box_office", "PUT", "/x")
    assert BOX_OFFICE.delete("/x") == Request("box_office", "DELETE", "/x")


def test_a_request_needs_what_its_path_and_body_name() -> None:
    """Each name once, in the order of their use."""
    request = BOX_OFFICE.put("/a/{seat[id]}/{seat[row]}/{key}", body=lambda input, key: [input, key])  # noqa: A006
    assert request.asked.needs == ("seat", "key", "input")
    assert BOX_OFFICE.post("/plain").asked.needs == ()


def test_a_path_is_filled_in_and_each_value_stays_one_segment() -> None:
    """A question mark or a space in a value cannot make another route."""
    request = BOX_OFFICE.delete("/seats/{seat[id]}/of/{input[who]}")
    assert request.url_path({"seat": {"id": "a?b;c#d e%"}, "input": {"who": "Zoë"}}) == (
        "/seats/a%3Fb%3Bc%23d%20e%25/of/Zo%C3%AB"
    )


def test_a_path_begins_with_a_slash_and_is_ascii_however_it_is_written() -> None:
    """The base URL ends without one."""
    assert BOX_OFFICE.get("plätze/{key}").url_path({"key": "k"}) == "/pl%C3%A4tze/k"


def test_a_value_in_a_query_may_be_any_text() -> None:
    """It leads nowhere else: it is quoted, slashes too."""
    request = BOX_OFFICE.get("/seats/{key}?of={input[who]}&n={input[n]}")
    assert request.url_path({"key": "k", "input": {"who": "../a/b&c", "n": 1}}) == "/seats/k?of=..%2Fa%2Fb%26c&n=1"


def test_a_number_in_a_path_may_be_formatted() -> None:
    """What is written after the colon formats the value, before it is quoted."""
    assert BOX_OFFICE.delete("/{input[n]:05d}").url_path({"input": {"n": 42}}) == "/00042"
    assert BOX_OFFICE.delete("/{input[list][1]}").url_path({"input": {"list": [1, 2]}}) == "/2"


HOSTILE: list[Any] = [
    *["", ".", "..", "/", "7/guests/ada", "/7", "7/", "..\\7", "a\\b", "../7", "7/..", "a/../b"],
    *["%2e%2e", "%2E.", "7%2Fguests", "7%252Fguests", "7%5cguests", "%2f"],
    *["a\nb", "a\r\nX: y", "\0", "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b", "\t"],
    *[None, {}, {"id": 7}, [], ["7"]],
]


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_value_that_would_lead_elsewhere_is_refused(value: Any) -> None:
    """`rooms/7/guests/ada` is another resource than `rooms/7`; some servers unquote twice, or remove dots."""
    with pytest.raises(ValueError, match=r"."):
        BOX_OFFICE.delete("rooms/{input[room]}").url_path({"input": {"room": value}})


@for_all(st.text(max_size=8) | st.text("./\\%2eEfF5c", max_size=8))
def test_whatever_the_value_it_is_one_segment_or_refused(value: str) -> None:
    """As a server sees it that unquotes once, or twice."""
    try:
        path = BOX_OFFICE.delete("/rooms/{input}").url_path({"input": value})
    except ValueError:
        return
    for seen in (unquote(path), unquote(unquote(path))):
        assert seen.count("/") == 2
        assert "\\" not in seen
        assert seen.rpartition("/")[2] not in {"", ".", ".."}
    assert unquote(path) == f"/rooms/{value}"


@pytest.mark.parametrize("value", ["a", "a/b", "a/b.c/d", "Zoë/x y"])
def test_a_value_may_be_several_segments_where_the_path_says_so(value: str) -> None:
    """Each of them is quoted."""
    assert unquote(BOX_OFFICE.get("/files/{input:path}").url_path({"input": value})) == f"/files/{value}"


@pytest.mark.parametrize(
    "value", ["../a", "a/../b", "a//b", "/a", "a/", "a/.", "a\\b", "a/%2e%2e/b", "a\n/b", None, {}]
)
def test_several_segments_do_not_climb_either(value: Any) -> None:
    """None is empty, or dots."""
    with pytest.raises(ValueError, match=r"."):
        BOX_OFFICE.get("/files/{input:path}").url_path({"input": value})


def test_dots_cannot_be_put_together() -> None:
    """Each of two values is harmless, and the segment that they make is not."""
    with pytest.raises(ValueError, match=r"cannot be a segment|leads elsewhere"):
        BOX_OFFICE.get("/rooms/.{input}").url_path({"input": "."})
    with pytest.raises(ValueError, match="leads elsewhere"):
        BOX_OFFICE.get("/rooms/{input}/.").url_path({"input": "a"})


@pytest.mark.parametrize("path", ["/a b", "/a#b", "/a\nb", "/a\\b", "/a\r\nX: y"])
def test_a_path_that_no_request_can_have_is_a_mistake(path: str) -> None:
    """It is told when it is written."""
    with pytest.raises(DefinitionError, match="holds a blank"):
        BOX_OFFICE.get(path)


def test_the_form_of_an_answer_is_one_of_three() -> None:
    """A word that means nothing is a mistake."""
    assert BOX_OFFICE.post("/x", answer="text").answer == "text"
    with pytest.raises(DefinitionError, match="json, text, any"):
        BOX_OFFICE.post("/x", answer=cast("Any", "xml"))


def test_a_body_is_made_from_what_it_names() -> None:
    """A request without one has none."""
    request = BOX_OFFICE.post("/x", body=lambda input: {"n": input})  # noqa: A006
    assert request.json_body({"input": 1, "key": "k"}) == {"n": 1}
    assert BOX_OFFICE.post("/x").json_body({"input": 1}) is None


@pytest.mark.parametrize("path", ["/{input.__class__}", "/{input[a].b}", "/{input[a]:{input.__class__}}"])
def test_a_path_cannot_reach_into_attributes(path: str) -> None:
    """Data may be indexed; Python is not reachable from a path."""
    with pytest.raises(DefinitionError, match="but no attributes"):
        BOX_OFFICE.post(path).url_path({"input": {"a": "x"}})


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/{input.id}", id="an attribute"),
        pytest.param("/{}", id="a field without a name"),
        pytest.param("/{input[id]", id="a bracket that is not closed"),
        pytest.param("/{input[id]:{size}}", id="an unknown name within a format"),
    ],
)
def test_a_path_that_can_never_be_filled_in_is_a_mistake_at_once(path: str) -> None:
    """It is told while the saga is being written, not by each saga that runs."""
    with pytest.raises(DefinitionError):
        Saga("s").request("a", BOX_OFFICE.post(path), compensation=None)


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────────────


def two_steps_of_one_name(saga: Saga) -> None:
    saga.step(nothing)
    saga.step(nothing)


def a_step_that_asks_for_a_later_one(saga: Saga) -> None:
    def early(late: Any) -> None: ...

    saga.step(early)


def an_action_that_asks_for_the_key_of_itself(saga: Saga) -> None:
    def step(action_key: str) -> None: ...

    saga.step(step)


def a_request_that_asks_for_nobody(saga: Saga) -> None:
    saga.request("a", BOX_OFFICE.post("/{b[id]}", body=lambda c: c), compensation=None)


def a_compensation_that_asks_for_a_later_step(saga: Saga) -> None:
    saga.step(nothing)
    saga.request("later", BOX_OFFICE.post("/"), compensation=None)
    saga.compensates(nothing)(lambda later: None)  # noqa: ARG005


def a_compensation_of_nothing(saga: Saga) -> None:
    saga.step(nothing)
    saga.compensates("something")(nothing)


def a_compensation_before_any_step(saga: Saga) -> None:
    saga.compensates(nothing)(nothing)


def two_compensations(saga: Saga) -> None:
    saga.step(nothing)
    saga.compensates(nothing)(nothing)
    saga.compensates(nothing)(nothing)


def a_compensation_where_none_was_said(saga: Saga) -> None:
    saga.step(compensation=None)(nothing)
    saga.compensates(nothing)(nothing)


def a_step_named_input(saga: Saga) -> None:
    saga.request("input", BOX_OFFICE.post("/"), compensation=None)


def a_step_named_action_key(saga: Saga) -> None:
    saga.request("action_key", BOX_OFFICE.post("/"), compensation=None)


def a_step_with_a_dash(saga: Saga) -> None:
    saga.request("event-details", BOX_OFFICE.post("/"), compensation=None)


def a_step_with_a_long_name(saga: Saga) -> None:
    saga.request("x" * (NAME_LIMIT + 1), BOX_OFFICE.post("/"), compensation=None)


def a_step_that_takes_whatever_comes(saga: Saga) -> None:
    def greedy(**rest: Any) -> None: ...

    saga.step(greedy)


def a_step_without_a_signature(saga: Saga) -> None:
    saga.step(min)


def no_time_at_all(saga: Saga) -> None:
    saga.step(timeout_s=0)(nothing)


def less_than_no_time(saga: Saga) -> None:
    saga.request("a", BOX_OFFICE.post("/"), compensation=None, timeout_s=-1)


def no_steps(saga: Saga) -> None:
    _ = saga.plan


def no_word_about_compensation(saga: Saga) -> None:
    saga.step(nothing)
    _ = saga.plan


MISTAKES: list[tuple[Callable[[Saga], None], str]] = [
    (two_steps_of_one_name, "saga 'order' has two steps named 'nothing'"),
    (a_step_that_asks_for_a_later_one, r"step 'early' asks for 'late', .* there are input, key, saga_id"),
    (an_action_that_asks_for_the_key_of_itself, "step 'step' asks for 'action_key'"),
    (a_request_that_asks_for_nobody, "step 'a' asks for 'b', 'c', which is known to no earlier step"),
    (a_compensation_that_asks_for_a_later_step, "step 'nothing' asks for 'later'"),
    (a_compensation_of_nothing, "a compensation for 'something', but no step of that name; there are nothing"),
    (a_compensation_before_any_step, "no step of that name; there are none"),
    (two_compensations, "the compensation of step 'nothing' is already settled"),
    (a_compensation_where_none_was_said, "the compensation of step 'nothing' is already settled"),
    (a_step_named_input, "'input' cannot name a step; use an identifier of at most 100 characters"),
    (a_step_named_action_key, "'action_key' cannot name a step"),
    (a_step_with_a_dash, "'event-details' cannot name a step"),
    (a_step_with_a_long_name, "cannot name a step"),
    (a_step_that_takes_whatever_comes, r"must name each of its parameters, not \*\*rest"),
    (a_step_without_a_signature, "the parameters of .*min.* cannot be read; wrap it in a function"),
    (no_time_at_all, "step 'nothing': timeout_s must be more than 0, not 0"),
    (less_than_no_time, "step 'a': timeout_s must be more than 0, not -1"),
    (no_steps, "saga 'order' has no steps"),
    (no_word_about_compensation, r"step 'nothing' has no compensation; write one with @compensates\(nothing\), or say"),
]


@pytest.mark.parametrize(("mistake", "words"), MISTAKES, ids=[mistake.__name__ for mistake, _ in MISTAKES])
def test_a_mistake_is_told_while_it_is_written(mistake: Callable[[Saga], None], words: str) -> None:
    """The message names the saga or the step, what is wrong, and what there is instead."""
    with pytest.raises(DefinitionError, match=words):
        mistake(Saga("order"))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_time_out_that_json_cannot_carry_is_a_mistake(bad: float) -> None:
    """A plan is recorded in the log: infinity would be written as null, and the saga never read again."""
    with pytest.raises(DefinitionError, match="timeout_s"):
        Saga("s").step(timeout_s=bad, compensation=None)(nothing)


@pytest.mark.parametrize("name", ["", "x" * (NAME_LIMIT + 1)])
def test_a_saga_has_a_name_of_bounded_length(name: str) -> None:
    """It stands in the log and in lists."""
    with pytest.raises(DefinitionError, match=rf"a saga's name has 1 to 100 characters, not {len(name)}"):
        Saga(name)


# ── The id of a plan ─────────────────────────────────────────────────────────────────────────────────────


def test_the_same_definition_has_the_same_plan_id_everywhere() -> None:
    """Two processes that run the same code record one plan."""
    assert an_order().plan_id == an_order().plan_id == plan_id(an_order().plan)


def _plan(saga: str = "order", **changes: Any) -> Plan:
    return Plan(saga, (StepPlan(**{"name": "a", "title": "A", **changes}),))


CHANGES: dict[str, Plan] = {
    "as it was": _plan(),
    "another name of the saga": _plan(saga="orders"),
    "another name of a step": _plan(name="b"),
    "another title": _plan(title="B"),
    "another retry policy": _plan(retry=TWICE),
    "another policy of the compensation": _plan(compensation=TWICE),
    "no compensation": _plan(compensation=None),
    "another time-out": _plan(timeout_s=31.0),
    "one more step": Plan("order", (*_plan().steps, *_plan(name="b").steps)),
    "the steps the other way round": Plan("order", (*_plan(name="b").steps, *_plan().steps)),
}


def test_each_change_of_the_plan_is_another_id() -> None:
    """A running saga goes on under the plan it started with, so no two plans may share an id."""
    assert len({plan_id(plan) for plan in CHANGES.values()}) == len(CHANGES)


def test_a_change_of_code_is_not_a_change_of_the_plan() -> None:
    """What a function does inside is not part of the plan."""
    one, other = Saga("s"), Saga("s")
    one.request("a", BOX_OFFICE.post("/one"), compensation=None)
    other.request("a", BOX_OFFICE.put("/other"), compensation=None)
    assert one.plan_id == other.plan_id


def test_a_plan_knows_its_steps_by_name() -> None:
    """A name it has not is a KeyError."""
    assert _plan().step("a").title == "A"
    with pytest.raises(KeyError, match="b"):
        _plan().step("b")
