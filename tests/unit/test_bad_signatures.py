"""Signatures of calls: a participant takes those of its callers, and answers every other in one way."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha512
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from flask import Flask, jsonify
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms
from werkzeug.test import Client, EnvironBuilder

from saga_es.participant import verified, verified_caller
from saga_es.runtime.calls.signing import COVERED, LABEL, TAG, Message, signed

PRIVATE = Ed25519PrivateKey.from_private_bytes(sha256(b"shop").digest())
STRANGERS = Ed25519PrivateKey.from_private_bytes(sha256(b"stranger").digest())
SECRET = b64encode(sha256(b"secret").digest()).decode()
URL = "http://bank.example/v1/pays/7%20b?at=now&x=1"
BODY = b'{"amount": 7}'
HEADERS = {"Content-Type": "application/json", "Idempotency-Key": "k-1", "X-Saga-Id": "s-1", "X-Saga-Step": "pay"}


def private_pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


SIGNS = {"ed25519": f"ed25519 shop-1 {private_pem(PRIVATE)}", "hmac": f"hmac-sha256 shop-2 {SECRET}"}
KEYS = {"shop-1": f"ed25519 {public_pem(PRIVATE)}", "shop-2": f"hmac-sha256 {SECRET}"}


def bank(**more: Any) -> Flask:
    """A participant that says who called."""
    app = Flask(__name__)

    @app.route("/v1/pays/<path:name>", methods=["GET", "POST", "DELETE"])
    def pays(name: str) -> Any:
        return jsonify(caller=verified_caller(), name=name)

    return verified(app, KEYS, **more)


Sent = tuple[str, str, dict[str, str], bytes]


def good(sign: str = SIGNS["ed25519"], **changes: Any) -> Sent:
    """A call as a saga signs it."""
    method, url, body = changes.get("method", "POST"), changes.get("url", URL), changes.get("body", BODY)
    headers = signed(sign, method, url, changes.get("headers", HEADERS), body, changes.get("now"))
    return method, url, headers, body


def answer_to(app: Any, sent: Sent) -> Any:
    method, url, headers, body = sent
    base, _, path = url.partition("/v1")
    builder = EnvironBuilder(f"/v1{path}", base, method=method, headers=list(headers.items()), data=body)
    return Client(app).open(builder)


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_a_signed_call_is_let_in(sign: str) -> None:
    """By either algorithm, to a Flask application and to any of WSGI; the caller is the id of the key."""
    plain = bank()
    for app in (plain, verified(bank(required=False).wsgi_app, KEYS)):
        answer = answer_to(app, good(sign))
        assert (answer.status_code, answer.json["name"]) == (200, "7 b")
        assert answer.json["caller"] == sign.split()[1]
    assert answer_to(plain, good(sign, method="GET", body=b"")).status_code == 200


@pytest.mark.parametrize("away_s", [-240, 240])
def test_clocks_may_differ_by_minutes(away_s: int) -> None:
    """A saga whose clock is wrong is not refused for good because of it."""
    assert answer_to(bank(), good(now=datetime.now(UTC) + timedelta(seconds=away_s))).status_code == 200


# ── What is wrong with them ──────────────────────────────────────────────────────────────────────────────


def changed(**headers: str | None) -> Callable[[], Sent]:
    """A good call whose headers were changed afterwards; None: taken away."""

    def made() -> Sent:
        method, url, given, body = good()
        for name, value in headers.items():
            header = next((had for had in given if had.lower() == name.replace("_", "-")), name.replace("_", "-"))
            if value is None:
                given.pop(header)
            else:
                given[header] = value
        return method, url, given, body

    return made


def put(*, method: str = "POST", url: str = URL, body: bytes = BODY) -> Callable[[], Sent]:
    """A good call that was sent elsewhere, or with another body."""
    return lambda: (method, url, good()[2], body)


def rewritten(header: str, pattern: str, by: str) -> Callable[[], Sent]:
    """A good call in whose signature something was replaced."""

    def made() -> Sent:
        method, url, headers, body = good()
        new, count = re.subn(pattern, lambda _: by, headers[header], count=1)
        assert count == 1, headers[header]
        return method, url, {**headers, header: new}, body

    return made


def later() -> Sent:
    """A good call that says that it was signed some seconds later."""
    method, url, headers, body = good()
    said = re.sub(r"created=(\d+)", lambda found: f"created={int(found[1]) + 7}", headers["Signature-Input"])
    return method, url, {**headers, "Signature-Input": said}, body


def by_hand(
    covered: tuple[str, ...] = COVERED,
    key: Any = PRIVATE,
    algorithm: Any = algorithms.ED25519,
    key_id: str = "shop-1",
    **how: Any,
) -> Callable[[], Sent]:
    """A call that somebody else signed, otherwise than a saga does."""

    def made() -> Sent:
        message = Message("POST", URL, HEADERS)
        resolver = MappingKeyResolver(public_keys={}, private_keys={key_id: key})
        signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=resolver)
        given = {"tag": TAG, "label": LABEL, "created": datetime.now(UTC), **how}
        body = given.pop("body", BODY)
        signer.sign(message, key_id=key_id, covered_component_ids=covered, body=body, **given)
        return "POST", URL, message.headers, BODY

    return made


def without(name: str) -> tuple[str, ...]:
    return tuple(one for one in COVERED if one != name)


def cut(by: int) -> Callable[[], Sent]:
    """A signature of another length."""

    def made() -> Sent:
        method, url, headers, body = good()
        raw = b64decode(headers["Signature"].split(":")[1])
        raw = raw[:by] if by < 0 else raw + b"\0" * by
        return method, url, {**headers, "Signature": f"{LABEL}=:{b64encode(raw).decode()}:"}, body

    return made


def digest(of: bytes, algorithm: str = "sha-256") -> str:
    raw = (sha512 if algorithm == "sha-512" else sha256)(of).digest()
    return f"{algorithm}=:{b64encode(raw).decode()}:"


ZEROS = b64encode(bytes(64)).decode()
BAD: dict[str, Callable[[], Sent]] = {
    "no signature at all": lambda: ("POST", URL, dict(HEADERS), BODY),
    "no Signature": changed(signature=None),
    "no Signature-Input": changed(signature_input=None),
    "an empty Signature": changed(signature=""),
    "an empty Signature-Input": changed(signature_input=""),
    "no digest": changed(content_digest=None),
    "no key": changed(idempotency_key=None),
    "no id of a saga": changed(x_saga_id=None),
    "no step": changed(x_saga_step=None),
    "another key": changed(idempotency_key="k-2"),
    "the key twice": changed(idempotency_key="k-1, k-1"),
    "another saga": changed(x_saga_id="s-2"),
    "another step": changed(x_saga_step="refund"),
    "another digest": changed(content_digest=digest(b"other")),
    "a digest of the body by an algorithm that was not signed": changed(content_digest=digest(BODY, "sha-512")),
    "another method": put(method="DELETE"),
    "another path": put(url=URL.replace("7%20b", "8")),
    "a longer path": put(url=URL.replace("7%20b", "7%20b/undo")),
    "another query": put(url=URL.replace("x=1", "x=2")),
    "no query": put(url=URL.partition("?")[0]),
    "a query in another order": put(url="http://bank.example/v1/pays/7%20b?x=1&at=now"),
    "another host": put(url=URL.replace("bank.example", "shop.example")),
    "another port": put(url=URL.replace("bank.example", "bank.example:8080")),
    "another scheme": put(url=URL.replace("http:", "https:")),
    "another body": put(body=b'{"amount": 8}'),
    "no body": put(body=b""),
    "a longer body": put(body=BODY + b" "),
    "the signature of another call": lambda: (
        *good()[:2],
        {**good()[2], "Signature": good(url=f"{URL}1")[2]["Signature"]},
        BODY,
    ),
    "a signature of zeros": changed(signature=f"{LABEL}=:{ZEROS}:"),
    "a signature that is cut": cut(-1),
    "a signature with a byte more": cut(1),
    "an empty signature": changed(signature=f"{LABEL}=::"),
    "a signature that is no base64": changed(signature=f"{LABEL}=:***:"),
    "a signature that is a text": changed(signature=f'{LABEL}="{ZEROS}"'),
    "a signature that is a number": changed(signature=f"{LABEL}=7"),
    "a label of the signature alone": rewritten("Signature", "^saga", "sagb"),
    "a label of its input alone": rewritten("Signature-Input", "^saga", "sagb"),
    "what is no dictionary": changed(signature_input='("@method")'),
    "what is no list": changed(signature_input=f"{LABEL}=7"),
    "a thousand lists": changed(signature_input=", ".join(f"a{n}=()" for n in range(300))),
    "text that no header should have": changed(signature_input="\x7f\x80ä"),
    "a list that does not end": rewritten("Signature-Input", r"\)", ""),
    "a label twice": rewritten("Signature-Input", "^saga=", "saga=(), saga="),
    "one component less": rewritten("Signature-Input", '"x-saga-step"', ""),
    "one component more": rewritten("Signature-Input", '"x-saga-step"', '"x-saga-step" "host"'),
    "a component twice": rewritten("Signature-Input", '"x-saga-step"', '"x-saga-step" "x-saga-step"'),
    "a component with a parameter": rewritten("Signature-Input", '"x-saga-step"', '"x-saga-step";sf'),
    "a component in capitals": rewritten("Signature-Input", '"x-saga-step"', '"X-Saga-Step"'),
    "components in another order": rewritten("Signature-Input", '"@method" "@target-uri"', '"@target-uri" "@method"'),
    "another time": later,
    "no time": rewritten("Signature-Input", r";created=\d+", ""),
    "a time that is a text": rewritten("Signature-Input", r"created=\d+", 'created="now"'),
    "a time beyond all calendars": rewritten("Signature-Input", r"created=\d+", "created=999999999999999"),
    "no id of a key": rewritten("Signature-Input", ';keyid="shop-1"', ""),
    "the id of another key": rewritten("Signature-Input", "shop-1", "shop-2"),
    "an id that nobody has": rewritten("Signature-Input", "shop-1", "shop-9"),
    "another algorithm in its words": rewritten("Signature-Input", "ed25519", "hmac-sha256"),
    "another tag": rewritten("Signature-Input", f'tag="{TAG}"', 'tag="other"'),
    "a parameter more": rewritten("Signature-Input", f'tag="{TAG}"', f'tag="{TAG}";more=1'),
    "made too long ago": lambda: good(now=datetime.now(UTC) - timedelta(seconds=400)),
    "made in the future": lambda: good(now=datetime.now(UTC) + timedelta(seconds=400)),
    "made in 1970": by_hand(created=datetime.fromtimestamp(0, UTC)),
    "expired": by_hand(expires=datetime.fromtimestamp(0, UTC)),
    "good for another application": by_hand(tag="webhooks"),
    "without a tag": by_hand(tag=None),
    "by a stranger": by_hand(key=STRANGERS),
    "by a stranger under an id of its own": by_hand(key=STRANGERS, key_id="stranger"),
    "by the public key as a secret": by_hand(key=public_pem(PRIVATE).encode(), algorithm=algorithms.HMAC_SHA256),
    "by another secret": by_hand(key=bytes(32), algorithm=algorithms.HMAC_SHA256, key_id="shop-2"),
    "by the secret under the id of the other key": by_hand(
        key=b64decode(SECRET), algorithm=algorithms.HMAC_SHA256, key_id="shop-1"
    ),
    "that covers no method": by_hand(without("@method")),
    "that covers no target": by_hand(without("@target-uri")),
    "that covers the path alone": by_hand((*without("@target-uri"), "@path")),
    "that covers no digest": by_hand(without("content-digest"), body=None),
    "that covers no key": by_hand(without("idempotency-key")),
    "that covers no id of a saga": by_hand(without("x-saga-id")),
    "that covers no step": by_hand(without("x-saga-step")),
    "that covers nothing": by_hand((), body=None),
    "a digest of another body": by_hand(body=b"other"),
    "a weak digest": changed(content_digest="md5=:mZFLkyvTelC5g8XnyQrpOw==:"),
    "a digest that is none": changed(content_digest="sha-256=7"),
}


def test_there_are_sixty_and_more() -> None:
    """As the issue asks for."""
    assert len(BAD) >= 60


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("required", [True, False])
def test_a_bad_signature_has_one_answer(name: str, *, required: bool) -> None:
    """The same as every other, wherever it is looked at; only a call without any may be a stranger's."""
    sent = BAD[name]()
    if not required and name == "no signature at all":
        assert answer_to(bank(required=False), sent).json == {"caller": None, "name": "7 b"}
        return
    answers = [answer_to(app, sent) for app in (bank(required=required), verified(Flask("x").wsgi_app, KEYS))]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Signature"
        assert answer.json == {
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "this call needs a good signature (RFC 9421) of a known caller",
        }
