"""Ids: new ids, and derived ids that must be the same after every crash."""

from __future__ import annotations

import os
import re
import time
from hashlib import sha1
from uuid import UUID

from saga_es.core.outcomes import Direction

_NAMESPACE_BYTES = UUID("7d0b1c9e-5b0a-5c58-9d3e-3d5f0a6f2c11").bytes


def new_id() -> str:
    """A new id: a UUID of version 7 (RFC 9562, 5.7), so that a later id sorts after an earlier one."""
    return _text(f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}", 7)


def why_not_in_a_url(saga_id: str) -> str | None:
    """Why an id of the caller's choice cannot be one segment of a URL, and mean itself there; None: it can."""
    if saga_id in _ROUTES:
        return f"the HTTP API has routes below {saga_id!r}"
    if saga_id in {".", ".."}:
        return "clients and servers remove it (RFC 3986, 5.2.4)"
    if not {"/", "\\"}.isdisjoint(saga_id):
        return "a slash or a backslash ends a segment, quoted or not"
    if _UNSEEN.search(saga_id):
        return "it holds a control character, a line break, or U+FFFD, which any unreadable byte becomes"
    return None


_ROUTES = frozenset({"status", "batch"})
"""What stands in the API's paths where an id stands in others: `/status/events` is no list of events."""

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]")


def saga_id_for(saga: str, key: str, tenant: str = "") -> str:
    """The saga id that a caller's idempotency key stands for. The log needs no table of keys.

    Each tenant has keys of its own. A text of the nameless tenant begins with a digit, so that no key of it can be
    written so that it comes to the id of a tenant's.
    """
    named = f"{len(saga)}/{saga}/{key}"
    return _uuid5(f"tenant/{len(tenant)}/{tenant}/{named}" if tenant else named)


def schedule_id(name: str) -> str:
    """The id of the stream of a schedule."""
    return _uuid5(f"schedule/{name}")


def idempotency_key(saga_id: str, step: str, direction: Direction) -> str:
    """The idempotency key of a step's call in one direction: the same on every attempt and after every crash."""
    return _uuid5(f"{saga_id}/{step}/{direction}")


def _uuid5(name: str) -> str:
    """`str(uuid5(…, name))` in a quarter of its time: a saga of four steps needs four of them."""
    digits = sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).hexdigest()
    # Laid out here, and not by `_text`: each call of a step comes here.
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def _text(digits: str, version: int) -> str:
    """128 bits in hexadecimal digits (more are cut off) as a UUID of this version and the RFC's variant."""
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


_VARIANTS = {f"{digit:x}": f"{digit & 0b0011 | 0b1000:x}" for digit in range(16)}
"""Each hexadecimal digit, with its first two bits set to the variant of the RFC (9562, 4.1)."""
