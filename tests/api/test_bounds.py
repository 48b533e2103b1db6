"""What anybody sends is bounded: a saga's events and bytes, the pages of its events; each refusal has the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from saga_es import CommandRefused, Saga
from saga_es.api import sagas
from tests.api.conftest import OpenNode, Served
from tests.api.test_execute import body_of
from tests.api.test_problems import assert_problem
from tests.support.journeys_served import BY_ANN, app_of, begun, is_now, journey, when

EVENTS = 100
BYTES = 1_048_576
LARGE = "x" * 600_000


@pytest.fixture
def served(open_node: OpenNode) -> Served:
    """A node that knows journeys, and keeps sagas small."""
    return open_node(app_of(journey()), saga_events_limit=EVENTS, saga_bytes_limit=BYTES)


def command(served: Served, saga_id: str, name: str) -> int:
    """The status of the answer to a command."""
    return served.client.post(f"/api/saga/{saga_id}/{name}", json=BY_ANN).status_code


def events_of(served: Served, saga_id: str, **page: Any) -> dict[str, Any]:
    return body_of(served.client.get(f"/api/saga/{saga_id}/events", query_string=page), 200)


def signal(served: Served, saga_id: str, payload: Any, key: str) -> Any:
    path = f"/api/saga/{saga_id}/signals/approval"
    return served.client.post(path, json=payload, headers={"Idempotency-Key": key})


def paused_often(served: Served) -> str:
    """A saga that people paused and resumed until it had as many events as it may have."""
    saga_id = begun(served)
    for number in range(EVENTS):
        answer = served.client.post(f"/api/saga/{saga_id}/{'resume' if number % 2 else 'pause'}", json=BY_ANN)
        if answer.status_code != 200:
            assert_problem(answer, 409)
            detail = body_of(answer, 409)["detail"]
            assert f"it has {EVENTS} events, and the limit is {EVENTS} (SAGA_ES_SAGA_EVENTS_LIMIT)" in detail
            assert "raise the limit" in detail
            break
    assert len(events_of(served, saga_id)["events"]) in {EVENTS, EVENTS + 1}  # a resume still follows a pause
    return saga_id


def test_a_saga_takes_no_more_commands_at_its_limit_of_events_and_can_be_ended(served: Served) -> None:
    """Whoever pauses and resumes it for ever is refused, by each process; what it does itself is always recorded."""
    saga_id = paused_often(served)
    assert command(served, saga_id, "pause") == 409
    assert signal(served, saga_id, "yes", "late").status_code == 409
    with pytest.raises(CommandRefused, match="SAGA_ES_SAGA_EVENTS_LIMIT"):
        served.node.client.pause(saga_id, reason="again", actor="ann")
    assert command(served, saga_id, "cancel") == 200
    when(served.client, saga_id, is_now("COMPENSATED"))


def test_a_saga_takes_no_more_bytes_than_its_limit(served: Served) -> None:
    """It is refused before the append, with the number; a signal that is there already is a repetition all the same."""
    saga_id = begun(served)
    served.node.engine.pause(saga_id, reason="so that the signals wait", actor="ann")
    path = f"/api/saga/{saga_id}/replace-input"
    assert signal(served, saga_id, LARGE, "k-1").status_code == 202
    before = events_of(served, saga_id)["events"]
    refused = signal(served, saga_id, LARGE, "k-2")
    assert_problem(refused, 409)
    detail = body_of(refused, 409)["detail"]
    assert f"and the limit is {BYTES} (SAGA_ES_SAGA_BYTES_LIMIT)" in detail
    assert events_of(served, saga_id)["events"] == before
    assert signal(served, saga_id, LARGE, "k-1").status_code == 202
    assert served.client.post(path, json={**BY_ANN, "step": "seat", "input": {"a": LARGE}}).status_code == 409
    assert signal(served, saga_id, "small", "k-3").status_code == 202
    size = served.node.store.log.size_of(saga_id)
    assert 600_000 < size.bytes < BYTES


def test_the_size_of_a_stream_is_that_of_its_events(served: Served) -> None:
    """In bytes of UTF-8, whatever the database counts by itself."""
    saga_id = begun(served)
    served.node.engine.signal(saga_id, "approval", "Żółć ✓ 👍")
    when(served.client, saga_id, is_now("COMPLETED"))
    entries = served.node.store.log.entries(stream_id=saga_id)
    size = served.node.store.log.size_of(saga_id)
    assert size == (len(entries), sum(len(entry.text.encode()) for entry in entries))
    assert served.node.store.log.size_of("nobody") == (0, 0)
    assert served.node.store.log.size_of("a\0b") == (0, 0)


# ── Pages of events ──────────────────────────────────────────────────────────────────────────────────────


def test_events_come_in_pages_that_together_are_all(served: Served) -> None:
    """In order, whatever the size of a page; the last says that it is the last."""
    saga_id = begun(served)
    whole = events_of(served, saga_id)
    assert whole["next_cursor"] is None
    for limit in (1, 2, len(whole["events"]) - 1, len(whole["events"]), 1000):
        found, cursor = [], 0
        while cursor is not None:
            page = events_of(served, saga_id, limit=limit, cursor=cursor)
            assert 0 < len(page["events"]) <= limit
            found += page["events"]
            cursor = page["next_cursor"]
        assert found == whole["events"]


def test_a_page_of_large_events_is_a_short_one(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event is always there, however large it is."""
    monkeypatch.setattr(sagas, "MOST_EVENT_BYTES", 2_500)
    saga = Saga("pile")
    for number in range(4):
        saga.wait_for(f"part_{number}", timeout_s=None)
    served = open_node(app_of(saga))
    saga_id = served.node.engine.start(saga, {}).saga_id
    for number in range(4):
        served.node.engine.signal(saga_id, f"part_{number}", "x" * (3_000 if number == 2 else 1_000))
    when(served.client, saga_id, is_now("COMPLETED"))
    versions: list[int] = []
    sizes: list[int] = []
    cursor = 0
    while cursor is not None:
        page = events_of(served, saga_id, cursor=cursor)
        sizes.append(sum(len(str(event["data"])) for event in page["events"]))
        versions += [event["version"] for event in page["events"]]
        cursor = page["next_cursor"]
    assert versions == list(range(1, 4 * 3 + 3))
    *small, one, other = sorted(sizes)  # the large one came as a signal, and is the result of its step
    assert max(small) < 2_500
    assert 3_000 < one <= other < 3_500


@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 1001}, {"cursor": -1}, {"cursor": "x"}, {"cursor": 2**63}])
def test_a_page_that_does_not_exist_is_refused(served: Served, page: dict[str, Any]) -> None:
    """The field is named; a place behind the last event is an empty page."""
    saga_id = begun(served)
    answer = served.client.get(f"/api/saga/{saga_id}/events", query_string=page)
    assert list(body_of(answer, 422)["errors"]) == list(page)
    assert events_of(served, saga_id, cursor=1_000_000) == {"events": [], "next_cursor": None}
    assert_problem(served.client.get("/api/saga/nobody/events", query_string={"cursor": 3}), 404)
