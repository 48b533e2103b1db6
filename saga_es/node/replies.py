"""Where participants that took a call tell what it came to: settings, checked before the engine opens."""

from __future__ import annotations

from functools import partial

from saga_es.errors import SettingsError
from saga_es.node.settings import PREFIX, Settings
from saga_es.publish.webhook import SECRET_CURE, key_of
from saga_es.runtime.calls.address import BadAddress, address_of, is_private
from saga_es.runtime.calls.replies import ReplyUrls
from saga_es.runtime.calls.sources import NoCredentials, text_of


def replies_of(settings: Settings) -> ReplyUrls | None:
    """What makes the URLs of replies; None: participants are asked instead.

    Raises:
        SettingsError: The URL or its secret cannot be used.
    """
    url, key = settings.callback_url, partial(_key, settings.callback_secret)
    if not url:
        return None
    problems = []
    try:
        address = address_of(url)
        if not (address.is_tls or is_private(address.host) or settings.insecure_http):
            problems.append(
                f"{PREFIX}CALLBACK_URL: replies to {address.host} could be read on the way; write https://, or set "
                f"{PREFIX}INSECURE_HTTP=true if only friends can read them"
            )
    except BadAddress as error:
        problems.append(f"{PREFIX}CALLBACK_URL: {error}")
    try:
        key()
    except (NoCredentials, ValueError) as error:
        why = error if settings.callback_secret else SECRET_CURE
        problems.append(f"{PREFIX}CALLBACK_SECRET: the URLs of replies are signed; {why}")
    if problems:
        raise SettingsError(problems)
    return ReplyUrls(url.rstrip("/"), key)


def _key(source: str) -> bytes:
    return key_of(text_of(source))
