"""Tokens: one that is right names its principal; of those that are wrong in some way, none says how."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from flask import Flask, request

from saga_es import App
from saga_es.access import Principal, jwks
from saga_es.access.jwks import KEPT_S, LEAST_S, MOST_BYTES
from saga_es.access.jwt_auth import LEEWAY_S, LONGEST, Issuer, JwtAuth
from saga_es.errors import SettingsError
from saga_es.node.node import Node
from saga_es.node.settings import Settings

ISS, AUD = "https://id.example", "sagas"
Claims = dict[str, Any]


@cache
def key(name: str) -> Any:
    """A private key, made once."""
    if name.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate() if name.startswith("ed") else rsa.generate_private_key(65537, 2048)


def published(name: str, **more: Any) -> dict[str, Any]:
    """The public key as its issuer publishes it."""
    algorithm: Any = {"ec": jwt.algorithms.ECAlgorithm, "ed": jwt.algorithms.OKPAlgorithm}.get(
        name[:2], jwt.algorithms.RSAAlgorithm
    )
    return {**json.loads(algorithm.to_jwk(key(name).public_key())), "kid": name, "use": "sig", **more}


def document(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


def claims(**changes: Any) -> Claims:
    now = int(time.time())
    right = {
        "iss": ISS,
        "aud": AUD,
        "sub": "ann",
        "exp": now + 300,
        "nbf": now - 5,
        "iat": now - 5,
        "roles": ["operator"],
    }
    return {name: value for name, value in {**right, **changes}.items() if value is not ...}


def token(alg: str = "RS256", by: str = "rsa", header: Claims | None = None, **changes: Any) -> str:
    head = {"typ": "at+jwt", "kid": by, **(header or {})}
    secret: Any = "s" * 64 if alg.startswith("HS") else None if alg == "none" else key(by)
    return jwt.encode(claims(**changes), secret, alg, {name: value for name, value in head.items() if value is not ...})


def raw(header: Any, body: Any, signature: bytes | None = None) -> str:
    """Three parts as they are given; by default they are signed as they should be."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, body)]
    unsigned = ".".join(map(in_base64, parts))
    signed = key("rsa").sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256()) if signature is None else signature
    return f"{unsigned}.{in_base64(signed)}"


def in_base64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def auth() -> JwtAuth:
    """Trusts one issuer, with RS256 and a key of each kind; and another with ES256."""
    keys = [published("rsa"), published("ec"), published("ed"), published("old", alg="RS512")]
    keys += [published("enc", use="enc"), {"kty": "oct", "kid": "oct", "k": base64.b64encode(b"s" * 64).decode()}]
    return JwtAuth(
        [
            Issuer(name=ISS, audience=AUD, fetch=lambda: document(*keys)),
            Issuer(name=ISS + "/2", audience=AUD, fetch=lambda: document(published("ec")), algorithms=["ES256"]),
        ]
    )


def test_a_token_names_its_principal(auth: JwtAuth) -> None:
    """With its roles, definitions and tenant; roles that are none here count for nothing."""
    assert auth.principal(token()) == Principal("ann", ["operator"], via="jwt")
    more = token(roles=["viewer", "head of sales"], tenant="one", sagas=["order"])
    assert auth.principal(more) == Principal("ann", ["viewer"], ["order"], "one", via="jwt")
    assert auth.principal(token(roles=...)) == Principal("ann", via="jwt")
    assert auth.principal(token(aud=["other", AUD])) == Principal("ann", ["operator"], via="jwt")
    assert auth.principal(token(header={"typ": "application/AT+JWT"})) == Principal("ann", ["operator"], via="jwt")
    assert auth.principal(token("ES256", "ec", iss=ISS + "/2")) == Principal("ann", ["operator"], via="jwt")


def signed_by_public_key() -> str:
    """The classic: HS256 with the public key as the secret."""
    public = key("rsa").public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    unsigned = raw({"typ": "JWT", "alg": "HS256", "kid": "rsa"}, claims()).rpartition(".")[0]
    return (
        unsigned + "." + base64.urlsafe_b64encode(hmac.digest(pem, unsigned.encode(), "sha256")).rstrip(b"=").decode()
    )


def changed(text: str, part: int, by: Callable[[str], str]) -> str:
    parts = text.split(".")
    parts[part] = by(parts[part])
    return ".".join(parts)


def now() -> int:
    return int(time.time())


ROTTEN: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "one part": lambda: "abc",
    "two parts": lambda: token().rpartition(".")[0],
    "four parts": lambda: token() + ".abc",
    "five parts, encrypted": lambda: token() + ".abc.def",
    "dots": lambda: "..",
    "no base64": lambda: "a.b.c",
    "no JSON": lambda: raw(b"{", claims()),
    "a header that is a list": lambda: raw([], claims()),
    "a header that is null": lambda: raw(None, claims()),
    "claims that are a list": lambda: raw({"typ": "JWT", "alg": "RS256", "kid": "rsa"}, []),
    "claims that are no JSON": lambda: raw({"typ": "JWT", "alg": "RS256", "kid": "rsa"}, b"{"),
    "deep claims": lambda: raw({"typ": "JWT", "alg": "RS256", "kid": "rsa"}, b"[" * 5000),
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "another signature": lambda: changed(token(), 2, lambda _: token(sub="bob").split(".")[2]),
    "a signature cut short": lambda: token()[:-8],
    "changed claims": lambda: changed(token(), 1, lambda _: raw({}, claims(sub="root")).split(".")[1]),
    "a changed header": lambda: changed(
        token(), 0, lambda _: raw({"typ": "JWT", "alg": "RS256", "kid": "rsa", "x": 1}, {}).split(".")[0]
    ),
    "alg none": lambda: raw({"typ": "JWT", "alg": "none", "kid": "rsa"}, claims(), b""),
    "alg None": lambda: raw({"typ": "JWT", "alg": "None", "kid": "rsa"}, claims(), b""),
    "alg nOnE": lambda: raw({"typ": "JWT", "alg": "nOnE", "kid": "rsa"}, claims(), b""),
    "no alg": lambda: raw({"typ": "JWT", "kid": "rsa"}, claims()),
    "alg that is a number": lambda: raw({"typ": "JWT", "alg": 1, "kid": "rsa"}, claims()),
    "a shared secret": lambda: token("HS256", header={"kid": "rsa"}),
    "a shared secret that is published": lambda: token("HS256", header={"kid": "oct"}),
    "the public key as a shared secret": signed_by_public_key,
    "an algorithm that is not pinned": lambda: token("RS512"),
    "another algorithm of the same key": lambda: token("PS256"),
    "another kind of key": lambda: token("ES256", "ec"),
    "EdDSA": lambda: token("EdDSA", "ed"),
    "the algorithm of another issuer": lambda: token(iss=ISS + "/2"),
    "the key of another issuer": lambda: token("ES256", "ec", iss=ISS),
    "a key for another algorithm": lambda: token(by="old"),
    "a key for encryption": lambda: token(by="enc"),
    "no kid": lambda: token(header={"kid": ...}),
    "an unknown kid": lambda: token(header={"kid": "unknown"}),
    "an empty kid": lambda: token(header={"kid": ""}),
    "another kid": lambda: token(header={"kid": "old"}),
    "a kid that is a path": lambda: token(header={"kid": "../../dev/null"}),
    "a kid that is SQL": lambda: token(header={"kid": "x' UNION SELECT 'y"}),
    "a kid that is a number": lambda: raw({"typ": "JWT", "alg": "RS256", "kid": 1}, claims()),
    "a key that it brings": lambda: token(by="stranger", header={"kid": "rsa", "jwk": published("stranger")}),
    "a key elsewhere": lambda: token(by="stranger", header={"kid": "rsa", "jku": "https://evil.example/jwks"}),
    "a certificate elsewhere": lambda: token(by="stranger", header={"kid": "stranger", "x5u": "https://evil.example"}),
    "crit": lambda: token(header={"crit": ["exp"], "exp": 1}),
    "crit b64": lambda: token(header={"crit": ["b64"], "b64": True}),
    "no typ": lambda: token(header={"typ": ""}),
    "an id token's typ": lambda: token(header={"typ": "id+jwt"}),
    "a logout token": lambda: token(header={"typ": "logout+jwt"}),
    "a typ that is a number": lambda: raw({"typ": 1, "alg": "RS256", "kid": "rsa"}, claims()),
    "expired": lambda: token(exp=now() - LEEWAY_S - 1),
    "expired for years": lambda: token(exp=1),
    "no exp": lambda: token(exp=...),
    "exp that is a text": lambda: token(exp="soon"),
    "exp that is null": lambda: token(exp=None),
    "exp without an end": lambda: raw({"typ": "JWT", "alg": "RS256", "kid": "rsa"}, b'{"exp": 1e999}'),
    "not yet": lambda: token(nbf=now() + LEEWAY_S + 60),
    "no nbf": lambda: token(nbf=...),
    "nbf that is a list": lambda: token(nbf=[1]),
    "made in the future": lambda: token(iat=now() + LEEWAY_S + 60),
    "no iss": lambda: token(iss=...),
    "another iss": lambda: token(iss="https://evil.example"),
    "iss with a slash": lambda: token(iss=ISS + "/"),
    "iss in capitals": lambda: token(iss=ISS.upper()),
    "iss that is a list": lambda: raw({"typ": "JWT", "alg": "RS256", "kid": "rsa"}, claims(iss=[ISS])),
    "no aud": lambda: token(aud=...),
    "another aud": lambda: token(aud="shop"),
    "no aud of several": lambda: token(aud=["a", "b"]),
    "an empty aud": lambda: token(aud=[]),
    "a part of aud": lambda: token(aud=AUD[:-1]),
    "no sub": lambda: token(sub=...),
    "an empty sub": lambda: token(sub=""),
    "sub of the command line": lambda: token(sub="cli:root@host"),
    "sub with a new line": lambda: token(sub="a\nb"),
    "sub that is long": lambda: token(sub="x" * 201),
    "sub that is a number": lambda: raw({"typ": "JWT", "alg": "RS256", "kid": "rsa"}, claims(sub=7)),
    "roles that are a text": lambda: token(roles="operator"),
    "roles that are numbers": lambda: token(roles=[1]),
    "sagas that are a text": lambda: token(sagas="order"),
    "a tenant that is a list": lambda: token(tenant=["one"]),
    "too long": lambda: token(filling="x" * LONGEST),
}


def test_there_are_sixty_and_more() -> None:
    """Each is wrong in a way of its own."""
    assert len(ROTTEN) >= 60
    assert len({made() for made in ROTTEN.values()}) == len(ROTTEN)


@pytest.mark.parametrize("name", ROTTEN)
def test_a_bad_token_is_nobody(auth: JwtAuth, name: str) -> None:
    """As one that is not there: the function says None, and no more."""
    with Flask("x").test_request_context(headers={"Authorization": f"Bearer {ROTTEN[name]()}"}):
        assert auth(request) is None


def test_all_bad_tokens_have_one_answer(auth: JwtAuth, tmp_path: Path) -> None:
    """Over HTTP: 401, and one body; the right one is answered."""
    from saga_es.api import create_flask_app  # noqa: PLC0415 (this test alone needs the API)

    node = Node(Settings.load({"database_url": f"sqlite:///{tmp_path}/saga.db"}, {}), App(auth=auth))
    node.open()
    try:
        client = create_flask_app(node).test_client()

        def answer(text: str) -> tuple[int, bytes, str | None]:
            found = client.get("/api/saga/list", headers={"Authorization": f"Bearer {text}"})
            return found.status_code, found.data, found.headers.get("WWW-Authenticate")

        answers = {answer(made()) for made in ROTTEN.values()}
        answers.add(answer("x" * 10))
        assert len(answers) == 1
        assert next(iter(answers))[0] == 401
        assert answer(token())[0] == 200
    finally:
        node.close()


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
