"""The demo endpoints: every row of the contract, on a database that starts empty."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.conftest import OpenNode
from tests.api.test_execute import EXECUTE, STEPS, body_of
from tests.support.participants import Participant, Says, by_method, free_port

COUNTS = ("events_count", "event_details_count", "venues_count", "tickets_count")
LISTS = ("events", "event_details", "venues", "tickets")


def summary(client: FlaskClient) -> dict[str, int]:
    found: dict[str, int] = body_of(client.get("/demo/database-status"), 200)["summary"]
    return found


def test_the_root_tells_what_is_served(kept_client: FlaskClient) -> None:
    """Status, name and version."""
    body = body_of(kept_client.get("/"), 200)
    assert body["status"]
    assert body["name"] == "saga_es demo"
    assert body["version"] == "0.1.0"


def test_the_list_of_demo_endpoints_names_each_and_each_answers(kept_client: FlaskClient) -> None:
    """What is listed can be called, just so, and is all there is."""
    listed = body_of(kept_client.get("/demo/"), 200)["endpoints"]
    assert {(endpoint["method"], endpoint["path"]) for endpoint in listed} == {
        ("POST", "/demo/create-event-complete"),
        ("POST", "/demo/simulate-failure"),
        ("GET", "/demo/list-transactions"),
        ("GET", "/demo/database-status"),
        ("GET", "/demo/health-check-all"),
        ("POST", "/demo/test-individual-apis"),
    }
    for endpoint in listed:
        body_of(kept_client.open(endpoint["path"], method=endpoint["method"]), 200)


def test_the_complete_scenario_runs_a_saga_to_its_end(client: FlaskClient) -> None:
    """Its result is an execute answer with success, and each service has one record more."""
    body = body_of(client.post("/demo/create-event-complete"), 200)

    assert body["demo_scenario"] == "create-event-complete"
    assert body["description"]
    result = body["result"]
    assert (result["success"], result["status"], result["completed_steps"]) == (True, "COMPLETED", 4)
    assert list(result["results"]) == STEPS
    assert summary(client) == {**dict.fromkeys(COUNTS, 1), "transactions_count": 1, "total_records": 4}


@pytest.mark.parametrize("failing", STEPS)
def test_the_failure_scenario_is_rolled_back(kept_client: FlaskClient, failing: str) -> None:
    """200, because the scenario was shown; the result tells that the saga failed and was undone."""
    before = summary(kept_client)
    body = body_of(kept_client.post("/demo/simulate-failure", json={"fail_at_step": failing}), 200)

    assert body["demo_scenario"] == "simulate-failure"
    assert body["description"]
    assert body["failed_at_step"] == failing
    result = body["result"]
    assert (result["success"], result["rollback_completed"], result["failed_step"]) == (False, True, failing)
    assert summary(kept_client) == {**before, "transactions_count": before["transactions_count"] + 1}


@pytest.mark.parametrize("body", [None, {}])
def test_the_failure_scenario_fails_at_the_details_unless_told_otherwise(
    kept_client: FlaskClient, body: dict[str, Any] | None
) -> None:
    """With no body at all, or an empty object."""
    answer = (
        kept_client.post("/demo/simulate-failure")
        if body is None
        else kept_client.post("/demo/simulate-failure", json=body)
    )
    assert body_of(answer, 200)["failed_at_step"] == "event_details"


@pytest.mark.parametrize("step", ["nowhere", "", None, 3, ["venue"]])
def test_a_step_there_is_not_is_a_422(kept_client: FlaskClient, step: Any) -> None:
    """The field is named and nothing runs."""
    before = summary(kept_client)
    response = kept_client.post("/demo/simulate-failure", json={"fail_at_step": step})
    assert list(body_of(response, 422)["errors"]) == ["fail_at_step"]
    assert response.content_type == "application/problem+json"
    assert summary(kept_client) == before


def test_a_scenario_that_needs_a_person_is_a_500_with_the_result(open_node: OpenNode) -> None:
    """A demo that cannot be undone does not claim that all is well."""
    script = by_method(POST=lambda call: Says(201, {"venue_id": call.key}), DELETE=lambda _: Says(409))
    with Participant(script) as venue:
        client = open_node(participants={"venue": venue.url}).client
        body = body_of(client.post("/demo/simulate-failure", json={"fail_at_step": "ticket"}), 500)
        assert (body["result"]["status"], body["result"]["rollback_completed"]) == ("FAILED", False)


def test_transactions_are_counted_and_listed_newest_first(client: FlaskClient) -> None:
    """Completed and rolled back ones alike."""
    assert body_of(client.get("/demo/list-transactions"), 200) == {"total_transactions": 0, "transactions": []}
    first = body_of(client.post("/demo/create-event-complete"), 200)["result"]["transaction_id"]
    second = body_of(client.post("/demo/simulate-failure"), 200)["result"]["transaction_id"]

    body = body_of(client.get("/demo/list-transactions"), 200)
    assert body["total_transactions"] == 2
    assert [saga["transaction_id"] for saga in body["transactions"]] == [second, first]
    assert [saga["status"] for saga in body["transactions"]] == ["COMPENSATED", "COMPLETED"]


def test_the_database_status_of_an_empty_database_is_all_zero(client: FlaskClient) -> None:
    """Every count and every list is there, and empty."""
    body = body_of(client.get("/demo/database-status"), 200)
    assert body["summary"] == {**dict.fromkeys(COUNTS, 0), "transactions_count": 0, "total_records": 0}
    assert body["details"] == {name: [] for name in (*LISTS, "transactions")}


def test_the_database_status_shows_what_the_services_show(client: FlaskClient) -> None:
    """The records in its details are those of the four lists, and of the saga list."""
    for _ in range(3):
        body_of(client.post("/demo/create-event-complete"), 200)
    body_of(client.post("/demo/simulate-failure", json={"fail_at_step": "ticket"}), 200)

    body = body_of(client.get("/demo/database-status"), 200)
    assert body["summary"] == {**dict.fromkeys(COUNTS, 3), "transactions_count": 4, "total_records": 12}
    for name in LISTS:
        path = {"events": "event", "event_details": "event-details", "venues": "venue", "tickets": "ticket"}[name]
        assert body["details"][name] == body_of(client.get(f"/api/{path}/list"), 200)[name]
    assert body["details"]["transactions"] == body_of(client.get("/api/saga/list"), 200)["transactions"]


def test_the_database_status_lists_the_newest_hundred_and_counts_all(client: FlaskClient) -> None:
    """Beyond a hundred the counts go on, the lists do not; nor does the list of transactions."""
    for number in range(101):
        venue = {"name": f"Venue {number}", "address": "7 Cloister Lane", "capacity": 10}
        body_of(client.post("/api/venue/register", json=venue), 201)

    body = body_of(client.get("/demo/database-status"), 200)
    assert (body["summary"]["venues_count"], body["summary"]["total_records"]) == (101, 101)
    names = [venue["name"] for venue in body["details"]["venues"]]
    assert names == [f"Venue {number}" for number in range(100, 0, -1)]


def test_health_is_asked_of_every_part(kept_client: FlaskClient) -> None:
    """Six parts, each with its status and the code it answered."""
    body = body_of(kept_client.get("/demo/health-check-all"), 200)
    parts = ("main", "event", "event_details", "venue", "ticket", "saga")
    healthy = {"status": "healthy", "response_code": 200}
    assert body == {"overall_status": "healthy", "individual_results": dict.fromkeys(parts, healthy)}


def test_one_part_that_is_away_makes_the_whole_unhealthy(open_node: OpenNode) -> None:
    """The answer is still a 200, and tells which part it is."""
    client = open_node(participants={"venue": f"http://127.0.0.1:{free_port()}"}).client
    body = body_of(client.get("/demo/health-check-all"), 200)
    assert body["overall_status"] == "unhealthy"
    ailing = [name for name, about in body["individual_results"].items() if about["status"] == "unhealthy"]
    assert ailing == ["venue"]


def test_a_part_that_answers_with_an_error_is_unhealthy(open_node: OpenNode) -> None:
    """Its code is passed on."""
    with Participant(lambda _: Says(503)) as ticket:
        client = open_node(participants={"ticket": ticket.url}).client
        body = body_of(client.get("/demo/health-check-all"), 200)
        assert body["overall_status"] == "unhealthy"
        assert body["individual_results"]["ticket"] == {"status": "unhealthy", "response_code": 503}


def test_each_service_can_be_called_without_a_saga(client: FlaskClient) -> None:
    """Four register calls, one record each, and no transaction."""
    results = body_of(client.post("/demo/test-individual-apis"), 200)["results"]

    assert list(results) == ["event_api", "event_details_api", "venue_api", "ticket_api"]
    assert all(result["status"] == 201 and result["data"]["success"] for result in results.values())
    assert results["ticket_api"]["data"]["event_id"] == results["event_api"]["data"]["event_id"]
    assert summary(client) == {**dict.fromkeys(COUNTS, 1), "transactions_count": 0, "total_records": 4}


def test_a_service_that_fails_on_its_own_is_told_and_not_a_server_error(open_node: OpenNode) -> None:
    """The demo tells what each service answered, whatever that was."""
    with Participant(lambda _: Says(503, {"detail": "closed today"})) as event:
        client = open_node(participants={"event": event.url}).client
        results = body_of(client.post("/demo/test-individual-apis"), 200)["results"]
        assert results["event_api"] == {"status": 503, "data": {"detail": "closed today"}}
        assert results["venue_api"]["status"] == 201


def test_the_scenarios_heed_an_idempotency_key_like_execute(client: FlaskClient) -> None:
    """A repeated demo call under one key shows the same saga."""
    ids = {
        body_of(client.post("/demo/create-event-complete", headers={"Idempotency-Key": "k"}), 200)["result"][
            "transaction_id"
        ]
        for _ in range(2)
    }
    assert len(ids) == 1
    assert len(body_of(client.get("/api/saga/list"), 200)["transactions"]) == 1
    body_of(client.post(EXECUTE, json={"name": "another"}, headers={"Idempotency-Key": "k"}), 422)
