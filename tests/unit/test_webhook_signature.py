"""What a webhook sends is signed as Standard Webhooks says."""

from __future__ import annotations

import base64

import pytest

from saga_es.publish.webhook import Webhook, key_of, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of standardwebhooks.com: an id, a time and a body, signed with a secret."""
    body = b'{"test": 2432232314}'
    signed = signature(key_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hunter2",
        "whsec_",
        "whsec_###",
        SECRET.removeprefix("whsec_"),
        f"whsec_{base64.b64encode(b'x' * 23).decode()}",
    ],
)
def test_what_is_no_secret_is_refused_with_the_way_to_make_one(secret: str) -> None:
    """Without showing it."""
    with pytest.raises(ValueError, match="openssl rand -base64 32") as error:
        key_of(secret)
    assert "hunter2" not in str(error.value)


def test_the_name_of_a_webhook_tells_nothing_of_its_path() -> None:
    """A path or a query may hold a token; two hooks of one host have two names."""
    one, other = (Webhook(f"https://hooks.example.org/{token}?key={token}", SECRET) for token in ("T0KEN1", "T0KEN2"))
    assert one.name != other.name
    assert one.name.startswith("webhook hooks.example.org-")
    assert "T0KEN" not in one.name
    assert len(Webhook(f"https://{'h' * 63}.example.org/", SECRET).name) <= 54
