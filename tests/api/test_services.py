"""The four services, each on its own: register, get, list, health and rollback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

import services
from tests.api.conftest import opened
from tests.api.test_execute import body_of
from tests.support.clients import EVENT, EVENT_DETAILS, KINDS, REFERRED, TICKET, VENUE, Service

UNKNOWN = "5f2a3f0e-93a1-4d0c-8f0d-2c5e7d0f1a11"
SAGA = {"X-Saga-Id": "a-saga", "X-Saga-Step": "a-step"}


@pytest.fixture(scope="module")
def shared_client(kept_database_url: str) -> Iterator[FlaskClient]:
    """A client of the application, on a database where the records of all tests pile up."""
    with ExitStack() as stack:
        yield opened(stack, kept_database_url, services.app).client


@pytest.fixture(params=KINDS, ids=lambda kind: kind.path)
def service(request: pytest.FixtureRequest, shared_client: FlaskClient) -> Service:
    """Each of the four services."""
    return Service(shared_client, request.param)


@pytest.fixture(params=[EVENT_DETAILS, TICKET], ids=lambda kind: kind.path)
def referring(request: pytest.FixtureRequest, shared_client: FlaskClient) -> Service:
    """The services whose records refer to others."""
    return Service(shared_client, request.param)


# ── register, get, list, health ──────────────────────────────────────────────────────────────────────────


def test_a_register_call_answers_201_with_the_new_id(service: Service) -> None:
    """Its members are those of the contract, and the ids it was given come back."""
    body = service.body()
    response = service.register(body)

    answer = body_of(response, 201)
    assert response.content_type == "application/json"
    assert answer["success"] is True
    assert answer["message"]
    assert str(UUID(answer[service.kind.id_name])) == answer[service.kind.id_name]
    for name in service.kind.references:
        assert answer[name] == body[name]


def test_a_registered_record_can_be_read(service: Service) -> None:
    """Its fields as they were given, `id`, `status` and `created_at`."""
    body = service.body()
    id_ = body_of(service.register(body), 201)[service.kind.id_name]

    record = body_of(service.get(id_), 200)
    created_at = record.pop("created_at")
    assert created_at.endswith("Z")
    assert record == {**body, "id": id_, "status": "active"}


def test_an_optional_field_may_be_left_out(service: Service) -> None:
    """It is an empty list then."""
    body = {name: value for name, value in service.body().items() if name not in service.kind.optional}
    id_ = body_of(service.register(body), 201)[service.kind.id_name]
    record = body_of(service.get(id_), 200)
    assert {name: record[name] for name in service.kind.optional} == {name: [] for name in service.kind.optional}


def test_the_list_is_newest_first_and_equal_to_the_records(service: Service) -> None:
    """The last registered record comes first, as it is read alone."""
    ids = [service.registered() for _ in range(3)]
    body = body_of(service.client.get(f"/api/{service.kind.path}/list?limit=3"), 200)
    assert [record["id"] for record in body[service.kind.plural]] == ids[::-1]
    assert body[service.kind.plural] == [body_of(service.get(id_), 200) for id_ in ids[::-1]]


def test_pages_of_records_walk_each_exactly_once(service: Service) -> None:
    """Small pages and a large one show the same records in the same order."""
    for _ in range(5):
        service.registered()
    everything = service.ids()
    assert len(everything) == len(set(everything))
    assert service.ids(limit=7) == everything


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=zzz"])
def test_a_bad_page_is_a_422(service: Service, query: str) -> None:
    """The parameter at fault is named."""
    body = body_of(service.client.get(f"/api/{service.kind.path}/list?{query}"), 422)
    assert list(body["errors"]) == [query.partition("=")[0]]


def test_an_unknown_record_is_a_404(service: Service) -> None:
    """Whether it looks like an id or not, and also when no database could store it."""
    for unknown in (UNKNOWN, "nonsense", "x" * 300, "%00"):
        response = service.get(unknown)
        body_of(response, 404)
        assert response.content_type == "application/problem+json"


def test_a_service_is_healthy(service: Service) -> None:
    """It says so."""
    assert body_of(service.client.get(f"/api/{service.kind.path}/health"), 200)["status"] == "healthy"


# ── The key ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_key_is_adopted_as_the_records_id(service: Service) -> None:
    """So a rollback can name the record, also when the answer was lost."""
    key = str(uuid4())
    assert service.registered(key) == key
    body_of(service.get(key), 200)


def test_without_a_key_every_call_registers(service: Service) -> None:
    """Two calls, two records."""
    body = service.body()
    ids = {body_of(service.register(body), 201)[service.kind.id_name] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["a UUID", "order 17, seat 4"])
def test_a_repeated_key_gets_the_first_answer_byte_for_byte_and_one_record(service: Service, key: str) -> None:
    """Once or often, with the same body or another: registered once."""
    key = str(uuid4()) if key == "a UUID" else f"{key} {uuid4()}"
    body = service.body()
    first = service.register(body, key)
    before = service.ids()
    repeats = [service.register(given, key) for given in (body, service.body(), body)]

    assert {repeat.data for repeat in repeats} == {first.data}
    assert {repeat.status_code for repeat in repeats} == {201}
    id_ = body_of(first, 201)[service.kind.id_name]
    assert service.ids().count(id_) == 1
    assert service.ids() == before
    record = body_of(service.get(id_), 200)
    assert {name: record[name] for name in body} == body


def test_a_repeat_is_answered_even_where_a_first_call_would_be_refused(service: Service) -> None:
    """What was registered stays registered, though a repeat asks to fail."""
    key = str(uuid4())
    body = service.body()
    first = service.register(body, key)
    again = service.register({**body, "simulate_failure": True}, key)
    assert (again.status_code, again.data) == (201, first.data)


def test_a_repeat_is_answered_even_when_what_it_refers_to_is_gone(referring: Service) -> None:
    """The first answer stands, although the event or venue was rolled back since."""
    key = str(uuid4())
    body = referring.body()
    first = referring.register(body, key)
    for name in referring.kind.references:
        body_of(referring.other(REFERRED[name]).roll_back(body[name]), 200)
    again = referring.register(body, key)
    assert (again.status_code, again.data) == (201, first.data)


def test_the_same_key_at_two_services_does_not_mix_their_records(service: Service) -> None:
    """A UUID that names a record here is refused elsewhere; the record stays what and where it was."""
    key = str(uuid4())
    service.registered(key)
    mine = service.get(key).data
    for kind in KINDS:
        if kind is service.kind:
            continue
        other = service.other(kind)
        body_of(other.register(other.body(), key), 409)
        body_of(other.get(key), 404)
        body_of(other.roll_back(key), 404)
        assert key not in other.ids()
    assert body_of(service.get(key), 200)
    assert service.get(key).data == mine


def test_the_same_words_as_key_at_two_services_are_two_records(shared_client: FlaskClient) -> None:
    """A key that is no UUID stands for an id of its own at each service."""
    key = f"the same words {uuid4()}"
    ids = [Service(shared_client, kind).registered(key) for kind in KINDS]
    assert len(set(ids)) == 4
    for kind, id_ in zip(KINDS, ids, strict=True):
        body_of(Service(shared_client, kind).get(id_), 200)


# ── rollback ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rolled_back_record_is_gone_from_get_and_list(service: Service) -> None:
    """200 with success, then 404, and the list has the others only."""
    gone, stays = service.registered(), service.registered()
    answer = body_of(service.roll_back(gone), 200)
    assert answer["success"] is True
    assert answer["message"]
    body_of(service.get(gone), 404)
    assert gone not in service.ids()
    assert stays in service.ids()


def test_a_repeated_rollback_is_again_200(service: Service) -> None:
    """The same answer each time, from a saga or not."""
    id_ = service.registered()
    first = service.roll_back(id_)
    for headers in ({}, SAGA, {}):
        again = service.roll_back(id_, headers)
        assert (again.status_code, again.data) == (200, first.data)


def test_rolling_back_an_id_never_seen_is_a_404(service: Service) -> None:
    """Outside a saga that is a mistake, and leaves nothing behind: the id can still be registered."""
    for unknown in ("nonsense", "%00", "x" * 300):
        body_of(service.roll_back(unknown), 404)
    key = str(uuid4())
    response = service.roll_back(key)
    body_of(response, 404)
    assert response.content_type == "application/problem+json"
    assert service.registered(key) == key


def test_a_saga_may_roll_back_a_key_never_seen_and_the_late_register_is_a_409(service: Service) -> None:
    """The late duplicate leaves no record, however often it comes."""
    key = str(uuid4())
    assert body_of(service.roll_back(key, SAGA), 200)["success"] is True
    body_of(service.roll_back(key, SAGA), 200)
    body = service.body()
    for _ in range(2):
        late = service.register(body, key, **SAGA)
        body_of(late, 409)
        assert late.content_type == "application/problem+json"
    body_of(service.get(key), 404)
    assert key not in service.ids()


def test_a_register_call_repeated_after_its_rollback_answers_as_first_and_leaves_no_record(service: Service) -> None:
    """The first answer is a fact of the past; the record stays gone."""
    key = str(uuid4())
    body = service.body()
    first = service.register(body, key)
    body_of(service.roll_back(key), 200)
    again = service.register(body, key)
    assert (again.status_code, again.data) == (201, first.data)
    body_of(service.get(key), 404)
    assert key not in service.ids()


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────


def test_each_required_field_is_missed_by_name(service: Service) -> None:
    """Left out or null: 422, and just that field is at fault."""
    body, before = service.body(), service.ids()
    for name in service.kind.body:
        for bad in ({**body, name: None}, {key: value for key, value in body.items() if key != name}):
            response = service.register(bad)
            assert list(body_of(response, 422)["errors"]) == [name]
            assert response.content_type == "application/problem+json"
    assert service.ids() == before


def test_each_bad_field_is_refused_by_name(service: Service) -> None:
    """Wrong type, empty or out of range: 422, nothing registered."""
    body, before = service.body(), service.ids()
    for name, values in service.kind.bad.items():
        for value in values:
            answer = body_of(service.register({**body, name: value}), 422)
            assert list(answer["errors"]) == [name], (name, value)
    assert service.ids() == before


def test_every_missing_field_is_told_at_once(service: Service) -> None:
    """An empty object is answered with all of them."""
    assert set(body_of(service.register({}), 422)["errors"]) == set(service.kind.body)


def test_an_unknown_field_is_refused_by_name(service: Service) -> None:
    """A slip of the pen in an optional field must not pass unseen."""
    assert list(body_of(service.register(service.body(requirments=[])), 422)["errors"]) == ["requirments"]


def test_a_reference_to_nothing_is_refused_by_name(referring: Service) -> None:
    """Never seen, rolled back, or of another kind: 422, nothing registered."""
    gone = {name: referring.other(REFERRED[name]).registered() for name in referring.kind.references}
    for name, id_ in gone.items():
        body_of(referring.other(REFERRED[name]).roll_back(id_), 200)
    other_kind = {"event_id": referring.other(VENUE).registered(), "venue_id": referring.other(EVENT).registered()}
    body, before = referring.body(), referring.ids()
    for name in referring.kind.references:
        for id_ in (UNKNOWN, gone[name], other_kind[name]):
            assert list(body_of(referring.register({**body, name: id_}), 422)["errors"]) == [name]
    assert referring.ids() == before


def test_a_key_refused_once_can_still_be_used(referring: Service) -> None:
    """A refusal registers nothing, so the corrected call under the same key does."""
    key = str(uuid4())
    body = referring.body()
    body_of(referring.register({**body, "event_id": UNKNOWN}, key), 422)
    assert body_of(referring.register(body, key), 201)[referring.kind.id_name] == key


def test_a_simulated_failure_is_a_409_and_registers_nothing(service: Service) -> None:
    """And the same key works afterwards, when it is not asked to fail."""
    key = str(uuid4())
    body, before = service.body(), service.ids()
    response = service.register({**body, "simulate_failure": True}, key)
    body_of(response, 409)
    assert response.content_type == "application/problem+json"
    body_of(service.get(key), 404)
    assert service.ids() == before
    body_of(service.register({**body, "simulate_failure": False}, key), 201)


def test_a_simulated_failure_that_is_no_yes_or_no_is_a_422(service: Service) -> None:
    """It is a boolean."""
    assert list(body_of(service.register(service.body(simulate_failure="perhaps")), 422)["errors"]) == [
        "simulate_failure"
    ]


def test_a_price_of_zero_is_a_price(shared_client: FlaskClient) -> None:
    """Free tickets can be registered: the price is at least 0."""
    ticket = Service(shared_client, TICKET)
    id_ = body_of(ticket.register(ticket.body(price=0)), 201)["ticket_id"]
    assert body_of(ticket.get(id_), 200)["price"] == 0
