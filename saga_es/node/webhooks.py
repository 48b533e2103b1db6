"""Webhooks that come in: a server that signs by Standard Webhooks (standardwebhooks.com, 1.0.0) may send signals."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from saga_es.access.principal import Principal, Role
from saga_es.errors import SettingsError
from saga_es.logs import logger
from saga_es.node.settings import Settings
from saga_es.publish.webhook import key_of, signature
from saga_es.runtime.calls.sources import NoCredentials, text_of
from saga_es.store.host_time import host_now

if TYPE_CHECKING:
    from flask import Request  # an engine without an application does not load it

VIA = "webhook"
ID = "webhook-id"
WINDOW_S = 300
"""How many seconds the time of a message may be away from ours, before or after."""

LONGEST_ID = 255
MOST_SIGNATURES = 10
"""Signatures of one message that are looked at: a sender that changes its secret sends two."""

_FORM = "write `NAME=SECRET`, separated by blanks, where env:NAME or file:/path may stand for the secret"


class WebhookAuth:
    """Recognises senders by the signatures of their messages. Their secrets are read for each.

    Args:
        senders: Names and the sources of their secrets; a name with two secrets stands there twice.
    """

    def __init__(self, senders: list[tuple[str, str]]) -> None:
        self._senders = senders

    def __call__(self, request: Request) -> Principal | None:
        """Who sent a message; None: it is none, or its signature is bad."""
        headers = request.headers
        message_id, time, given = (headers.get(name, "") for name in (ID, "webhook-timestamp", "webhook-signature"))
        if not given or not 0 < len(message_id) <= LONGEST_ID or not message_id.isprintable():
            return None
        if not (time.isascii() and time.isdigit() and abs(host_now().timestamp() - int(time[:20])) <= WINDOW_S):
            return None
        signatures = given.split()[:MOST_SIGNATURES]
        body = request.get_data()
        return next(
            (
                Principal(f"{VIA}:{name}", [Role.SENDER], via=VIA)
                for name, source in self._senders
                if _is_signed(name, source, message_id, int(time), body, signatures)
            ),
            None,
        )


def webhooks_of(settings: Settings) -> WebhookAuth:
    """The authentication by signed webhooks.

    Raises:
        SettingsError: No sender is named, or a secret cannot be used.
    """
    named = [(name, source) for name, _, source in (word.partition("=") for word in settings.webhook_senders.split())]
    problems = [] if named else [f"SAGA_ES_AUTH=webhooks needs it; {_FORM}"]
    for name, source in named:
        try:
            if not name:
                raise ValueError("a sender has a name")  # noqa: TRY301 (named beside the others)
            Principal(f"{VIA}:{name}")
            _key(source)
        except (NoCredentials, ValueError) as error:
            problems.append(f"{name!a:.40}: {error}; {_FORM}" if source else _FORM)
    if problems:
        raise SettingsError([f"SAGA_ES_WEBHOOK_SENDERS: {problem}" for problem in problems])
    return WebhookAuth(named)


def _key(source: str) -> bytes:
    return key_of(text_of(source))


def _is_signed(name: str, source: str, message_id: str, timestamp_s: int, body: bytes, given: list[str]) -> bool:
    try:
        right = signature(_key(source), message_id, timestamp_s, body).encode()
    except (NoCredentials, ValueError) as error:
        logger.warning("a webhook cannot be verified", sender=name, why=str(error))
        return False
    return any(hmac.compare_digest(right, one.encode()) for one in given)
