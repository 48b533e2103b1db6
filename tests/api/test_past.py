"""The past over HTTP: one saga as of a version, the whole database as of a position."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from saga_es.api import past
from tests.api.test_execute import EXECUTE, body_of

BACK = {"name": "Concert", "fail_at_step": "ticket"}


def story_of(client: FlaskClient, saga_id: str, version: int) -> dict[str, Any]:
    return body_of(client.get(f"/api/saga/status/{saga_id}?at_version={version}"), 200)


def events_of(client: FlaskClient, saga_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body_of(client.get(f"/api/saga/{saga_id}/events"), 200)["events"]
    return found


# ── One saga ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_is_told_as_it_was_at_each_version(kept_client: FlaskClient) -> None:
    """It goes forward, aborts, and ends compensated; each version's time is that of its event."""
    saga_id = body_of(kept_client.post(EXECUTE, json=BACK), 409)["transaction_id"]
    events = events_of(kept_client, saga_id)
    told = [story_of(kept_client, saga_id, version) for version in range(1, len(events) + 1)]

    assert [story["version"] for story in told] == [event["version"] for event in events]
    assert [story["updated_at"] for story in told] == [event["recorded_at"] for event in events]
    ways = [story["status"] for story in told]
    aborted = next(event["version"] for event in events if event["type"] == "SagaAborted")
    assert ways[: aborted - 1] == ["IN_PROGRESS"] * (aborted - 1)
    assert set(ways[aborted - 1 : -1]) == {"COMPENSATING"}
    assert told[-1] == body_of(kept_client.get(f"/api/saga/status/{saga_id}"), 200)


@pytest.mark.parametrize("version", ["0", "-1", "now", "1.5", ""])
def test_what_is_no_version_is_a_422(kept_client: FlaskClient, version: str) -> None:
    """The parameter is named."""
    saga_id = body_of(kept_client.post(EXECUTE, json={"name": "Concert"}), 200)["transaction_id"]
    problem = body_of(kept_client.get(f"/api/saga/status/{saga_id}?at_version={version}"), 422)
    assert list(problem["errors"]) == ["at_version"]


def test_a_version_that_a_saga_has_not_reached_is_a_404_with_both_numbers(kept_client: FlaskClient) -> None:
    """However large; and a saga there is not is one at any version."""
    saga_id = body_of(kept_client.post(EXECUTE, json={"name": "Concert"}), 200)["transaction_id"]
    for version in (11, 10**30):
        detail = body_of(kept_client.get(f"/api/saga/status/{saga_id}?at_version={version}"), 404)["detail"]
        assert "has 10 events" in detail
        assert str(version) in detail
    assert "no saga" in body_of(kept_client.get("/api/saga/status/nobody?at_version=1"), 404)["detail"]


# ── The whole database ───────────────────────────────────────────────────────────────────────────────────


def test_the_database_is_shown_as_it_was_at_every_position(client: FlaskClient) -> None:
    """After each act it is asked how things stand; asked later for that position, it says the same, byte for byte."""
    before: list[tuple[int, bytes]] = []
    for body in ({"name": "First"}, BACK, {"name": "Second"}):
        client.post(EXECUTE, json=body)
        newest = body_of(client.get("/api/saga/list?limit=1"), 200)["transactions"][0]["transaction_id"]
        position = events_of(client, newest)[-1]["position"]
        before.append((position, client.get("/demo/database-status").data))

    assert [client.get(f"/demo/database-status?at_position={at}").data for at, _ in before] == [
        was for _, was in before
    ]


def test_in_the_middle_of_a_saga_its_records_are_there_though_they_were_undone(client: FlaskClient) -> None:
    """Where the ticket was refused, the other three stood for a moment; before the first event there was nothing."""
    saga_id = body_of(client.post(EXECUTE, json=BACK), 409)["transaction_id"]
    refused = next(event for event in events_of(client, saga_id) if event["type"] == "StepFailed")
    then = body_of(client.get(f"/demo/database-status?at_position={refused['position']}"), 200)
    assert then["summary"] == {
        "events_count": 1,
        "event_details_count": 1,
        "venues_count": 1,
        "tickets_count": 0,
        "transactions_count": 1,
        "total_records": 3,
    }
    assert then["details"]["transactions"][0]["status"] == "IN_PROGRESS"
    assert then["details"]["venues"][0]["name"] == "Main Hall"

    first = body_of(client.get("/demo/database-status?at_position=0"), 200)
    assert set(first["summary"].values()) == {0}
    assert body_of(client.get("/demo/database-status"), 200)["summary"]["total_records"] == 0


@pytest.mark.parametrize("position", ["-1", "then", "2.5"])
def test_what_is_no_position_is_a_422(kept_client: FlaskClient, position: str) -> None:
    """The parameter is named."""
    problem = body_of(kept_client.get(f"/demo/database-status?at_position={position}"), 422)
    assert list(problem["errors"]) == ["at_position"]


def test_a_position_behind_the_end_of_the_log_is_a_404(kept_client: FlaskClient) -> None:
    """Nobody knows what will be."""
    detail = body_of(kept_client.get(f"/demo/database-status?at_position={10**30}"), 404)["detail"]
    assert "the log ends at position" in detail


def test_a_past_that_would_take_too_long_to_fold_is_refused_with_the_limit(
    kept_client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request must not hold a thread for as long as the log is old."""
    saga_id = body_of(kept_client.post(EXECUTE, json={"name": "Concert"}), 200)["transaction_id"]
    last = events_of(kept_client, saga_id)[-1]["position"]
    monkeypatch.setattr(past, "MOST_FOLDED", 7)
    problem = body_of(kept_client.get(f"/demo/database-status?at_position={last}"), 422)
    assert "more than 7 events" in problem["detail"]
    assert list(problem["errors"]) == ["at_position"]
