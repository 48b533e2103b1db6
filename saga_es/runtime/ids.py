"""Ids: new ones, and the ones that must come out the same after every crash."""

from __future__ import annotations

import os
import time
from uuid import UUID, uuid5

from saga_es.core.facts import Direction

_NAMESPACE = UUID("7d0b1c9e-5b0a-5c58-9d3e-3d5f0a6f2c11")


def new_id() -> str:
    """A new id: a UUID of version 7 (RFC 9562, 5.7), so that ids made later sort later."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(UUID(int=value))


def saga_id_for(saga: str, key: str) -> str:
    """The id of the saga that a caller's idempotency key stands for: the log itself remembers the keys."""
    return str(uuid5(_NAMESPACE, f"{len(saga)}/{saga}/{key}"))


def idempotency_key(saga_id: str, step: str, direction: Direction) -> str:
    """The key of one of a step's two calls: the same on every attempt and after every crash."""
    return str(uuid5(_NAMESPACE, f"{saga_id}/{step}/{direction}"))
