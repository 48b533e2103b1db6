"""The checker finds each rule that a stream breaks, and nothing wrong with a sound one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from saga_es.core import events as e
from saga_es.core import invariants
from saga_es.core.invariants import Violation, violations
from saga_es.core.plan import BACKWARD, Plan, StepPlan
from tests.support.story import ABC, STARTED, done
from tests.support.streams import (
    ABORTED,
    ASKED,
    B_REFUSED,
    BARE,
    LATER,
    LISTED,
    NESTED,
    PIVOT,
    PROBED,
    SOUND,
    STUCK,
    TOGETHER,
    WAITING,
    WHO,
    reopened,
    undone,
)


def checked(plan: Plan, *events: e.SagaEvent) -> list[str]:
    """The rules that a stream of these events breaks."""
    return [violation.rule for violation in violations("s", plan, enumerate(events, 1))]


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_stream_breaks_no_rule(name: str) -> None:
    """One of each feature."""
    plan, events = SOUND[name]
    assert checked(plan, *events) == []


# ── Streams that break one rule ──────────────────────────────────────────────────────────────────────────

DOUBT = (STARTED, e.StepStarted("a", 1), e.StepFailed("a", 1, "unknown", "lost", LATER))
FANNED = (STARTED, *done("a"), e.StepFannedOut("b", 3))
C_REFUSED = (STARTED, *done("a", "b"), e.StepStarted("c", 1), e.StepFailed("c", 1, "rejected", "no"))


def migrated(*steps: str, undo: bool = True) -> e.SagaMigrated:
    """To a plan of these steps; without any, to the plan that it has."""
    policy = BACKWARD if undo else None
    plan = Plan("order", tuple(StepPlan(name=name, title=name, compensation=policy) for name in steps))
    return e.SagaMigrated("plan-2", plan if steps else ABC, *WHO)


BROKEN: list[tuple[str, Plan, list[e.SagaEvent]]] = [
    ("a saga starts once, with its first event", ABC, [STARTED, STARTED]),
    ("a saga starts once, with its first event", ABC, [e.SagaPaused(*WHO)]),
    ("the plan has no step 'x'", ABC, [STARTED, e.StepStarted("x", 1)]),
    ("StepStarted after the end (FAILED)", ABC, [STARTED, e.SagaFailed("gone"), e.StepStarted("a", 1)]),
    ("SagaCompleted after the end (COMPLETED)", ABC, [STARTED, *done(*"abc"), e.SagaCompleted(), e.SagaCompleted()]),
    (
        "StepSkipped after the end (FAILED)",
        ASKED,
        [STARTED, *done("a"), e.StepStarted("b", 1), e.SagaFailed("gone"), e.StepSkipped("b")],
    ),
    ("SagaReopened, but the saga is not at its end", ABC, [STARTED, reopened("IN_PROGRESS")]),
    ("SagaReopened, but the saga is COMPENSATED", ABC, [*B_REFUSED, *undone("a"), e.SagaCompensated(), reopened()]),
    ("SagaReopened, but the saga is COMPLETED", ABC, [*SOUND["all goes well"][1], reopened("IN_PROGRESS")]),
    ("SagaResolved, but the saga is not at its end", ABC, [STARTED, e.SagaResolved("COMPLETED", *WHO)]),
    ("StepSkipped, but the saga is not at its end", ABC, [STARTED, e.StepSkipped("a", *WHO)]),
    (
        "CompensationSkipped, but the saga is not at its end",
        ABC,
        [*B_REFUSED, e.CompensationStarted("a", 1), e.CompensationSkipped("a", *WHO)],
    ),
    (
        "SagaResolved where the saga should be reopened",
        ABC,
        [*STUCK, e.CompensationSkipped("a", *WHO), e.SagaResolved("COMPENSATED", *WHO)],
    ),
    ("StepStarted while the saga is paused", ABC, [STARTED, e.SagaPaused(*WHO), e.StepStarted("a", 1)]),
    (
        "CompensationStarted while the saga is paused",
        ABC,
        [*B_REFUSED, e.SagaPaused(*WHO), e.CompensationStarted("a", 1)],
    ),
    ("ProbeStarted while the saga is paused", PROBED, [*DOUBT, e.SagaPaused(*WHO), e.ProbeStarted("a", 1)]),
    ("WaitStarted while the saga is paused", WAITING, [STARTED, e.SagaPaused(*WHO), e.WaitStarted("nap", LATER)]),
    ("step 'a' goes forward before the saga began", ABC, [e.SagaStarted("order", "p", {}), e.StepStarted("a", 1)]),
    ("the saga begins twice", ABC, [STARTED, e.SagaBegan()]),
    ("attempt 2 of step 'a' follows attempt 0", ABC, [STARTED, e.StepStarted("a", 2)]),
    (
        "attempt 1 of step 'a' follows attempt 1",
        ABC,
        [STARTED, e.StepStarted("a", 1), e.StepFailed("a", 1, "unavailable", "busy", LATER), e.StepStarted("a", 1)],
    ),
    ("step 'a' begins, but is under way", ABC, [STARTED, e.StepStarted("a", 1), e.StepStarted("a", 2)]),
    ("step 'a' begins, but is done", ABC, [STARTED, *done("a"), e.StepStarted("a", 2)]),
    ("step 'b' begins before a", ABC, [STARTED, e.StepStarted("b", 1)]),
    ("step 'c' goes forward after the saga aborted", TOGETHER, [*B_REFUSED, e.StepStarted("c", 1)]),
    ("step 'a' is done without an intent", ABC, [STARTED, e.StepCompleted("a")]),
    ("step 'a' is done without an intent", ABC, [STARTED, *done("a"), e.StepCompleted("a")]),
    (
        "step 'b' is skipped, but its condition was not evaluated",
        ASKED,
        [STARTED, *done("a"), e.StepSkipped("b")],
    ),
    ("attempt 1 of step 'a' fails without an intent", ABC, [STARTED, e.StepFailed("a", 1, "rejected", "no")]),
    (
        "attempt 2 of step 'a' fails without an intent",
        ABC,
        [STARTED, e.StepStarted("a", 1), e.StepFailed("a", 2, "rejected", "no")],
    ),
    (
        "step 'b' runs a saga without having been called",
        NESTED,
        [STARTED, *done("a"), e.ChildStarted("b", "other", "s2", {})],
    ),
    ("step 'nap' waits twice", WAITING, [STARTED, e.WaitStarted("nap", LATER), e.WaitStarted("nap", LATER)]),
    (
        "step 'word' is done without its signal",
        WAITING,
        [STARTED, e.WaitStarted("nap"), e.StepCompleted("nap"), e.WaitStarted("word"), e.StepCompleted("word")],
    ),
    ("step 'b' is fanned out twice", LISTED, [*FANNED, e.StepFannedOut("b", 2)]),
    ("step 'b[3]' is not one of 3 elements", LISTED, [*FANNED, e.StepStarted("b[3]", 1)]),
    ("step 'b[0]' is not one of 0 elements", LISTED, [STARTED, *done("a"), e.StepStarted("b[0]", 1)]),
    (
        "step 'b[2]' is one more than 2 at once",
        LISTED,
        [*FANNED, e.StepStarted("b[0]", 1), e.StepStarted("b[1]", 1), e.StepStarted("b[2]", 1)],
    ),
    ("step 'b' does not fit the plan: 'b' is done over input[names]", LISTED, [*FANNED, e.StepStarted("b", 1)]),
    ("step 'a[0]' does not fit the plan: 'a' is done over no list", LISTED, [STARTED, e.StepStarted("a[0]", 1)]),
    ("step 'a' is probed, but is not in doubt", PROBED, [STARTED, e.StepStarted("a", 1), e.ProbeStarted("a", 1)]),
    ("a probe of step 'a' is answered without an intent", PROBED, [*DOUBT, e.ProbeAnswered("a")]),
    ("step 'a' is undone, but the saga goes forward", ABC, [STARTED, *done("a"), e.CompensationStarted("a", 1)]),
    (
        "step 'c' is undone, but has no effect",
        ABC,
        [*C_REFUSED, e.SagaAborted("c", "no"), e.CompensationStarted("c", 1)],
    ),
    (
        "step 'a' is undone, but has no effect",
        ABC,
        [*B_REFUSED, *undone("a"), e.CompensationStarted("a", 2)],
    ),
    (
        "step 'a' is undone, but has no compensation",
        BARE,
        [
            STARTED,
            *done("a"),
            e.StepStarted("b", 1),
            e.StepFailed("b", 1, "rejected", "no"),
            ABORTED,
            e.CompensationStarted("a", 1),
        ],
    ),
    (
        "step 'b' is undone while an action is in flight",
        TOGETHER,
        [STARTED, *done("a"), e.StepStarted("c", 1), *done("b"), e.SagaCancelled(*WHO), e.CompensationStarted("b", 1)],
    ),
    (
        "step 'a' is undone before b, which came after it",
        ABC,
        [*C_REFUSED, e.SagaAborted("c", "no"), e.CompensationStarted("a", 1)],
    ),
    ("attempt 2 to undo step 'a' follows attempt 0", ABC, [*B_REFUSED, e.CompensationStarted("a", 2)]),
    (
        "attempt 3 to undo step 'a' follows attempt 1",
        ABC,
        [
            *B_REFUSED,
            e.CompensationStarted("a", 1),
            e.CompensationFailed("a", 1, "unavailable", "busy", LATER),
            e.CompensationStarted("a", 3),
        ],
    ),
    ("step 'a' is undone without an intent", ABC, [*B_REFUSED, e.CompensationCompleted("a")]),
    (
        "attempt 1 to undo step 'a' fails without an intent",
        ABC,
        [*B_REFUSED, e.CompensationFailed("a", 1, "rejected", "no")],
    ),
    ("the saga is taken over from w7, but its owner is w1", ABC, [STARTED, e.SagaTakenOver("w2", "w7")]),
    ("the saga is migrated after it aborted", ABC, [*B_REFUSED, migrated()]),
    (
        "the saga is migrated after the end (COMPLETED)",
        ABC,
        [STARTED, *done(*"abc"), e.SagaCompleted(), migrated()],
    ),
    ("step 'b' is lost in a migration", ABC, [STARTED, *done("a"), e.StepStarted("b", 1), migrated(*"ac")]),
    ("the compensation of step 'a' is lost in a migration", ABC, [STARTED, *done("a"), migrated(*"abc", undo=False)]),
    ("w7 lets go of the saga, but its owner is w1", ABC, [STARTED, e.SagaReleased("w7", "no code")]),
    (
        "attempt 1 of the action of step 'a' goes on, but is not in flight",
        ABC,
        [STARTED, *done("a"), e.StepProgressed("a", 1)],
    ),
    (
        "attempt 2 of the action of step 'a' goes on, but is not in flight",
        ABC,
        [STARTED, e.StepStarted("a", 1), e.StepProgressed("a", 2)],
    ),
    (
        "attempt 1 of the compensation of step 'a' goes on, but is not in flight",
        ABC,
        [STARTED, e.StepStarted("a", 1), e.StepProgressed("a", 1, "compensation")],
    ),
    (
        "attempt 1 of the probe of step 'a' goes on, but is not in flight",
        PROBED,
        [STARTED, e.StepStarted("a", 1), e.StepProgressed("a", 1, "probe")],
    ),
    ("the saga aborts twice", ABC, [*B_REFUSED, e.SagaCancelled(*WHO)]),
    ("the saga aborts after its pivot 'b' was called", PIVOT, [STARTED, *done("a", "b"), e.SagaCancelled(*WHO)]),
    ("COMPLETED without b, c", ABC, [STARTED, *done("a"), e.SagaCompleted()]),
    (
        "COMPLETED without b",
        LISTED,
        [*FANNED, e.StepStarted("b[0]", 1), e.StepCompleted("b[0]"), e.SagaCompleted()],
    ),
    ("COMPLETED after the saga aborted", ABC, [STARTED, *done(*"abc"), e.SagaCancelled(*WHO), e.SagaCompleted()]),
    ("COMPENSATED, but a is not undone", ABC, [*B_REFUSED, e.SagaCompensated()]),
    (
        "COMPENSATED while a is in flight",
        PROBED,
        [*DOUBT, e.ProbeStarted("a", 1), e.SagaCancelled(*WHO), e.SagaCompensated()],
    ),
    ("COMPENSATED, but the saga never aborted", ABC, [STARTED, e.SagaCompensated()]),
]


@pytest.mark.parametrize(("rule", "plan", "events"), BROKEN, ids=[f"{n} {rule}" for n, (rule, *_) in enumerate(BROKEN)])
def test_a_stream_that_breaks_one_rule_is_told_which(rule: str, plan: Plan, events: list[e.SagaEvent]) -> None:
    """Its last event breaks it, all before are sound, and nothing else is found wrong."""
    assert violations("s", plan, enumerate(events, 1)) == [Violation("s", len(events), rule)]


def test_a_version_that_is_missing_is_found() -> None:
    """The versions of a stream leave no gap, and none comes twice."""
    gap = violations("s", ABC, [(1, STARTED), (3, e.StepStarted("a", 1)), (4, e.StepCompleted("a"))])
    assert gap == [Violation("s", 3, "version 2 is missing")]
    twice = violations("s", ABC, [(1, STARTED), (2, e.StepStarted("a", 1)), (2, e.StepCompleted("a"))])
    assert twice == [Violation("s", 2, "version 3 is missing")]


def test_a_violation_names_the_saga_and_the_version() -> None:
    """So that `saga-es show` can be pointed at it."""
    assert str(Violation("s7", 3, "version 2 is missing")) == "saga s7 at version 3: version 2 is missing"


def test_every_rule_of_the_checker_is_broken_here() -> None:
    """Each text that it can say is said to one of the streams above."""
    said = "\n".join([*(rule for rule, *_ in BROKEN), "version 2 is missing"])
    texts = [_as_pattern(text) for text in _texts(Path(invariants.__file__))]
    assert len(texts) > 30
    assert [text for text in texts if not re.search(text, said, flags=re.MULTILINE)] == []


def _texts(file: Path) -> list[ast.expr]:
    """What stands in lists of rules: texts with at least two words, but for docstrings and what `__str__` says."""
    tree = ast.parse(file.read_text())
    (books,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "_Books")
    lists = [node.elts for node in ast.walk(books) if isinstance(node, ast.List)]
    calls = [node for node in ast.walk(books) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    lists += [call.args for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "append"]
    found = [element for elements in lists for element in elements]
    return [text for text in found if isinstance(text, ast.JoinedStr | ast.Constant)]


def _as_pattern(text: ast.expr) -> str:
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    words = (re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)
    return "^" + "".join(words) + "$"
