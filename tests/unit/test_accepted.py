"""Participants that take a call with 202, and are asked at their `Location` until they say what it came to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from saga_es import Saga, SagaStatus, open_engine
from saga_es.runtime.handle import SagaResult
from tests.conftest import TIMEOUT_S
from tests.support import participants, taken
from tests.support.participants import Act, Call, Resets, Says, by_method, in_turn
from tests.support.tunnels import tunnel_proxy

AT_ONCE = {"Retry-After": "0"}
TAKEN = Says(202, headers={"Location": "/jobs/7", **AT_ONCE})
STILL = Says(202, headers=AT_ONCE)
ROOM = Says(body={"room": 7})


@pytest.fixture
def bank() -> Iterator[participants.Participant]:
    """A participant that remembers what it was asked."""
    with participants.Participant() as served:
        yield served


def paying(*, accepts_202: bool = True, timeout_s: float = TIMEOUT_S, attempts: int = 1) -> Saga:
    """A saga that calls the bank once, and gives up soon."""
    return taken.paying(timeout_s=timeout_s, attempts=attempts, accepts_202=accepts_202)


def ended(tmp_path: Path, bank: participants.Participant, saga: Saga, base: str = "", **settings: Any) -> SagaResult:
    """What became of a saga."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with open_engine(url, saga, participants={"bank": bank.url + base}, **settings) as engine:
        return engine.start("pays", {}).result(TIMEOUT_S)


# ── What the look finds ──────────────────────────────────────────────────────────────────────────────────


def test_a_participant_is_asked_until_it_says_what_the_call_came_to(
    bank: participants.Participant, tmp_path: Path
) -> None:
    """With the key and the saga of the call, and nothing of its body."""
    bank.script = by_method(POST=lambda _: TAKEN, GET=in_turn(STILL, Says(503), Resets(), Says(429), ROOM))
    result = ended(tmp_path, bank, paying())
    assert (result.status, result.results) == (SagaStatus.COMPLETED, {"pay": {"room": 7}})
    first, *looks = bank.calls
    assert first.headers["prefer"] == "respond-async"
    assert [(look.method, look.path, look.key) for look in looks] == [("GET", "/jobs/7", first.key)] * 5
    assert all(look.headers["x-saga-step"] == "pay" for look in looks)
    assert not {"prefer", "content-type", "x-saga-reply-to"} & {name for look in looks for name in look.headers}


@pytest.mark.parametrize(
    ("found", "failure", "says"),
    [
        (Says(409, {"detail": "sold out"}), "rejected", "HTTP 409: sold out"),
        (Says(422), "rejected", "HTTP 422"),
        (Says(404), "unknown", "what became of the call cannot be found: HTTP 404"),
        (Says(410), "unknown", "cannot be found: HTTP 410"),
        (Says(401), "unknown", "cannot be found: HTTP 401"),
        (Says(403), "unknown", "cannot be found: HTTP 403"),
        (Says(405), "unknown", "cannot be found: HTTP 405"),
        (Says(body=b"<p>done</p>"), "unknown", "not JSON"),
        (Says(304), "unknown", "HTTP 304"),
    ],
)
def test_what_is_found_is_read_like_an_answer(
    bank: participants.Participant, tmp_path: Path, found: Says, failure: str, says: str
) -> None:
    """But a refusal of the look says nothing about the call, which may have been done: it is undone."""
    bank.script = by_method(POST=lambda _: TAKEN, GET=lambda _: found, DELETE=lambda _: Says())
    result = ended(tmp_path, bank, paying())
    assert result.status is SagaStatus.COMPENSATED
    assert says in str(result.error)
    assert (len([call for call in bank.calls if call.method == "DELETE"]) == 1) is (failure == "unknown")


def test_an_undo_may_be_taken_too(bank: participants.Participant, tmp_path: Path) -> None:
    """Its end is found like that of an action."""
    looks = in_turn(Says(503), Says(404), STILL, Says())  # of the action, then of its undo
    bank.script = by_method(POST=lambda _: TAKEN, DELETE=lambda _: TAKEN, GET=looks)
    assert ended(tmp_path, bank, paying()).status is SagaStatus.COMPENSATED
    assert [call.method for call in bank.calls] == ["POST", "GET", "GET", "DELETE", "GET", "GET"]


def test_a_look_may_be_sent_on(bank: participants.Participant, tmp_path: Path) -> None:
    """303 names another place below the base URL, where the result is."""

    def look(call: Call) -> Act:
        return Says(303, headers={"Location": "../rooms/7?full=1", **AT_ONCE}) if "jobs" in call.path else ROOM

    bank.script = by_method(POST=lambda _: TAKEN, GET=look)
    assert ended(tmp_path, bank, paying()).results == {"pay": {"room": 7}}
    assert [call.path for call in bank.calls] == ["/pay", "/jobs/7", "/rooms/7?full=1"]


@pytest.mark.parametrize(
    ("base", "location", "asked"),
    [
        ("/v1", "/v1/jobs/7", "/v1/jobs/7"),
        ("/v1", "jobs/7", "/v1/jobs/7"),
        ("/v1", "?job=7", "/v1/pay?job=7"),
        ("", "{url}/jobs/7", "/jobs/7"),
        ("", "/jobs/a%20b#part", "/jobs/a%20b"),
    ],
)
def test_a_place_is_written_as_urls_are(
    bank: participants.Participant, tmp_path: Path, base: str, location: str, asked: str
) -> None:
    """Whole, from the root, or relative to the call (RFC 3986, 5)."""
    headers = {"Location": location.format(url=bank.url), **AT_ONCE}
    bank.script = by_method(POST=lambda _: Says(202, headers=headers), GET=lambda _: ROOM)
    assert ended(tmp_path, bank, paying(), base).status is SagaStatus.COMPLETED
    assert bank.calls[-1].path == asked


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/jobs/7",
        "//evil.example/jobs/7",
        "https://127.0.0.1:{port}/v1/jobs/7",
        "http://127.0.0.1:1/v1/jobs/7",
        "http://ada:secret@127.0.0.1:{port}/v1/jobs/7",
        "http://127.0.0.1:{port}@evil.example/v1/jobs/7",
        "http://127.0.0.1:{port}\\@evil.example/v1/jobs/7",
        "/jobs/7",
        "/v1",
        "/v10/jobs/7",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/jobs/7 8",
        "/v1/jöbs",
        "file:///etc/passwd",
        "http://[::1/v1/jobs",
        "http://127.0.0.1:99999/v1/jobs",
        "",
    ],
)
def test_no_other_place_is_asked(bank: participants.Participant, tmp_path: Path, location: str) -> None:
    """The credentials of a participant belong below its base URL alone. The call may have been done: it is undone."""
    place = location.format(port=bank.url.rpartition(":")[2])
    taken = Says(202, headers={"Location": place, **AT_ONCE} if place else {})
    bank.script = by_method(POST=lambda _: taken, DELETE=lambda _: Says())
    result = ended(tmp_path, bank, paying(), "/v1")
    assert result.status is SagaStatus.COMPENSATED
    assert "Location" in str(result.error)
    assert [call.method for call in bank.calls] == ["POST", "DELETE"]


# ── How long ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_time_out_of_the_step_covers_the_wait(bank: participants.Participant, tmp_path: Path) -> None:
    """Then nobody knows what became of the call: it is made again with its key, and undone in the end."""
    bank.script = by_method(POST=lambda _: TAKEN, GET=lambda _: STILL, DELETE=lambda _: Says())
    result = ended(tmp_path, bank, paying(timeout_s=0.5, attempts=2))
    assert (result.status, result.error) == (SagaStatus.COMPENSATED, "no answer within 0.5 s")
    actions = [call.key for call in bank.calls if call.method == "POST"]
    assert len(actions) == 2
    assert len(set(actions)) == 1


def test_a_call_that_is_taken_holds_no_place_at_its_participant(bank: participants.Participant, tmp_path: Path) -> None:
    """With one call at once, all sagas are taken before the first of them ends."""
    count = 5

    def look(_: Call) -> Act:
        taken = [call for call in bank.calls if call.method == "POST"]
        return ROOM if len(taken) == count else STILL

    bank.script = by_method(POST=lambda _: TAKEN, GET=look)
    url = f"sqlite:///{tmp_path / 'log.db'}"
    limits = {"bank": {"calls": 1.0}}
    with open_engine(url, paying(), participants={"bank": bank.url}, limits=limits) as engine:
        handles = [engine.start("pays", {}) for _ in range(count)]
        assert {handle.result(TIMEOUT_S).status for handle in handles} == {SagaStatus.COMPLETED}


def test_a_saga_that_is_cancelled_meanwhile_awaits_the_end_of_the_call(
    bank: participants.Participant, tmp_path: Path
) -> None:
    """As of every call in flight: what was done is undone."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with open_engine(url, paying(), participants={"bank": bank.url}) as engine:
        cancelled: list[str] = []

        def look(_: Call) -> Act:
            if not cancelled:
                cancelled.append("now")
                engine.cancel(handle.saga_id, reason="changed my mind", actor="Ada")
                return STILL
            return ROOM

        bank.script = by_method(POST=lambda _: TAKEN, GET=look, DELETE=lambda _: Says())
        handle = engine.start("pays", {})
        assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert [call.method for call in bank.calls] == ["POST", "GET", "GET", "DELETE"]


def test_an_engine_that_closes_leaves_the_call_to_the_next(bank: participants.Participant, tmp_path: Path) -> None:
    """Which makes it again with its key, and finds its end."""
    bank.script = by_method(POST=lambda _: TAKEN, GET=lambda _: STILL)
    url, given = f"sqlite:///{tmp_path / 'log.db'}", {"bank": bank.url}
    with open_engine(url, paying(), participants=given, grace_s=0) as engine:
        saga_id = engine.start("pays", {}).saga_id
        bank.wait_for_calls(3)
    bank.script = by_method(POST=lambda _: TAKEN, GET=lambda _: ROOM)
    with open_engine(url, paying(), participants=given) as engine:
        assert engine.start("pays", {}, saga_id=saga_id).result(TIMEOUT_S).status is SagaStatus.COMPLETED
    assert len({call.key for call in bank.calls}) == 1


# ── Other ways ───────────────────────────────────────────────────────────────────────────────────────────


def test_202_is_the_end_of_a_call_that_does_not_say_that_it_accepts_it(
    bank: participants.Participant, tmp_path: Path
) -> None:
    """As every 2xx."""
    bank.script = lambda _: Says(202, {"queued": True}, {"Location": "/jobs/7"})
    assert ended(tmp_path, bank, paying(accepts_202=False)).results == {"pay": {"queued": True}}
    assert [call.headers.get("prefer") for call in bank.calls] == [None]


def test_what_stands_around_each_call_stands_around_the_wait_too(
    bank: participants.Participant, tmp_path: Path
) -> None:
    """There the request is made on a thread, and the end is awaited without one."""
    bank.script = by_method(POST=lambda _: TAKEN, GET=in_turn(STILL, ROOM))
    result = ended(tmp_path, bank, paying(), around=[nullcontext])
    assert result.results == {"pay": {"room": 7}}


def test_looks_take_the_way_of_the_call(bank: participants.Participant, tmp_path: Path) -> None:
    """With its credentials, and through its proxy."""
    bank.script = by_method(POST=lambda _: TAKEN, GET=lambda _: ROOM)
    with tunnel_proxy() as proxy:
        shown = {"bank": {"auth": "bearer t0ken-of-the-bank", "proxy": proxy.url}}
        assert ended(tmp_path, bank, paying(), credentials=shown).status is SagaStatus.COMPLETED
        assert proxy.asked
    assert {call.headers["authorization"] for call in bank.calls} == {"Bearer t0ken-of-the-bank"}
