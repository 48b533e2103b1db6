"""Signals by webhook: a server that signs by Standard Webhooks is known by its secret, and may do nothing else."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from saga_es import App
from saga_es.errors import SettingsError
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.publish.webhook import key_of, signature
from tests.api.conftest import OpenNode, Served
from tests.support.journeys_served import app_of, begin, journey

OURS, OLD, OTHER = (f"whsec_{b64encode(letter * 32).decode()}" for letter in (b"a", b"b", b"c"))
BODY = b'{"paid": true}'


@pytest.fixture
def served(open_node: OpenNode, tmp_path: Path) -> Served:
    """A node that knows two senders, one of them with two secrets."""
    (tmp_path / "secret").write_text(OURS)
    senders = f"psp=file:{tmp_path}/secret psp={OLD} bank={OTHER}"
    return open_node(app_of(journey()), auth="keys webhooks", webhook_senders=senders)


def headers_of(
    secret: str = OURS, message_id: str = "msg_1", away_s: int = 0, body: bytes = BODY, **changes: str
) -> dict[str, str]:
    now_s = int(time.time()) + away_s
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": signature(key_of(secret), message_id, now_s, body),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }


def send(served: Served, saga_id: str, headers: dict[str, str], body: bytes = BODY) -> TestResponse:
    return served.client.post(f"/api/saga/{saga_id}/signals/approval", data=body, headers=headers)


def signals(served: Served, saga_id: str) -> list[Any]:
    """The signals in the log."""
    events = [recorded.event for recorded in served.node.engine.read(saga_id)]
    return [event for event in events if type(event).__name__ == "SignalReceived"]


def test_a_signed_message_is_a_signal_once(served: Served) -> None:
    """Its id is the key of the signal; with another body it is refused; the log names the sender."""
    saga_id = begin(served)
    for _ in range(3):
        assert send(served, saga_id, headers_of()).status_code == 202
    other = b'{"paid": false}'
    assert send(served, saga_id, headers_of(body=other), other).status_code == 422
    (signal,) = signals(served, saga_id)
    assert (signal.payload, signal.actor, signal.key) == ({"paid": True}, "webhook:psp", "msg_1")


def test_a_secret_can_be_exchanged(served: Served) -> None:
    """By a sender that signs with both, or by one that still has the old."""
    now = headers_of()
    also = signature(key_of(OTHER), "msg_1", int(now["webhook-timestamp"]), BODY)
    both = now | {"webhook-signature": f"v1,AAAA {also} {now['webhook-signature']} v1a,unknown"}
    for headers, actor in ((headers_of(OLD), "psp"), (both, "psp"), (headers_of(OTHER), "bank")):
        saga_id = begin(served)
        assert send(served, saga_id, headers).status_code == 202
        assert [signal.actor for signal in signals(served, saga_id)] == [f"webhook:{actor}"]


BAD: dict[str, Callable[[], dict[str, str]]] = {
    "no signature": lambda: headers_of(webhook_signature=""),
    "of another secret": lambda: headers_of(f"whsec_{b64encode(b'd' * 32).decode()}"),
    "of another body": lambda: headers_of(body=b"{}"),
    "of another id": lambda: headers_of(webhook_id="msg_2"),
    "of another time": lambda: headers_of(webhook_timestamp=str(int(time.time()) - 7)),
    "too old": lambda: headers_of(away_s=-400),
    "too new": lambda: headers_of(away_s=400),
    "a time that is none": lambda: headers_of(webhook_timestamp="now"),
    "a time of other digits": lambda: headers_of(webhook_timestamp="١٦١٤٢٦٥٣٣٠".encode().decode("latin-1")),
    "a time that is negative": lambda: headers_of(webhook_timestamp="-1"),
    "a time beyond all numbers": lambda: headers_of(webhook_timestamp="9" * 9000),
    "no id": lambda: headers_of(webhook_id=""),
    "an id that is too long": lambda: headers_of(message_id="x" * 256),
    "a version that is not known": lambda: headers_of(
        webhook_signature=headers_of()["webhook-signature"].replace("v1,", "v2,")
    ),
    "a signature that is cut": lambda: headers_of(webhook_signature=headers_of()["webhook-signature"][:-4]),
    "a signature that is no base64": lambda: headers_of(webhook_signature="v1,\xe4"),
    "the eleventh signature": lambda: headers_of(
        webhook_signature=" ".join(["v1,AAAA"] * 10 + [headers_of()["webhook-signature"]])
    ),
}


def test_bad_messages_have_one_answer(served: Served) -> None:
    """401, as every request without credentials; nothing is in the log."""
    saga_id = begin(served)
    stranger = served.client.post(f"/api/saga/{saga_id}/signals/approval", json={})
    answers = {name: send(served, saga_id, made()) for name, made in BAD.items()}
    assert {name: (answer.status_code, answer.data) for name, answer in answers.items()} == dict.fromkeys(
        BAD, (401, stranger.data)
    )
    assert signals(served, saga_id) == []


def test_a_sender_may_do_nothing_else(served: Served) -> None:
    """Neither read, nor start, nor command; an id that it does not know is absent."""
    saga_id = begin(served)
    for method, path in (
        ("GET", f"/api/saga/status/{saga_id}"),
        ("GET", "/api/saga/list"),
        ("POST", f"/api/saga/{saga_id}/cancel"),
        ("GET", "/metrics"),
    ):
        answer = served.client.open(path, method=method, data=BODY, headers=headers_of())
        assert answer.status_code == 403, path
    unknown = "00000000-0000-4000-8000-000000000000"
    assert send(served, unknown, headers_of()).status_code == 404


def test_a_secret_that_is_away_lets_nobody_in(served: Served, tmp_path: Path) -> None:
    """The others go on."""
    saga_id = begin(served)
    (tmp_path / "secret").unlink()
    assert send(served, saga_id, headers_of()).status_code == 401
    assert send(served, saga_id, headers_of(OTHER)).status_code == 202


@pytest.mark.parametrize(
    "senders", ["", "psp", f"psp={OURS[:20]}", "psp=env:SAGA_TEST_NOT_SET", f"={OURS}", "psp=file:/no/such/file"]
)
def test_senders_are_checked_at_the_start(senders: str) -> None:
    """With the way to write them, and without a secret."""
    settings = Settings.load(
        {"auth": "webhooks", "webhook_senders": senders, "database_url": "sqlite:///unused.db"}, {}
    )
    with pytest.raises(SettingsError, match="SAGA_ES_WEBHOOK_SENDERS: ") as caught:
        Node(settings, App())
    assert "env:NAME or file:/path" in str(caught.value)
    assert OURS[:20] not in str(caught.value)
