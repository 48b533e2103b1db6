"""Reading sagas over HTTP: status, list, events and health."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

import services
from tests.api.conftest import OpenNode, opened
from tests.api.test_execute import EXECUTE, STEPS, TITLES, body_of
from tests.support.participants import Hangs, Participant

UNKNOWN = "5f2a3f0e-93a1-4d0c-8f0d-2c5e7d0f1a11"


@dataclass(frozen=True)
class Shelf:
    """A database with some sagas in it, in the order in which they were started."""

    client: FlaskClient
    completed: list[str]
    compensated: list[str]

    @property
    def newest_first(self) -> list[str]:
        """All of them as a list should show them."""
        # Each started after the one before had ended, one of either kind in turn.
        in_order = [saga for pair in zip(self.completed, self.compensated, strict=True) for saga in pair]
        return in_order[::-1]

    def page(self, **query: Any) -> dict[str, Any]:
        """A page of the list."""
        return body_of(self.client.get(f"/api/saga/list?{urlencode(query)}"), 200)

    def walk(self, **query: Any) -> Iterator[list[str]]:
        """All pages, from the first to the last, as ids."""
        cursor: dict[str, str] = {}
        while True:
            body = self.page(**query, **cursor)
            yield [saga["transaction_id"] for saga in body["transactions"]]
            if body["next_cursor"] is None:
                return
            cursor = {"cursor": body["next_cursor"]}


@pytest.fixture(scope="module")
def shelf(kept_database_url: str) -> Iterator[Shelf]:
    """Four completed and four compensated sagas; the tests of this module only read."""
    with ExitStack() as stack:
        client = opened(stack, kept_database_url, services.app).client
        completed, compensated = [], []
        for number in range(4):
            asked = {"name": f"Concert {number}"}
            completed.append(body_of(client.post(EXECUTE, json=asked), 200)["transaction_id"])
            answer = client.post(EXECUTE, json={**asked, "fail_at_step": "venue"})
            compensated.append(body_of(answer, 409)["transaction_id"])
        yield Shelf(client, completed, compensated)


# ── status ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_status_of_a_completed_saga_has_every_member(shelf: Shelf) -> None:
    """Every member of the contract is there, for the saga and for each of its steps."""
    body = body_of(shelf.client.get(f"/api/saga/status/{shelf.completed[0]}"), 200)

    assert body["transaction_id"] == shelf.completed[0]
    assert (body["name"], body["status"], body["error"]) == ("create-event", "COMPLETED", None)
    assert body["current_step_index"] == 4
    assert body["input"]["name"] == "Concert 0"
    assert [step["step"] for step in body["steps"]] == STEPS
    assert [step["name"] for step in body["steps"]] == TITLES
    for step in body["steps"]:
        assert {"step", "name", "status", "attempts", "result", "error", "started_at", "completed_at"} <= step.keys()
        assert (step["status"], step["attempts"], step["error"]) == ("COMPLETED", 1, None)
        assert step["result"]["success"] is True


def test_times_are_in_utc_with_a_z_and_in_order(shelf: Shelf) -> None:
    """created_at <= each step's started_at <= completed_at <= updated_at, and each step after the one before."""
    body = body_of(shelf.client.get(f"/api/saga/status/{shelf.completed[0]}"), 200)

    times = [body["created_at"]]
    for step in body["steps"]:
        times += [step["started_at"], step["completed_at"]]
    times.append(body["updated_at"])
    assert all(time.endswith("Z") and "T" in time for time in times)
    assert [time.rstrip("Z").ljust(26, "0") for time in times] == sorted(
        time.rstrip("Z").ljust(26, "0") for time in times
    )


def test_the_status_of_a_compensated_saga_says_why(shelf: Shelf) -> None:
    """The error stands at the saga and at the step that failed; a step never begun has no times."""
    body = body_of(shelf.client.get(f"/api/saga/status/{shelf.compensated[0]}"), 200)

    assert body["status"] == "COMPENSATED"
    assert "simulate_failure" in body["error"]
    event, _, venue, ticket = body["steps"]
    assert venue["error"] == body["error"]
    assert (ticket["status"], ticket["attempts"], ticket["result"]) == ("PENDING", 0, None)
    assert (ticket["started_at"], ticket["completed_at"]) == (None, None)
    assert event["status"] == "COMPENSATED"
    assert event["result"]["event_id"]


@pytest.mark.parametrize("path", ["/api/saga/status/{}", "/api/saga/{}/events"])
@pytest.mark.parametrize("unknown", [UNKNOWN, "nonsense", "x" * 300, "%00", "%F0%9F%8E%BB", "' OR 1=1 --"])
def test_an_unknown_id_is_a_404(shelf: Shelf, path: str, unknown: str) -> None:
    """Whatever stands in its place, also what no database could store."""
    response = shelf.client.get(path.format(unknown))
    body_of(response, 404)
    assert response.content_type == "application/problem+json"


def test_the_id_of_a_record_is_no_saga(shelf: Shelf) -> None:
    """Records are streams of the same log; a saga's routes do not show them."""
    event_id = body_of(shelf.client.get("/api/event/list"), 200)["events"][0]["id"]
    body_of(shelf.client.get(f"/api/saga/status/{event_id}"), 404)
    body_of(shelf.client.get(f"/api/saga/{event_id}/events"), 404)


# ── list ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_is_newest_first(shelf: Shelf) -> None:
    """All sagas in one page, and no cursor when nothing follows."""
    body = shelf.page()
    assert [saga["transaction_id"] for saga in body["transactions"]] == shelf.newest_first
    assert body["next_cursor"] is None


def test_a_summary_says_what_the_status_says(shelf: Shelf) -> None:
    """Name, status, error and times of a listed saga equal those of its status."""
    for saga in shelf.page()["transactions"]:
        status = body_of(shelf.client.get(f"/api/saga/status/{saga['transaction_id']}"), 200)
        for member in ("name", "status", "error", "created_at", "updated_at"):
            assert saga[member] == status[member], member


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 8, 9, 500])
def test_pages_walk_every_saga_exactly_once_and_in_order(shelf: Shelf, limit: int) -> None:
    """No page is larger than the limit or empty; together they are the whole list."""
    pages = list(shelf.walk(limit=limit))
    assert [saga for page in pages for saga in page] == shelf.newest_first
    assert all(len(page) == limit for page in pages[:-1])
    assert 0 < len(pages[-1]) <= limit


def test_a_saga_started_while_somebody_walks_moves_no_page(open_node: OpenNode) -> None:
    """Keyset pages: what is new comes before the first page, and shifts nothing."""
    client = open_node().client
    first_ones = [body_of(client.post(EXECUTE, json={"name": "x"}), 200)["transaction_id"] for _ in range(4)]
    page = body_of(client.get("/api/saga/list?limit=2"), 200)
    body_of(client.post(EXECUTE, json={"name": "y"}), 200)

    rest = body_of(client.get(f"/api/saga/list?limit=2&cursor={page['next_cursor']}"), 200)
    seen = [saga["transaction_id"] for saga in page["transactions"] + rest["transactions"]]
    assert seen == first_ones[::-1]


def test_the_list_is_filtered_by_status(shelf: Shelf) -> None:
    """Only the sagas of that status, newest first, on pages of their own."""
    for status, there in (("COMPLETED", shelf.completed), ("COMPENSATED", shelf.compensated), ("FAILED", [])):
        found = [saga for page in shelf.walk(status=status, limit=3) for saga in page]
        assert found == there[::-1], status


def test_the_list_is_filtered_by_name(shelf: Shelf) -> None:
    """The name is the definition's: ours has them all, another has none."""
    assert [saga["transaction_id"] for saga in shelf.page(name="create-event")["transactions"]] == shelf.newest_first
    assert (
        shelf.page(name="create-event", status="COMPLETED", limit=1)["transactions"][0]["transaction_id"]
        == (shelf.completed[-1])
    )
    for other in ("Create-Event", "create-event ", "nothing", "\0", "🎻"):
        assert shelf.page(name=other) == {"transactions": [], "next_cursor": None}, other


@pytest.mark.parametrize("limit", ["0", "501", "-1", "many", "1.5", "", "9" * 5_000])
def test_a_bad_limit_is_a_422(shelf: Shelf, limit: str) -> None:
    """A page has 1 to 500 sagas."""
    body = body_of(shelf.client.get(f"/api/saga/list?limit={limit}"), 422)
    assert list(body["errors"]) == ["limit"]


def test_a_page_has_fifty_sagas_unless_told_otherwise(shelf: Shelf) -> None:
    """The default and the bounds stand in the OpenAPI document."""
    parameters = body_of(shelf.client.get("/openapi.json"), 200)["paths"]["/api/saga/list"]["get"]["parameters"]
    (limit,) = [about["schema"] for about in parameters if about["name"] == "limit"]
    assert (limit["default"], limit["minimum"], limit["maximum"]) == (50, 1, 500)


@pytest.mark.parametrize("status", ["completed", "DONE", ""])
def test_a_status_there_is_not_is_a_422(shelf: Shelf, status: str) -> None:
    """The answer lists the ones there are."""
    body = body_of(shelf.client.get(f"/api/saga/list?status={status}"), 422)
    assert "COMPENSATED" in body["errors"]["status"][0]


@pytest.mark.parametrize(
    "cursor",
    ["x", "zzzz", "W10", "WyJub3QgYSB0aW1lIiwiYSJd", "%00", "%C3%A9", "bnVsbA", "WyIyMDIwLTAxLTAxVDAwOjAwOjAwWiIsNV0"],
)
def test_a_cursor_that_no_page_gave_out_is_a_422(shelf: Shelf, cursor: str) -> None:
    """Neither guessed nor garbled ones are taken for the start of the list."""
    body = body_of(shelf.client.get(f"/api/saga/list?cursor={cursor}"), 422)
    assert list(body["errors"]) == ["cursor"]


def test_a_cursor_with_what_no_database_stores_is_no_server_error(shelf: Shelf) -> None:
    """Well-formed, but with a NUL for an id: nothing is there, or it is refused."""
    cursor = "WyIyMDIwLTAxLTAxVDAwOjAwOjAwWiIsIlx1MDAwMCJd"  # ["2020-01-01T00:00:00Z","\u0000"]
    assert shelf.client.get(f"/api/saga/list?cursor={cursor}").status_code in {200, 422}


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_events_of_a_completed_saga_are_its_part_of_the_log(shelf: Shelf) -> None:
    """Versions without a gap, positions that grow, and the story from its start to its end."""
    events = body_of(shelf.client.get(f"/api/saga/{shelf.completed[0]}/events"), 200)["events"]

    assert [event["version"] for event in events] == list(range(1, 11))
    positions = [event["position"] for event in events]
    assert positions == sorted(set(positions))
    steps = [type_ for step in STEPS for type_ in (("StepStarted", step), ("StepCompleted", step))]
    expected = [("SagaStarted", None), *steps, ("SagaCompleted", None)]
    assert [(event["type"], event["data"].get("step")) for event in events] == expected
    assert all(event["recorded_at"].endswith("Z") for event in events)


def test_the_events_of_a_compensated_saga_tell_failure_and_undoing(shelf: Shelf) -> None:
    """The failed step, the turn, then the steps before it undone, last first."""
    events = body_of(shelf.client.get(f"/api/saga/{shelf.compensated[0]}/events"), 200)["events"]

    assert [(event["type"], event["data"].get("step")) for event in events] == [
        ("SagaStarted", None),
        ("StepStarted", "event"),
        ("StepCompleted", "event"),
        ("StepStarted", "event_details"),
        ("StepCompleted", "event_details"),
        ("StepStarted", "venue"),
        ("StepFailed", "venue"),
        ("SagaAborted", "venue"),
        ("CompensationStarted", "event_details"),
        ("CompensationCompleted", "event_details"),
        ("CompensationStarted", "event"),
        ("CompensationCompleted", "event"),
        ("SagaCompensated", None),
    ]


# ── health ───────────────────────────────────────────────────────────────────────────────────────────────


def test_health_counts_the_sagas_that_are_under_way(open_node: OpenNode) -> None:
    """None, then the one that waits for its participant, then none again."""
    answered = threading.Event()
    with Participant() as ticket:
        ticket.script = lambda _: Hangs(answered)
        client = open_node(participants={"ticket": ticket.url}).client
        assert body_of(client.get("/api/saga/health"), 200) == {"status": "healthy", "active_transactions": 0}
        headers = {"Idempotency-Key": "k"}
        client.post(EXECUTE, json={"name": "A"}, headers={**headers, "Prefer": "respond-async"})
        ticket.wait_for_calls(1)
        assert body_of(client.get("/api/saga/health"), 200) == {"status": "healthy", "active_transactions": 1}
        answered.set()
        body_of(client.post(EXECUTE, json={"name": "A"}, headers=headers), 200)
        assert body_of(client.get("/api/saga/health"), 200) == {"status": "healthy", "active_transactions": 0}
