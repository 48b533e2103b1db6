"""What the log holds beside what arrived at a broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saga_es.store.log.log import Log


def in_log(log: Log) -> list[str]:
    """The ids of all events."""
    return [f"{entry.stream_id}/{entry.version}" for entry in log.walk()]


def by_stream(ids: Iterable[str]) -> dict[str, list[int]]:
    """The versions that were told of each stream, each at its first time, in that order."""
    told: dict[str, list[int]] = {}
    for id_ in dict.fromkeys(ids):
        stream_id, _, version = id_.rpartition("/")
        told.setdefault(stream_id, []).append(int(version))
    return told


def in_order(messages: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The same of messages that arrived."""
    return by_stream(message["id"] for message in messages)
