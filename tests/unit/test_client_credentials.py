"""Tokens that are fetched by OAuth 2.0 client credentials: once, in time, and anew when a participant refuses one."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from saga_es import Participant, RetryPolicy, Saga, open_engine
from saga_es.definition.credentials import Credentials
from saga_es.node.credentials import BadCredentials
from saga_es.runtime.calls import oauth2
from saga_es.runtime.calls.answers import NotSent
from saga_es.runtime.calls.transport import HttpTransport
from tests.conftest import TIMEOUT_S
from tests.support import participants
from tests.support.participants import Says

SECRET = "s3cret of the shop: 4711".replace(" ", "+")


class Issuer(participants.Participant):
    """A token endpoint that numbers its tokens."""

    good_s: object = 300
    said: Says | None = None

    def __init__(self) -> None:
        super().__init__(lambda _: self.give())

    def give(self) -> Says:
        """The next token."""
        number = len(self.calls)
        body = {"access_token": f"token-of-the-shop-{number}", "token_type": "Bearer", "expires_in": self.good_s}
        return self.said or Says(body=body)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as served:
        yield served


@pytest.fixture
def bank() -> Iterator[participants.Participant]:
    with participants.Participant() as served:
        yield served


def auth_by(issuer: Issuer, *more: str, secret: str = SECRET) -> str:
    return " ".join(["oauth2", f"{issuer.url}/oauth/token?tenant=7", "shop", secret, *more])


def calling(bank: participants.Participant, auth: str) -> HttpTransport:
    return HttpTransport(bank.url, name="participant 'bank'", credentials=Credentials(auth=auth))


def shown(bank: participants.Participant) -> list[str]:
    return [call.headers["authorization"].removeprefix("Bearer token-of-the-shop-") for call in bank.calls]


def test_a_token_is_fetched_once_and_shown_with_each_call(issuer: Issuer, bank: participants.Participant) -> None:
    """The client shows its secret by Basic, and asks for its scopes."""
    transport = calling(bank, auth_by(issuer, "pay", "refund", "audience=https://bank.example"))
    for _ in range(3):
        assert transport.send("POST", "/pay", {}, b"{}", TIMEOUT_S).status == 200
    transport.close()
    assert shown(bank) == ["1", "1", "1"]
    (asked,) = issuer.calls
    assert (asked.method, asked.path) == ("POST", "/oauth/token?tenant=7")
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["pay refund"],
        "audience": ["https://bank.example"],
    }
    login = b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
    assert login == "shop:s3cret%2Bof%2Bthe%2Bshop%3A%2B4711"


def test_a_token_is_fetched_anew_before_it_expires(
    issuer: Issuer, bank: participants.Participant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a minute at most: a call with it has to arrive."""
    now_s = 1000.0
    monkeypatch.setattr(oauth2, "elapsed_s", lambda: now_s)
    transport = calling(bank, auth_by(issuer))
    for now_s in (1000.0, 1239.0, 1240.0, 1300.0):  # noqa: B007 (read by the clock)
        transport.send("POST", "/pay", {}, None, TIMEOUT_S)
    issuer.good_s = "soon"
    for now_s in (1480.0, 1520.0, 1530.0):  # noqa: B007
        transport.send("POST", "/pay", {}, None, TIMEOUT_S)
    transport.close()
    assert shown(bank) == ["1", "1", "2", "2", "3", "3", "4"]


def test_a_token_that_is_refused_is_fetched_anew_once(issuer: Issuer, bank: participants.Participant) -> None:
    """It was withdrawn. The saga does not see it; a participant that refuses the new one, too, has refused the call."""
    transport = calling(bank, auth_by(issuer))
    transport.send("POST", "/pay", {}, None, TIMEOUT_S)
    bank.script = lambda call: Says(401 if call.headers["authorization"].endswith("-1") else 200)
    assert transport.send("POST", "/pay", {}, None, TIMEOUT_S).status == 200
    bank.script = lambda _: Says(401)
    assert transport.send("POST", "/pay", {}, None, TIMEOUT_S).status == 401
    transport.close()
    assert shown(bank) == ["1", "1", "2", "2", "3"]
    assert len(issuer.calls) == 3


def test_a_token_of_this_very_attempt_is_not_fetched_again(issuer: Issuer, bank: participants.Participant) -> None:
    """Nor is anything else that a participant refuses sent twice."""
    bank.script = lambda _: Says(401)
    for auth in (auth_by(issuer), "bearer token-of-the-shop-9"):
        transport = calling(bank, auth)
        assert transport.send("POST", "/pay", {}, None, TIMEOUT_S).status == 401
        transport.close()
    assert shown(bank) == ["1", "9"]


def test_many_calls_at_once_fetch_one_token(issuer: Issuer, bank: participants.Participant) -> None:
    """Also when all of them are refused with the old one at once."""
    transport = calling(bank, auth_by(issuer))
    answers: list[int] = []

    def call() -> None:
        answers.append(transport.send("POST", "/pay", {}, None, TIMEOUT_S).status)

    def all_at_once() -> None:
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_at_once()
    assert len(issuer.calls) == 1
    bank.script = lambda call: Says(401 if call.headers["authorization"].endswith("-1") else 200)
    all_at_once()
    transport.close()
    assert answers == [200] * 16
    assert len(issuer.calls) == 2


def test_a_secret_in_a_file_may_be_replaced(issuer: Issuer, bank: participants.Participant, tmp_path: Path) -> None:
    """A token that the old secret fetched is not shown any more."""
    file = tmp_path / "secret"
    transport = calling(bank, auth_by(issuer, secret=f"file:{file}"))
    for secret in ("old", "old", "new"):
        file.write_text(f"{secret}\n")
        transport.send("POST", "/pay", {}, None, TIMEOUT_S)
    transport.close()
    logins = [b64decode(call.headers["authorization"].removeprefix("Basic ")) for call in issuer.calls]
    assert logins == [b"shop:old", b"shop:new"]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (Says(400, {"error": "invalid_client", "error_description": SECRET}), "answered 400 invalid_client;"),
        (Says(401, {"error": f"no {SECRET}"}), "answered 401;"),
        (Says(500, SECRET.encode()), "answered 500;"),
        (Says(302, headers={"Location": "/elsewhere"}), "answered 302;"),
        (Says(200, b"<html>"), "gave no bearer token"),
        (Says(200, {"access_token": "x y", "token_type": "bearer"}), "gave no bearer token"),
        (Says(200, {"access_token": "x\r\nX-Evil: 1", "token_type": "bearer"}), "gave no bearer token"),
        (Says(200, {"access_token": 7, "token_type": "bearer"}), "gave no bearer token"),
        (Says(200, {"access_token": "x", "token_type": "mac"}), "gave no bearer token"),
        (Says(200, []), "gave no bearer token"),
    ],
)
def test_without_a_token_nothing_is_sent(
    issuer: Issuer, bank: participants.Participant, said: Says, named: str
) -> None:
    """The attempt is tried again later; the error repeats nothing of the answer that may be a secret."""
    issuer.said = said
    transport = calling(bank, auth_by(issuer))
    with pytest.raises(NotSent, match="participant 'bank' cannot be shown who calls") as caught:
        transport.send("POST", "/pay", {}, None, TIMEOUT_S)
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)
    issuer.said = None
    assert transport.send("POST", "/pay", {}, None, TIMEOUT_S).status == 200
    transport.close()


def paying() -> Saga:
    saga = Saga("pays")
    retry = RetryPolicy(attempts=5, first_delay_s=0.01)
    saga.request("pay", Participant("bank").post("/pay"), compensation=None, retry=retry)
    return saga


def test_a_saga_gets_over_an_issuer_that_is_away_for_a_moment(
    issuer: Issuer, bank: participants.Participant, tmp_path: Path
) -> None:
    """And its log has neither secret nor token."""
    issuer.script = lambda _: Says(503) if len(issuer.calls) < 3 else issuer.give()
    bank.script = lambda call: Says(body={"you": call.headers["authorization"].split()[1]})
    with open_engine(
        f"sqlite:///{tmp_path / 'log.db'}",
        paying(),
        participants={"bank": bank.url},
        credentials={"bank": {"auth": auth_by(issuer)}},
    ) as engine:
        assert engine.start("pays", {}).result(TIMEOUT_S).status.name == "COMPLETED"
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"answered 503" in kept
    assert b"token-of-the-shop" not in kept
    assert SECRET.encode() not in kept


def test_a_saga_does_not_see_that_its_token_was_withdrawn(
    issuer: Issuer, bank: participants.Participant, tmp_path: Path
) -> None:
    """Its only attempt is answered with a new one; a participant that refuses each token refuses the step."""
    saga = Saga("pays")
    once = RetryPolicy(attempts=1)
    saga.request("pay", Participant("bank").post("/pay"), compensation=None, retry=once)
    with open_engine(
        f"sqlite:///{tmp_path / 'log.db'}",
        saga,
        participants={"bank": bank.url},
        credentials={"bank": {"auth": auth_by(issuer)}},
    ) as engine:
        assert engine.start("pays", {}).result(TIMEOUT_S).status.name == "COMPLETED"
        bank.script = lambda call: Says(401 if call.headers["authorization"].endswith("-1") else 200)
        assert engine.start("pays", {}).result(TIMEOUT_S).status.name == "COMPLETED"
        bank.script = lambda _: Says(401)
        assert engine.start("pays", {}).result(TIMEOUT_S).status.name == "COMPENSATED"
    assert shown(bank) == ["1", "1", "2", "2", "3"]


@pytest.mark.parametrize(
    ("auth", "named"),
    [
        ("oauth2", "no known scheme"),
        ("oauth2 https://login.example/token shop", "oauth2 wants a URL, a client and its secret"),
        ("oauth2 login.example shop secret", "the token endpoint cannot be called"),
        ("oauth2 http://login.example/token shop secret", "its URL begins with https://"),
        ("oauth2 https://login.example/token shop file:/no/such/file", "cannot read '/no/such/file'"),
        ("oauth2 https://login.example/token shop env:SAGA_TEST_NOT_SET", "SAGA_TEST_NOT_SET is empty"),
    ],
)
def test_a_grant_is_checked_before_the_engine_opens(auth: str, named: str, tmp_path: Path) -> None:
    """The endpoint is not asked for it."""
    opening = open_engine(
        f"sqlite:///{tmp_path / 'x.db'}",
        paying(),
        participants={"bank": "http://127.0.0.1:9"},
        credentials={"bank": {"auth": auth}},
    )
    with pytest.raises(BadCredentials, match="SAGA_ES_PARTICIPANT_BANK_AUTH: ") as caught, opening:
        pass
    assert named in str(caught.value)
