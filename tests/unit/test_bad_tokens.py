"""Tokens: one that is right names its principal; of those that are wrong in some way, none says how."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from flask import Flask, request

from saga_es import App
from saga_es.access import Principal
from saga_es.access.jwt_auth import LEEWAY_S, LONGEST, Issuer, JwtAuth
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from tests.support.tokens import AUD, ISS, claims, document, key, published, raw, token


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
