"""Which fields of a saga's events are encrypted, and what stands in their places for those who have no key.

Names, counters, times, states and ids stay clear: recovery, invariants and proofs need them, and no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.store.encryption.errors import ENCRYPTED

SECRET = frozenset({"input", "result", "payload", "details", "error", "frame", "reason"})
"""Fields that hold what callers and participants sent, what people wrote, or what an exception said."""

CLEAR = frozenset(
    {
        "saga", "saga_id", "plan_id", "plan", "parent", "worker", "previous", "key", "trace", "by", "tags",
        "step", "signal", "attempt", "direction", "failure", "last", "size", "happened", "status", "current", "renamed",
        "starts_at", "deadline_at", "retry_at", "until", "at", "actor", "on_behalf_of",
    }
)  # fmt: skip
"""Fields that say how a saga went. `tags` and `actor` are searched for: put no personal data into tags."""

OBJECTS = frozenset({"input"})
"""Fields that hold an object, and must go on to hold one."""

SECRETS: Mapping[type[Any], tuple[str, ...]] = {
    kind: tuple(name for name in kind.__struct_fields__ if name in SECRET) for kind in get_args(e.SagaEvent)
}
"""The secret fields of each event of a saga."""


def secrets_of(event: Any) -> dict[str, Any]:
    """The secret values that an event has."""
    return {name: value for name in SECRETS.get(type(event), ()) if (value := getattr(event, name)) is not None}


def mask(name: str, shown: str = ENCRYPTED) -> Any:
    """What stands for a value in its field."""
    return {shown: True} if name in OBJECTS else shown


def masked(event: Any) -> Any:
    """An event as those see it who have no key."""
    secrets = secrets_of(event)
    return replace(event, **{name: mask(name) for name in secrets}) if secrets else event
