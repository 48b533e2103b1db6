"""What looks like a secret is masked in errors and log lines; what people need to read is left as it is."""

from __future__ import annotations

import logging
from io import StringIO

import pytest

from saga_es.errors import StepUnavailable
from saga_es.logs import logger
from saga_es.logs.secrets import SECRET_HEADERS, harmless, masked
from saga_es.runtime.calls.outcomes import ERROR_LIMIT, text

SECRET = "hunter2SECRET"

WITH_SECRETS = [
    f"postgresql://ada:{SECRET}@db:5432/shop",
    f"cannot reach postgresql+psycopg://ada:{SECRET}@db/shop?connect_timeout=5",
    f"https://{SECRET}@hooks.example/x",
    f"https://:{SECRET}@hooks.example/x",
    f"amqp://guest:{SECRET}@mq:5672/%2F",
    f"redis://:{SECRET}@cache:6379/0",
    f"('Connection aborted', nats://u:{SECRET}@n1:4222)",
    f"mongodb+srv://u:a/b{SECRET}@cluster/x",
    f"http://u:{SECRET}@[::1]:80/",
    f'url="https://u:{SECRET}@host/"',
    f"HTTPConnectionPool(host='bank', port=80): Max retries exceeded with url: /pay?token={SECRET}&amount=3",
    f"https://hooks.example/x?access_token={SECRET}",
    f"https://hooks.example/x?a=1&api_key={SECRET}#top",
    f"https://blob.example/x?sv=2024&sig={SECRET}",
    f"https://s3.example/x?X-Amz-Signature={SECRET}&X-Amz-Date=1",
    f"client_secret={SECRET}&grant_type=client_credentials",
    f"password={SECRET}",
    f"PGPASSWORD={SECRET} psql",
    f'secret="two words {SECRET}"',
    f"SAGA_ES_WEBHOOK_SECRET=whsec_{SECRET}",
    f'{{"password": "{SECRET}"}}',
    f"{{'api_key': '{SECRET}', 'user': 'ada'}}",
    f'{{"refresh_token" : "a\\"b{SECRET}"}}',
    f"{{'Authorization': 'Bearer {SECRET}'}}",
    f"Authorization: Bearer {SECRET}",
    f"authorization: Basic YWRhOmh1bnRlcjI={SECRET}",
    f"Proxy-Authorization: Digest username=ada, response={SECRET}",
    f"Cookie: session={SECRET}; theme=dark",
    f"Set-Cookie: sid={SECRET}; HttpOnly",
    f"X-Api-Key: {SECRET}",
    f"X-Auth-Token: {SECRET}\r\nAccept: */*",
    f"the server said: bearer {SECRET} is not valid",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{SECRET}In0.{SECRET}",
    f"key sgk_{SECRET}abcdefgh was revoked",
    f"whsec_{SECRET}abcdefgh",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}",
]

PLAIN = [
    "the bank is closed",
    "HTTP 409: authorization: declined, insufficient funds",
    "HTTP 422: password: must have at least eight characters",
    "token expected, found ';'",
    "https://bank.example:8443/accounts/7?page=2",
    "see https://medium.example/@ada/post and http://127.0.0.1:5000/@x",
    "ada@example.org has no account",
    "KeyError: 'token'",
    "the cookie is missing",
    "Basic authentication is needed",
    "idempotency key order-7 was used before",
    "{'password': None, 'tokens': 3}",
    "x == y, token == 3",
    "sqlite:///a@b.db",
    "signature: wrong",
    "",
]


@pytest.mark.parametrize("words", WITH_SECRETS)
def test_what_looks_like_a_secret_is_masked(words: str) -> None:
    """Wherever a library puts it. What is masked stays as it is."""
    shown = masked(words)
    assert SECRET not in shown
    assert "***" in shown
    assert masked(shown) == shown


@pytest.mark.parametrize("words", PLAIN)
def test_what_people_need_to_read_is_left_as_it_is(words: str) -> None:
    """An error that says nothing any more helps nobody."""
    assert masked(words) == words


@pytest.mark.parametrize("words", WITH_SECRETS)
def test_an_error_is_recorded_without_secrets(words: str) -> None:
    """It stays in the log for ever; also where it is so long that it is cut."""
    assert SECRET not in text(StepUnavailable(words))
    for before in (ERROR_LIMIT - 30, ERROR_LIMIT - len(words) // 2, 9 * ERROR_LIMIT):
        assert SECRET not in text(RuntimeError(f"{'.' * before} {words}"))


@pytest.mark.parametrize("words", WITH_SECRETS)
def test_a_line_for_operators_has_no_secrets(words: str) -> None:
    """Also where the host's own handler formats it."""
    written = StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger("saga_es").addHandler(handler)
    try:
        logger.warning("something failed", reason=words, number=3)
    finally:
        logging.getLogger("saga_es").removeHandler(handler)
    assert "number=3" in written.getvalue()
    assert SECRET not in written.getvalue()


def test_headers_that_hold_secrets_are_not_kept() -> None:
    """Of an answer, whatever their case."""
    answered = [(name.upper(), SECRET) for name in sorted(SECRET_HEADERS)] + [("Retry-After", "3"), ("Location", "/x")]
    assert harmless(answered) == {"retry-after": "3", "location": "/x"}


@pytest.mark.parametrize(
    "part", ["a-", "a.", "a://b:", "cookie: ", "token", "eyJ-", "eyJ", "Bearer ", '"password": "', "://@"]
)
def test_a_text_that_was_made_to_take_long_does_not(part: str) -> None:
    """A participant writes it: every repetition in the patterns is bounded."""
    words = part * (50_000 // len(part))
    assert len(masked(words)) <= 2 * len(words)
