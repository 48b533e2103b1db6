"""Calls that sagas sign: what stands in them, what their keys look like, and what strangers cannot do."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, jsonify
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms
from werkzeug.serving import make_server
from werkzeug.test import Client

from saga_es import Participant, RetryPolicy, Saga, open_engine
from saga_es.definition.credentials import Credentials, Source
from saga_es.node.credentials import BadCredentials
from saga_es.participant import Barrier, Verdict, check_participant, leaves_tombstone, takes_part, verified
from saga_es.runtime.calls.answers import NotSent
from saga_es.runtime.calls.signing import COVERED, Message, signed
from saga_es.runtime.calls.transport import HttpTransport
from tests.conftest import TIMEOUT_S
from tests.support import participants
from tests.unit.test_bad_signatures import (
    BODY,
    HEADERS,
    KEYS,
    PRIVATE,
    SECRET,
    SIGNS,
    STRANGERS,
    private_pem,
    public_pem,
)

# ── The vectors of the RFC ───────────────────────────────────────────────────────────────────────────────

RFC_REQUEST = {
    "Host": "example.com",
    "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "Content-Type": "application/json",
    "Content-Length": "18",
}
"""The request of RFC 9421, appendix B.2."""

RFC_SECRET = b64decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
RFC_KEY = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    ("algorithm", "key", "key_id", "covered", "signature"),
    [
        (
            algorithms.HMAC_SHA256,
            RFC_SECRET,
            "test-shared-secret",
            ["date", "@authority", "content-type"],
            "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
        ),
        (
            algorithms.ED25519,
            RFC_KEY,
            "test-key-ed25519",
            ["date", "@method", "@path", "@authority", "content-type", "content-length"],
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
        ),
    ],
    ids=["B.2.5", "B.2.6"],
)
def test_the_library_signs_as_the_rfc_does(
    algorithm: Any, key: bytes, key_id: str, covered: list[str], signature: str
) -> None:
    """So a participant in another language can read what we send."""
    message = Message("POST", "http://example.com/foo?param=Value&Pet=dog", RFC_REQUEST)
    resolver = MappingKeyResolver(public_keys={}, private_keys={key_id: key})
    HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=resolver).sign(
        message,
        key_id=key_id,
        created=datetime.fromtimestamp(1618884473, UTC),
        covered_component_ids=covered,
        include_alg=False,
        label="sig",
    )
    assert message.headers["Signature"] == f"sig=:{signature}:"


def test_a_signature_covers_what_a_saga_says() -> None:
    """Method, target, digest, key, and whose call it is."""
    headers = signed(SIGNS["ed25519"], "POST", "https://bank.example/pays?x=1", HEADERS, BODY)
    assert headers["Content-Digest"] == f"sha-256=:{b64encode(sha256(BODY).digest()).decode()}:"
    named = " ".join(f'"{name}"' for name in COVERED)
    assert headers["Signature-Input"].startswith(f"saga=({named});created=")
    assert headers["Signature-Input"].endswith(';keyid="shop-1";alg="ed25519";tag="saga_es"')


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bank() -> Iterator[participants.Participant]:
    with participants.Participant() as served:
        yield served


def fails() -> str:
    """A function whose error names a secret."""
    raise RuntimeError(SECRET)


BAD_KEYS: list[Source] = [
    "",
    "ed25519",
    "ed25519 shop-1",
    "ed25519 shop-1 file:/no/such/file",
    "hmac-sha256 shop-1 env:SAGA_TEST_NOT_SET",
    f"hmac-sha256 shop-1 {SECRET[:20]}",
    f"hmac-sha256 shop-1 {SECRET[:-4]}****",
    f"hmac-md5 shop-1 {SECRET}",
    f"ed25519 shop-1 {SECRET}",
    f"ed25519 shop-1 {public_pem(PRIVATE)}",
    fails,
    lambda: SECRET,
]


@pytest.mark.parametrize("sign", BAD_KEYS)
def test_without_a_key_nothing_is_sent(bank: participants.Participant, sign: Source, tmp_path: Path) -> None:
    """And it is known when the engine opens, unless a function has to say it; no error names a secret."""
    transport = HttpTransport(bank.url, name="participant 'bank'", credentials=Credentials(sign=sign))
    with pytest.raises(NotSent, match="participant 'bank' cannot be shown who calls") as caught:
        transport.send("POST", "/pay", {}, None, TIMEOUT_S)
    assert bank.calls == []
    assert SECRET[:20] not in str(caught.value)
    if callable(sign):
        return
    saga = Saga("pays")
    saga.request("pay", Participant("bank", sign=sign).post("/pay"), compensation=None)
    opening = open_engine(f"sqlite:///{tmp_path / 'x.db'}", saga, participants={"bank": bank.url})
    with pytest.raises(BadCredentials, match="SAGA_ES_PARTICIPANT_BANK_SIGN: ") as refused, opening:
        pass
    assert SECRET[:20] not in str(refused.value)


@pytest.mark.parametrize(
    "key", ["", "ed25519", "ed25519 file:/no/such/file", f"ed25519 {private_pem(PRIVATE)}", f"rsa {SECRET}"]
)
def test_a_key_that_cannot_verify_is_named_at_once(key: str) -> None:
    """Not when the first call comes."""
    with pytest.raises(ValueError, match="the key 'shop-1': "):
        verified(Flask("bank"), {"shop-1": key})


def test_a_key_that_is_away_for_a_moment_refuses_nobody_for_good(tmp_path: Path) -> None:
    """The call is to be repeated: a saga would compensate after a 401."""
    file = tmp_path / "key.pem"
    file.write_text(public_pem(PRIVATE))
    app = verified(Flask("bank"), {"shop-1": f"ed25519 file:{file}"})
    headers = signed(SIGNS["ed25519"], "GET", "http://localhost/", HEADERS, None)
    assert app.test_client().get("/", headers=headers).status_code == 404
    file.unlink()
    answer = app.test_client().get("/", headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_a_proxy_in_front_changes_no_signature_if_the_base_url_is_named() -> None:
    """It ends TLS, and takes away a part of the path; a call to another service with the same key is none to this."""
    app = verified(Flask("bank"), KEYS, base_url="https://bank.example/v1/")
    client = app.test_client()
    for url, status in (("https://bank.example/v1/a%20b?x=%20", 404), ("https://shop.example/v1/a%20b?x=%20", 401)):
        headers = signed(SIGNS["ed25519"], "POST", url, HEADERS, BODY)
        assert client.post("/a%20b?x=%20", headers=headers, data=BODY).status_code == status


def test_a_body_that_is_too_large_is_not_read() -> None:
    """By a WSGI application of no framework, too."""
    app = verified(Flask("bank").wsgi_app, KEYS)
    body = b"x" * 1_048_577
    headers = signed(SIGNS["ed25519"], "POST", "http://localhost/", HEADERS, body)
    assert Client(app).post("/", headers=headers, data=body).status_code == 413


# ── A saga and its participant ───────────────────────────────────────────────────────────────────────────


def hotel(database: Path, **how: Any) -> Flask:
    """A service with a barrier."""
    metadata = sa.MetaData()
    barrier = Barrier(metadata)
    engine = sa.create_engine(f"sqlite:///{database}", poolclass=sa.NullPool)
    metadata.create_all(engine)
    app = Flask("hotel")
    takes_part(app)
    verified(app, KEYS, **how)

    @app.post("/rooms/<key>")
    def book(key: str) -> Any:
        with engine.begin() as connection:
            return barrier.act(connection, key, lambda: {"room": 7})

    @app.delete("/rooms/<key>")
    def cancel(key: str) -> Any:
        with engine.begin() as connection:
            undone = barrier.undo(connection, key, lambda _: None, before_acted=leaves_tombstone())
            return jsonify(undone=undone)

    return app


def test_a_strangers_undo_leaves_no_tombstone(tmp_path: Path) -> None:
    """Whoever guesses a key could otherwise have the call of a saga refused; what a saga undoes first stays undone."""
    client = hotel(tmp_path / "rooms.db", required=False).test_client()

    def call(method: str, key: str, *, is_signed: bool) -> int:
        path = f"/rooms/{key}"
        headers = HEADERS
        if is_signed:
            headers = signed(SIGNS["hmac"], method, f"http://localhost{path}", HEADERS, None)
        return client.open(path, method=method, headers=headers).status_code

    assert call("DELETE", "a", is_signed=False) == 200
    assert call("POST", "a", is_signed=True) == 200
    assert call("DELETE", "b", is_signed=True) == 200
    assert call("POST", "b", is_signed=True) == 409


@pytest.mark.parametrize(
    "sign", [*SIGNS.values(), f"ed25519 shop-1 {private_pem(STRANGERS)}"], ids=[*SIGNS, "stranger"]
)
def test_a_saga_signs_over_the_network_and_the_participant_verifies(tmp_path: Path, sign: str) -> None:
    """With a real server between them; a stranger is refused for good, and nothing was done."""
    server = make_server("127.0.0.1", 0, hotel(tmp_path / "rooms.db"), threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    saga = Saga("books")
    room = Participant("hotel")
    saga.request(
        "book",
        room.post("/rooms/{input[room]}", lambda input: {"for": input["room"]}),  # noqa: A006
        compensation=None,
        retry=RetryPolicy(attempts=1),
    )
    try:
        with open_engine(
            f"sqlite:///{tmp_path / 'log.db'}",
            saga,
            participants={"hotel": f"http://127.0.0.1:{server.port}"},
            credentials={"hotel": {"sign": sign}},
        ) as engine:
            result = engine.start("books", {"room": "7 ä/b".replace("/", "-")}).result(TIMEOUT_S)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    is_stranger = sign not in SIGNS.values()
    assert result.status.name == ("COMPENSATED" if is_stranger else "COMPLETED"), result.error


def test_the_checks_sign_their_calls(tmp_path: Path) -> None:
    """A participant that verifies passes them; without a signature the action is not done at all."""
    served = hotel(tmp_path / "rooms.db")
    server = make_server("127.0.0.1", 0, served, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    given: dict[str, Any] = {"action": "POST /rooms/{action_key}", "compensation": "DELETE /rooms/{action_key}"}
    try:
        url = f"http://127.0.0.1:{server.port}"
        stranger = check_participant(url, **given)
        known = check_participant(url, **given, shown=Participant("hotel", sign=SIGNS["hmac"]))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert stranger.checks[0].verdict is Verdict.FAILED
    verdicts = {finding.check: finding.verdict for finding in known.checks}
    assert verdicts["action"] is verdicts["compensation"] is verdicts["repeated action"] is Verdict.PASSED
