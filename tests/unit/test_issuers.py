"""Issuers: their keys are fetched, kept and forgotten, and settings say who is trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask, request

from saga_es.access import jwks
from saga_es.access.jwks import KEPT_S, LEAST_S, MOST_BYTES
from saga_es.access.jwt_auth import Issuer, JwtAuth
from saga_es.errors import SettingsError
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from tests.support.tokens import AUD, ISS, document, published, token

# ── The keys ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Publisher:
    """An issuer whose document changes, and who is asked."""

    entries: list[dict[str, Any]]
    asked: int = 0
    fails: bool = False
    passed_s: float = 10_000.0
    auth: JwtAuth = field(init=False)

    def __post_init__(self) -> None:
        self.auth = JwtAuth([Issuer(name=ISS, audience=AUD, fetch=self.fetch)])

    def fetch(self) -> bytes:
        """The document."""
        self.asked += 1
        if self.fails:
            raise OSError("away")
        return document(*self.entries)

    def knows(self, text: str) -> bool:
        """Whether a token is somebody's."""
        return self.auth.principal(text) is not None


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """One with one key; time stands still."""
    made = Publisher([published("rsa")])
    monkeypatch.setattr(jwks, "monotonic_s", lambda: made.passed_s)
    return made


def test_keys_are_fetched_once_and_again_when_they_are_old(publisher: Publisher) -> None:
    """Not for each token."""
    assert all(publisher.knows(token()) for _ in range(5))
    assert publisher.asked == 1
    publisher.passed_s += KEPT_S
    assert publisher.knows(token())
    assert publisher.asked == 2


def test_an_unknown_key_is_looked_for_but_only_so_often(publisher: Publisher) -> None:
    """A new key is found; key ids that strangers make up cost the issuer nothing."""
    assert publisher.knows(token())
    publisher.entries.append(published("new"))
    assert not publisher.knows(token(by="new"))
    assert publisher.asked == 1
    publisher.passed_s += LEAST_S
    assert publisher.knows(token(by="new"))
    for number in range(20):
        assert not publisher.knows(token(header={"kid": f"made up {number}"}))
    assert publisher.asked == 2


def test_an_issuer_that_is_away_keeps_nobody_out_whose_key_is_known(publisher: Publisher) -> None:
    """And lets nobody in."""
    publisher.fails = True
    assert not publisher.knows(token())
    publisher.passed_s += LEAST_S
    publisher.fails = False
    assert publisher.knows(token())
    publisher.fails = True
    publisher.passed_s += 10 * KEPT_S
    assert publisher.knows(token())
    assert not publisher.knows(token(by="new"))


def test_a_key_that_is_no_longer_published_is_good_no_more(publisher: Publisher) -> None:
    """As soon as the keys are fetched again."""
    assert publisher.knows(token())
    publisher.entries[:] = [published("new")]
    publisher.passed_s += KEPT_S
    assert not publisher.knows(token())


@pytest.mark.parametrize(
    "wrong",
    [b"", b"{", b"[]", b"null", b'{"keys": 1}', b'{"keys": [1, null, {}, {"kty": "RSA"}]}', b" " * (MOST_BYTES + 1)],
)
def test_what_is_no_document_of_keys_lets_nobody_in(wrong: bytes) -> None:
    """Nor does one that is too large."""
    assert JwtAuth([Issuer(name=ISS, audience=AUD, fetch=lambda: wrong)]).principal(token()) is None


@pytest.mark.parametrize("algorithms", [["HS256"], ["none"], [], ["RS256", "HS512"], ["rs256"]])
def test_an_issuer_has_algorithms_with_a_public_key(algorithms: list[str]) -> None:
    """With a shared secret, each server that checks tokens could make them."""
    with pytest.raises(ValueError, match="RS256"):
        Issuer(name=ISS, audience=AUD, fetch=bytes, algorithms=algorithms)


# ── By settings ──────────────────────────────────────────────────────────────────────────────────────────


class Keys(BaseHTTPRequestHandler):
    """An issuer's server: at /moved it sends elsewhere."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/jwks")
        self.end_headers()
        self.wfile.write(document(published("rsa")))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def node_of(**settings: str) -> Node:
    given = {"auth": "jwt", "jwt_issuer": ISS, "jwt_audience": AUD, "database_url": "sqlite:///unused.db", **settings}
    return Node(Settings.load(given, {}))


def known(node: Node) -> bool:
    assert node.authenticate is not None
    with Flask("x").test_request_context(headers={"Authorization": f"Bearer {token()}"}):
        return node.authenticate(request) is not None


def test_settings_name_the_issuer(tmp_path: Path) -> None:
    """Its keys come over HTTP, or from a file; a redirect is not followed."""
    (tmp_path / "jwks.json").write_bytes(document(published("rsa")))
    assert known(node_of(jwt_jwks=f"file://{tmp_path}/jwks.json"))
    server = HTTPServer(("127.0.0.1", 0), Keys)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        assert known(node_of(jwt_jwks=f"{base}/jwks"))
        assert not known(node_of(jwt_jwks=f"{base}/moved"))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"jwt_jwks": ""}, "SAGA_ES_JWT_JWKS"),
        ({"jwt_jwks": "http://id.example/jwks"}, "https://"),
        ({"jwt_jwks": "ftp://id.example/jwks"}, "https://"),
        ({"jwt_issuer": ""}, "SAGA_ES_JWT_ISSUER"),
        ({"jwt_audience": ""}, "SAGA_ES_JWT_AUDIENCE"),
        ({"jwt_algorithms": "HS256"}, "SAGA_ES_JWT_ALGORITHMS"),
    ],
)
def test_settings_that_are_wrong_are_named(wrong: dict[str, str], named: str) -> None:
    """When the process starts, and not when the first token comes."""
    with pytest.raises(SettingsError, match=named):
        node_of(**{"jwt_jwks": "https://id.example/jwks", **wrong})
