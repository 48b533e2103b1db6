"""The checker finds each rule that a stream breaks, and nothing wrong with a sound one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from saga_es.core import invariants
from saga_es.core.events import (
    ChildStarted,
    CompensationCompleted,
    CompensationFailed,
    CompensationSkipped,
    CompensationStarted,
    ProbeAnswered,
    ProbeStarted,
    SagaAborted,
    SagaBegan,
    SagaCancelled,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaFailed,
    SagaPaused,
    SagaResolved,
    SagaStarted,
    SagaTakenOver,
    StepCompleted,
    StepFailed,
    StepFannedOut,
    StepSkipped,
    StepStarted,
    WaitStarted,
)
from saga_es.core.invariants import Violation, violations
from saga_es.core.plan import Plan
from tests.unit.story import ABC, STARTED, done
from tests.unit.streams import (
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


def checked(plan: Plan, *events: SagaEvent) -> list[str]:
    """The rules that a stream of these events breaks."""
    return [violation.rule for violation in violations("s", plan, enumerate(events, 1))]


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_stream_breaks_no_rule(name: str) -> None:
    """One of each feature."""
    plan, events = SOUND[name]
    assert checked(plan, *events) == []


# ── Streams that break one rule ──────────────────────────────────────────────────────────────────────────

DOUBT = (STARTED, StepStarted("a", 1), StepFailed("a", 1, "unknown", "lost", LATER))
FANNED = (STARTED, *done("a"), StepFannedOut("b", 3))
C_REFUSED = (STARTED, *done("a", "b"), StepStarted("c", 1), StepFailed("c", 1, "rejected", "no"))

BROKEN: list[tuple[str, Plan, list[SagaEvent]]] = [
    ("a saga starts once, with its first event", ABC, [STARTED, STARTED]),
    ("a saga starts once, with its first event", ABC, [SagaPaused(*WHO)]),
    ("the plan has no step 'x'", ABC, [STARTED, StepStarted("x", 1)]),
    ("StepStarted after the end (FAILED)", ABC, [STARTED, SagaFailed("gone"), StepStarted("a", 1)]),
    ("SagaCompleted after the end (COMPLETED)", ABC, [STARTED, *done(*"abc"), SagaCompleted(), SagaCompleted()]),
    (
        "StepSkipped after the end (FAILED)",
        ASKED,
        [STARTED, *done("a"), StepStarted("b", 1), SagaFailed("gone"), StepSkipped("b")],
    ),
    ("SagaReopened, but the saga is not at its end", ABC, [STARTED, reopened("IN_PROGRESS")]),
    ("SagaReopened, but the saga is COMPENSATED", ABC, [*B_REFUSED, *undone("a"), SagaCompensated(), reopened()]),
    ("SagaReopened, but the saga is COMPLETED", ABC, [*SOUND["all goes well"][1], reopened("IN_PROGRESS")]),
    ("SagaResolved, but the saga is not at its end", ABC, [STARTED, SagaResolved("COMPLETED", *WHO)]),
    ("StepSkipped, but the saga is not at its end", ABC, [STARTED, StepSkipped("a", *WHO)]),
    (
        "CompensationSkipped, but the saga is not at its end",
        ABC,
        [*B_REFUSED, CompensationStarted("a", 1), CompensationSkipped("a", *WHO)],
    ),
    (
        "SagaResolved where the saga should be reopened",
        ABC,
        [*STUCK, CompensationSkipped("a", *WHO), SagaResolved("COMPENSATED", *WHO)],
    ),
    ("StepStarted while the saga is paused", ABC, [STARTED, SagaPaused(*WHO), StepStarted("a", 1)]),
    ("CompensationStarted while the saga is paused", ABC, [*B_REFUSED, SagaPaused(*WHO), CompensationStarted("a", 1)]),
    ("ProbeStarted while the saga is paused", PROBED, [*DOUBT, SagaPaused(*WHO), ProbeStarted("a", 1)]),
    ("WaitStarted while the saga is paused", WAITING, [STARTED, SagaPaused(*WHO), WaitStarted("nap", LATER)]),
    ("step 'a' goes forward before the saga began", ABC, [SagaStarted("order", "p", {}), StepStarted("a", 1)]),
    ("the saga begins twice", ABC, [STARTED, SagaBegan()]),
    ("attempt 2 of step 'a' follows attempt 0", ABC, [STARTED, StepStarted("a", 2)]),
    (
        "attempt 1 of step 'a' follows attempt 1",
        ABC,
        [STARTED, StepStarted("a", 1), StepFailed("a", 1, "unavailable", "busy", LATER), StepStarted("a", 1)],
    ),
    ("step 'a' begins, but is under way", ABC, [STARTED, StepStarted("a", 1), StepStarted("a", 2)]),
    ("step 'a' begins, but is done", ABC, [STARTED, *done("a"), StepStarted("a", 2)]),
    ("step 'b' begins before a", ABC, [STARTED, StepStarted("b", 1)]),
    ("step 'c' goes forward after the saga aborted", TOGETHER, [*B_REFUSED, StepStarted("c", 1)]),
    ("step 'a' is done without an intent", ABC, [STARTED, StepCompleted("a")]),
    ("step 'a' is done without an intent", ABC, [STARTED, *done("a"), StepCompleted("a")]),
    (
        "step 'b' is skipped without having been asked whether it is wanted",
        ASKED,
        [STARTED, *done("a"), StepSkipped("b")],
    ),
    ("attempt 1 of step 'a' fails without an intent", ABC, [STARTED, StepFailed("a", 1, "rejected", "no")]),
    (
        "attempt 2 of step 'a' fails without an intent",
        ABC,
        [STARTED, StepStarted("a", 1), StepFailed("a", 2, "rejected", "no")],
    ),
    (
        "step 'b' runs a saga without having been called",
        NESTED,
        [STARTED, *done("a"), ChildStarted("b", "other", "s2", {})],
    ),
    ("step 'nap' waits twice", WAITING, [STARTED, WaitStarted("nap", LATER), WaitStarted("nap", LATER)]),
    (
        "step 'word' is done without its signal",
        WAITING,
        [STARTED, WaitStarted("nap"), StepCompleted("nap"), WaitStarted("word"), StepCompleted("word")],
    ),
    ("step 'b' is fanned out twice", LISTED, [*FANNED, StepFannedOut("b", 2)]),
    ("step 'b[3]' is none of 3 parts", LISTED, [*FANNED, StepStarted("b[3]", 1)]),
    (
        "step 'b[2]' is one more than 2 at once",
        LISTED,
        [*FANNED, StepStarted("b[0]", 1), StepStarted("b[1]", 1), StepStarted("b[2]", 1)],
    ),
    ("step 'b' is not of the plan: 'b' is done over input[names]", LISTED, [*FANNED, StepStarted("b", 1)]),
    ("step 'a[0]' is not of the plan: 'a' is done over no list", LISTED, [STARTED, StepStarted("a[0]", 1)]),
    ("step 'a' is asked about, but is not in doubt", PROBED, [STARTED, StepStarted("a", 1), ProbeStarted("a", 1)]),
    ("a probe of step 'a' is answered that nobody sent", PROBED, [*DOUBT, ProbeAnswered("a")]),
    ("step 'a' is undone, but the saga goes forward", ABC, [STARTED, *done("a"), CompensationStarted("a", 1)]),
    (
        "step 'c' is undone, but has no effect that stands",
        ABC,
        [*C_REFUSED, SagaAborted("c", "no"), CompensationStarted("c", 1)],
    ),
    ("step 'a' is undone, but has no effect that stands", ABC, [*B_REFUSED, *undone("a"), CompensationStarted("a", 2)]),
    (
        "step 'a' is undone, but has no compensation",
        BARE,
        [
            STARTED,
            *done("a"),
            StepStarted("b", 1),
            StepFailed("b", 1, "rejected", "no"),
            ABORTED,
            CompensationStarted("a", 1),
        ],
    ),
    (
        "step 'b' is undone while an action is out",
        TOGETHER,
        [STARTED, *done("a"), StepStarted("c", 1), *done("b"), SagaCancelled(*WHO), CompensationStarted("b", 1)],
    ),
    (
        "step 'a' is undone before b, which came after it",
        ABC,
        [*C_REFUSED, SagaAborted("c", "no"), CompensationStarted("a", 1)],
    ),
    ("attempt 2 to undo step 'a' follows attempt 0", ABC, [*B_REFUSED, CompensationStarted("a", 2)]),
    (
        "attempt 3 to undo step 'a' follows attempt 1",
        ABC,
        [
            *B_REFUSED,
            CompensationStarted("a", 1),
            CompensationFailed("a", 1, "unavailable", "busy", LATER),
            CompensationStarted("a", 3),
        ],
    ),
    ("step 'a' is undone without an intent", ABC, [*B_REFUSED, CompensationCompleted("a")]),
    (
        "attempt 1 to undo step 'a' fails without an intent",
        ABC,
        [*B_REFUSED, CompensationFailed("a", 1, "rejected", "no")],
    ),
    ("it is taken from w7, but belongs to w1", ABC, [STARTED, SagaTakenOver("w2", "w7")]),
    ("the saga aborts twice", ABC, [*B_REFUSED, SagaCancelled(*WHO)]),
    ("the saga aborts after its pivot 'b' was called", PIVOT, [STARTED, *done("a", "b"), SagaCancelled(*WHO)]),
    ("COMPLETED without b, c", ABC, [STARTED, *done("a"), SagaCompleted()]),
    (
        "COMPLETED without b",
        LISTED,
        [*FANNED, StepStarted("b[0]", 1), StepCompleted("b[0]"), SagaCompleted()],
    ),
    ("COMPLETED after the saga aborted", ABC, [STARTED, *done(*"abc"), SagaCancelled(*WHO), SagaCompleted()]),
    ("COMPENSATED, but a stands", ABC, [*B_REFUSED, SagaCompensated()]),
    ("COMPENSATED while a is out", PROBED, [*DOUBT, ProbeStarted("a", 1), SagaCancelled(*WHO), SagaCompensated()]),
    ("COMPENSATED, but the saga never aborted", ABC, [STARTED, SagaCompensated()]),
]


@pytest.mark.parametrize(("rule", "plan", "events"), BROKEN, ids=[f"{n} {rule}" for n, (rule, *_) in enumerate(BROKEN)])
def test_a_stream_that_breaks_one_rule_is_told_which(rule: str, plan: Plan, events: list[SagaEvent]) -> None:
    """Its last event breaks it, all before are sound, and nothing else is found wrong."""
    assert violations("s", plan, enumerate(events, 1)) == [Violation("s", len(events), rule)]


def test_a_version_that_is_missing_is_found() -> None:
    """The versions of a stream leave no gap, and none comes twice."""
    gap = violations("s", ABC, [(1, STARTED), (3, StepStarted("a", 1)), (4, StepCompleted("a"))])
    assert gap == [Violation("s", 3, "version 2 is missing")]
    twice = violations("s", ABC, [(1, STARTED), (2, StepStarted("a", 1)), (2, StepCompleted("a"))])
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
