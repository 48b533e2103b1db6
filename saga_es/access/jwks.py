"""The public keys of an issuer, as it publishes them (RFC 7517): fetched within bounds, kept, refreshed when asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from saga_es.logs import logger
from saga_es.store.host_time import monotonic_s

Fetch = Callable[[], bytes]
"""Fetches the document, within a time. An exception of any class means that there is none now."""

MOST_BYTES = 262_144
MOST_KEYS = 100
KEPT_S = 600.0
"""Seconds for which the keys count as fresh; when they cannot be fetched anew, the old ones go on."""

LEAST_S = 30.0
"""The least seconds between two fetches, whatever key ids strangers make up."""


class Jwks:
    """The signing keys of one issuer, by key id. Any thread may ask; one fetches at a time, and no other waits for it.

    Args:
        issuer: Whose keys they are, as log lines name it.
        fetch: Fetches the document.
    """

    def __init__(self, issuer: str, fetch: Fetch) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._keys: dict[str, PyJWK] = {}
        self._fetched_s = self._tried_s = -KEPT_S
        self._fetching = threading.Lock()

    def key(self, kid: str) -> PyJWK | None:
        """The key of an id; None: the issuer publishes none, or cannot be asked."""
        now_s = monotonic_s()
        is_stale = now_s - self._fetched_s >= KEPT_S
        if (kid not in self._keys or is_stale) and now_s - self._tried_s >= LEAST_S:
            self._refresh(now_s)
        return self._keys.get(kid)

    def _refresh(self, now_s: float) -> None:
        if not self._fetching.acquire(blocking=False):  # also where a fork copied it while it was held
            return
        try:
            self._tried_s = now_s
            self._keys = keys_of(self._fetch())
            self._fetched_s = now_s
        except Exception as error:  # noqa: BLE001 (an issuer may fail in any way; nobody is let in by that)
            why = f"{type(error).__name__}: {error}"
            logger.warning("the keys of an issuer cannot be fetched", issuer=self._issuer, reason=why)
        finally:
            self._fetching.release()


def keys_of(document: bytes) -> dict[str, PyJWK]:
    """The signing keys of a document, by id; those that cannot be used are left out.

    Raises:
        ValueError: It is too large, or no document of keys.
    """
    if len(document) > MOST_BYTES:
        raise ValueError(f"it has {len(document)} bytes, and the limit is {MOST_BYTES}")
    found: Any = msgspec.json.decode(document)
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it has no list of keys")  # noqa: TRY004 (the document is wrong, not a caller)
    usable: dict[str, PyJWK] = {}
    for entry in listed[:MOST_KEYS]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
            continue
        try:
            usable[str(entry["kid"])] = PyJWK(entry)
        except (KeyError, PyJWTError, ValueError, TypeError):
            continue
    return usable
