"""`GET /api/saga/status/{id}` of sagas with more to tell: parts, waits, tags, parents and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from saga_es import Saga
from tests.api.conftest import OpenNode
from tests.api.test_execute import status_of
from tests.support.journeys_served import app_of, begin, child_of, journey, outing, when


def test_a_step_over_a_list_shows_its_elements(open_node: OpenNode) -> None:
    """Each with its own result; one that was not wanted was skipped by nobody."""
    served = open_node(app_of(outing(journey())))
    saga_id = begin(served, "outing", guests=["Ann", "Bob"])
    invite = when(served.client, saga_id, lambda story: story["steps"][0]["status"] == "COMPLETED")["steps"][0]
    assert invite["result"] == ["Dear Ann", None]
    ann, bob = invite["elements"]
    assert (ann["step"], ann["status"], ann["result"], ann["skip"]) == ("invite[0]", "COMPLETED", "Dear Ann", None)
    assert (bob["step"], bob["status"], bob["result"]) == ("invite[1]", "SKIPPED", None)
    assert (bob["skip"]["actor"], bob["skip"]["reason"]) == (None, None)


def test_a_saga_and_the_one_it_runs_name_each_other(open_node: OpenNode) -> None:
    """The step has the child's id, the child its parent's."""
    served = open_node(app_of(outing(journey())))
    saga_id = begin(served, "outing", guests=[])
    child = child_of(served.client, saga_id)
    assert status_of(served.client, saga_id)["parent"] is None
    assert status_of(served.client, child)["parent"] == saga_id


def test_a_saga_shows_its_tags_and_its_times(open_node: OpenNode) -> None:
    """When it starts, by when it must have ended, and until when a step waits."""
    saga = Saga("wait", deadline_s=3600)
    saga.wait_for("ok", timeout_s=60)
    served = open_node(app_of(saga))
    starts_at = datetime.now(UTC) + timedelta(hours=1)
    later = served.node.engine.start(saga, tags={"shop": "7"}, starts_at=starts_at).saga_id
    story = status_of(served.client, later)
    assert (story["status"], story["tags"]) == ("PENDING", {"shop": "7"})
    assert datetime.fromisoformat(story["starts_at"]) == starts_at
    assert datetime.fromisoformat(story["deadline_at"]) == starts_at + timedelta(hours=1)

    step = status_of(served.client, begin(served, "wait"))["steps"][0]
    waits_s = datetime.fromisoformat(step["until"]) - datetime.fromisoformat(step["started_at"])
    assert abs(waits_s - timedelta(seconds=60)) < timedelta(seconds=1)
    assert (step["status"], step["attempts"], step["completed_at"]) == ("IN_PROGRESS", 0, None)
