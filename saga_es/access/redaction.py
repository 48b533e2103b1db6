"""Redaction: events and errors as somebody sees them who may not see payloads."""

from __future__ import annotations

from typing import Any

import msgspec

from saga_es.store.encryption.cipher import MEMBER
from saga_es.store.log.codec import PLAN
from saga_es.store.log.entries import Entry

REDACTED = "(redacted)"

FIELDS = ("input", "result", "payload", "details", "error", "frame", "reason")
"""The fields of events that hold what callers and participants sent, what people wrote, or where code failed."""

_OBJECTS = ("input",)
"""Those of them that hold an object, and must go on to hold one."""


def redacted(entry: Entry) -> Entry:
    """A row of the log without what only some may see. Its hash stays that of the whole row."""
    if entry.category == PLAN or not any(f'"{field}"' in entry.text for field in FIELDS):
        return entry
    data: dict[str, Any] = msgspec.json.decode(entry.text)
    data.pop(MEMBER, None)  # else it would be decrypted by whatever decodes the row
    for field in FIELDS:
        if data.get(field) is not None:
            data[field] = {"redacted": True} if field in _OBJECTS else REDACTED
    return msgspec.structs.replace(entry, text=msgspec.json.encode(data).decode())
