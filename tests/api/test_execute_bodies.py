"""POST /api/saga/execute: bodies that are refused, with the reason and the member that is at fault."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.api.conftest import OpenNode
from tests.api.test_execute import EXECUTE, body_of, records, status_of

# ── Bodies that are refused ──────────────────────────────────────────────────────────────────────────────

BAD_MEMBERS: list[tuple[str, Any]] = [
    ("name", None),
    ("name", ""),
    ("name", 17),
    ("name", "n" * 201),
    ("name", "nul \0"),
    ("description", 1),
    ("date", "17.05.2031"),
    ("date", "2031-02-30"),
    ("date", "2031-5-7"),
    ("date", 20310517),
    ("fail_at_step", "nowhere"),
    ("fail_at_step", "event-details"),
    ("detailed_description", []),
    ("duration", 0),
    ("duration", -1),
    ("duration", "120"),
    ("duration", 1.5),
    ("duration", True),
    ("category", ""),
    ("requirements", "chairs"),
    ("requirements", [1]),
    ("venue_name", {}),
    ("venue_address", ""),
    ("venue_capacity", 0),
    ("venue_capacity", None),
    ("venue_facilities", {"a": 1}),
    ("ticket_type", ""),
    ("ticket_price", -0.01),
    ("ticket_price", "free"),
    ("ticket_quantity", 0),
    ("ticket_quantity", 2.5),
    ("seats", 4),
]


def test_a_bad_member_is_refused_with_422_and_named(kept_client: FlaskClient) -> None:
    """Wrong, empty, too long, out of range or unknown: the answer names just that member, and nothing starts."""
    before = kept_client.get("/api/saga/list?limit=500").data
    for member, value in BAD_MEMBERS:
        response = kept_client.post(EXECUTE, json={"name": "Concert", member: value})
        body = body_of(response, 422)
        assert response.content_type == "application/problem+json"
        assert list(body["errors"]) == [member], (member, value, body)
    assert kept_client.get("/api/saga/list?limit=500").data == before


def test_the_name_is_required(kept_client: FlaskClient) -> None:
    """Nothing else is."""
    assert list(body_of(kept_client.post(EXECUTE, json={}), 422)["errors"]) == ["name"]


def test_every_bad_member_is_told_at_once(kept_client: FlaskClient) -> None:
    """One round is enough to learn them all."""
    asked = {"date": "soon", "duration": 0, "ticket_quantity": 0, "seats": 4}
    errors = body_of(kept_client.post(EXECUTE, json=asked), 422)["errors"]
    assert set(errors) == {"name", "date", "duration", "ticket_quantity", "seats"}
    assert all(isinstance(said, list) and said for said in errors.values())


@pytest.mark.parametrize("value", [[], None, "name", 17])
def test_a_body_that_is_no_object_is_refused_with_422(kept_client: FlaskClient, value: Any) -> None:
    """JSON it may be, but not an object with members."""
    text = msgspec.json.encode(value)
    body_of(kept_client.post(EXECUTE, data=text, content_type="application/json"), 422)


@pytest.mark.parametrize("text", [b"{", b'{"name": }', b'{"name": "x"} {', b"name=x", b'{"name": "\xff"}'])
def test_a_body_that_is_not_json_is_refused_with_400(kept_client: FlaskClient, text: bytes) -> None:
    """Cut off, garbled, or in no Unicode encoding."""
    response = kept_client.post(EXECUTE, data=text, content_type="application/json")
    body_of(response, 400)
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "text",
    [
        b'{"name": "x", "duration": ' + b"9" * 5_000 + b"}",
        b'{"name": "x", "\\ud800": 1}',
        b'{"name": "x", "requirements": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"name": "\\ud800"}',
        b'{"name": "x", "ticket_price": NaN}',
        b'{"name": "x", "ticket_price": 1e999}',
    ],
    ids=["endless number", "half a character in a member", "endless nesting", "half a character", "nan", "infinity"],
)
def test_json_at_its_edges_is_refused_as_the_callers_mistake(kept_client: FlaskClient, text: bytes) -> None:
    """Never a 500: whatever can be written in JSON and is no use here is a 400 or a 422."""
    response = kept_client.post(EXECUTE, data=text, content_type="application/json")
    assert response.status_code in {400, 422}, response.get_data(as_text=True)
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
def test_a_body_of_another_type_is_refused_with_415(kept_client: FlaskClient, content_type: str | None) -> None:
    """The detail tells which header to send."""
    response = kept_client.post(EXECUTE, data=b'{"name": "x"}', content_type=content_type)
    assert "application/json" in body_of(response, 415)["detail"]
    assert response.content_type == "application/problem+json"


def test_a_body_too_large_is_refused_with_413_and_the_number_of_bytes(open_node: OpenNode) -> None:
    """Just within the limit it is read, just beyond it the limit is told."""
    client = open_node(payload_limit=2_000).client
    within = b'{"name": "Concert"}'.ljust(2_000)
    body_of(client.post(EXECUTE, data=within, content_type="application/json"), 200)

    response = client.post(EXECUTE, data=within + b" ", content_type="application/json")
    assert "2000" in body_of(response, 413)["detail"]
    assert response.content_type == "application/problem+json"


def test_words_of_every_script_come_back_as_they_were_given(client: FlaskClient) -> None:
    """UTF-8 in, UTF-8 out, also beyond the basic plane, and quotes and backslashes too."""
    name = "Zażółć 🎻 \\ \" ' 音楽 \u202e % ; --"
    body = body_of(client.post(EXECUTE, json={"name": name}), 200)
    assert status_of(client, body["transaction_id"])["input"]["name"] == name
    assert [record["name"] for record in records(client, "event")] == [name]
