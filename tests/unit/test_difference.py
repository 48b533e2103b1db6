"""What changed between two versions of a saga's story."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from saga_es.core import events as e
from saga_es.core.evolve import fold
from saga_es.core.plan import Plan
from saga_es.core.state import SagaState
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded
from saga_es.store.queries.difference import Change, differences
from saga_es.store.queries.story import SagaStory, story
from tests.support.story import ABC, NOW, SAGA_ID, STARTED, a_plan, a_step

LISTED = a_plan("a", a_step("b", over="input[names]", at_once=2))


def told(events: Sequence[e.SagaEvent], plan: Plan = ABC) -> SagaStory:
    history = [Recorded(SAGA_ID, SAGA, version, event, NOW) for version, event in enumerate(events, 1)]
    return story(fold(SagaState(SAGA_ID, plan), events), history)


STORY: list[e.SagaEvent] = [
    STARTED,
    e.StepStarted("a", 1),
    e.StepCompleted("a", {"id": 1}),
    e.StepStarted("b", 1),
    e.StepFailed("b", 1, "unavailable", "not now", NOW),
]


@pytest.mark.parametrize("version", range(1, len(STORY) + 1))
def test_a_story_does_not_differ_from_itself(version: int) -> None:
    """At no version."""
    assert differences(told(STORY[:version]), told(STORY[:version])) == []


def test_a_step_that_was_done_is_told_by_its_name_and_what_it_answered() -> None:
    """And nothing is told of what stayed as it was."""
    changes = {change.path: change for change in differences(told(STORY[:2]), told(STORY[:3]))}
    assert changes.pop("steps.a.completed_at").before is None
    assert changes == {
        "steps.a.status": Change("steps.a.status", "IN_PROGRESS", "COMPLETED"),
        "steps.a.result": Change("steps.a.result", None, {"id": 1}),
        "current_step_index": Change("current_step_index", 0, 1),
    }


def test_backwards_the_changes_are_the_same_with_before_and_after_changed_round() -> None:
    """Whatever the two versions."""
    for first in range(1, len(STORY) + 1):
        there, back = told(STORY[:first]), told(STORY)
        swapped = [Change(change.path, change.after, change.before) for change in differences(back, there)]
        assert {change.path: change for change in differences(there, back)} == {c.path: c for c in swapped}


def test_parts_of_a_step_that_appear_are_told_part_by_part() -> None:
    """They were not there before; each has a path of its own."""
    begun: list[e.SagaEvent] = [STARTED, e.StepFannedOut("b", 2), e.StepStarted("b[0]", 1), e.StepStarted("b[1]", 1)]
    changes = differences(told(begun[:1], LISTED), told([*begun, e.StepCompleted("b[1]", "done")], LISTED))
    results = {change.path: (change.before, change.after) for change in changes if change.path.endswith("status")}
    assert results == {
        "steps.b.status": ("PENDING", "IN_PROGRESS"),
        "steps.b[0].status": (None, "IN_PROGRESS"),
        "steps.b[1].status": (None, "COMPLETED"),
    }
    assert not any(change.path.endswith(("step", "name")) for change in changes)
