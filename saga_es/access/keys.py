"""API keys: made once, shown once, and known afterwards by the hash of their secrets.

A key is looked up by the id in it, in its own stream of the log, which nobody can change. The answer is kept for
`KEPT_S`, so a busy service asks the database once in that time, and a revocation holds after it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from saga_es.access.principal import Principal
from saga_es.core.access import AccessEvent, KeyCreated, KeyRevoked
from saga_es.errors import NotFound, SagaError
from saga_es.store.database import Database
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.codec import ACCESS
from saga_es.store.log.entries import Draft
from saga_es.store.log.log import Log
from saga_es.store.ports import Conflict, Refused, Writer, Written
from saga_es.store.views.keys import saga_keys

if TYPE_CHECKING:
    from flask import Request  # an engine without an application does not load it

KEPT_S = 5.0
"""Seconds for which a key that was looked up is not looked up again."""

MOST_KEPT = 1000
MOST_VALID = 2
"""Valid keys of one principal: the old one and the new one, while they are exchanged."""

BEGINS = "sgk_"
SECRET_BYTES = 32
ID_DIGITS = 16

_KEY = re.compile(rf"{BEGINS}([0-9a-f]{{{ID_DIGITS}}})_([A-Za-z0-9_-]{{43}})", re.ASCII)
_HEADER = re.compile(r"bearer +(\S+)", re.ASCII | re.IGNORECASE)


class KeyRefused(SagaError):
    """The key was not made or not revoked; the message says why, and what to do."""


class NewKey(NamedTuple):
    """A key that was just made. Nobody can show its text again."""

    key_id: str
    text: str


class Keys:
    """Makes, revokes, lists and recognises API keys.

    Args:
        database: Where the view of keys is.
        log: Where their events are.
        writer: Appends them.
        now: The present time, aware.
    """

    def __init__(self, database: Database, log: Log, writer: Writer, now: Callable[[], datetime]) -> None:
        self._database = database
        self._log = log
        self._writer = writer
        self._now = now
        self._kept: dict[str, tuple[float, KeyCreated]] = {}

    # ── For administrators ───────────────────────────────────────────────────────────────────────────────

    def create(self, principal: Principal, actor: str, valid_for: timedelta | None = None) -> NewKey:
        """Make a key for a principal.

        Raises:
            KeyRefused: The principal has two valid keys already.
            StoreUnavailable: The database did not confirm the key. It may exist: list the keys.
        """
        now = self._now()
        valid = [row for row in self.rows() if row["state"] == "valid" and _is_of(row, principal)]
        if len(valid) >= MOST_VALID:
            there = ", ".join(row["key_id"] for row in valid)
            raise KeyRefused(f"{principal.name!r} has {len(valid)} valid keys, {there}; revoke one of them first")
        digits, secret = secrets.token_hex(ID_DIGITS // 2), secrets.token_urlsafe(SECRET_BYTES)
        event = KeyCreated(
            principal.name,
            tuple(sorted(principal.roles)),
            _digest(secret),
            actor,
            None if principal.sagas is None else tuple(sorted(principal.sagas)),
            principal.tenant,
            None if valid_for is None else now + valid_for,
        )
        self._append(_stream(digits), 0, event, now)
        return NewKey(_stream(digits), f"{BEGINS}{digits}_{secret}")

    def revoke(self, key_id: str, actor: str, reason: str) -> None:
        """Revoke a key. Within `KEPT_S` no process takes it any more; repeating it changes nothing.

        Raises:
            NotFound: There is no such key.
            StoreUnavailable: The database did not confirm it.
        """
        history = self._log.read(key_id)
        if not history or not isinstance(history[0].event, KeyCreated):
            raise NotFound(key_id)
        if not any(isinstance(recorded.event, KeyRevoked) for recorded in history):
            self._append(key_id, len(history), KeyRevoked(actor, reason), self._now())

    def rows(self) -> list[Mapping[str, Any]]:
        """All keys, the newest first: what the view has of each, and its state."""
        now = self._now()
        newest = sa.select(saga_keys).order_by(saga_keys.c.created_at.desc(), saga_keys.c.key_id)
        with self._database.reading() as connection:
            rows = connection.execute(newest).mappings().all()
        return [{**row, "state": _state(row, now)} for row in map(dict, rows)]

    def _append(self, stream_id: str, expected_version: int, event: AccessEvent, now: datetime) -> None:
        prepared = self._writer.prepare(Draft(stream_id, ACCESS, expected_version, (event,), now))
        match self._writer.write([prepared])[0]:
            case Written():
                return
            case Conflict():
                raise KeyRefused(f"another process changed {stream_id} at the same time; look at it again")
            case Refused(reason):
                raise KeyRefused(f"the database does not take it: {reason}")

    # ── For requests ─────────────────────────────────────────────────────────────────────────────────────

    def __call__(self, request: Request) -> Principal | None:
        """The principal of the key that a request carries; None: it carries no valid key."""
        header = _HEADER.fullmatch(request.headers.get("Authorization", ""))
        return None if header is None else self.principal(header[1])

    def principal(self, key: str) -> Principal | None:
        """The principal of a key; None: it is not valid.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        parts = _KEY.fullmatch(key)
        if parts is None:
            return None
        known = self._known(_stream(parts[1]))
        given = _digest(parts[2])
        if not hmac.compare_digest(given, given if known is None else known.sha256) or known is None:
            return None
        if known.expires_at is not None and known.expires_at <= self._now():
            return None
        return Principal(known.name, known.roles, known.sagas, known.tenant, via="key")

    def _known(self, stream_id: str) -> KeyCreated | None:
        now_s = monotonic_s()
        kept = self._kept.get(stream_id)
        if kept is not None and now_s - kept[0] < KEPT_S:
            return kept[1]
        known = self._read(stream_id)
        if known is None:  # not kept: ids that strangers make up push out nobody's
            self._kept.pop(stream_id, None)
            return None
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[stream_id] = (now_s, known)
        return known

    def _read(self, stream_id: str) -> KeyCreated | None:
        """The key as it was made, unless it was revoked."""
        history = self._log.read(stream_id)
        if len(history) != 1 or history[0].category != ACCESS:
            return None
        created = history[0].event
        return created if isinstance(created, KeyCreated) else None


def _stream(digits: str) -> str:
    return f"key-{digits}"


def _digest(secret: str) -> str:
    """A secret of 256 random bits needs no slow hash: nobody can try so many."""
    return sha256(secret.encode()).hexdigest()


def _is_of(row: Mapping[str, Any], principal: Principal) -> bool:
    return (row["name"], row["tenant"]) == (principal.name, principal.tenant)


def _state(row: Mapping[str, Any], now: datetime) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["expires_at"] is not None and row["expires_at"] <= now else "valid"
