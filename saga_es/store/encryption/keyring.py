"""The keys of subjects: one row each, wrapped, in a table of their own that no archive and no export has.

Owns: which key belongs to which subject. Refuses: to keep an unwrapped key for longer than some seconds, so that a
subject that another process erased is soon erased here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from saga_es.errors import BadStart
from saga_es.store.database import Database
from saga_es.store.encryption.cipher import KEY_BYTES, DataKey
from saga_es.store.encryption.errors import KeyErased
from saga_es.store.encryption.wrapping import KeyWrapper
from saga_es.store.host_time import host_now, monotonic_s
from saga_es.store.tables import saga_subjects

KEPT_S = 5.0
"""How long a key that was read is kept."""

MOST_KEPT = 10_000
LONGEST = 255

_KEY = sa.select(saga_subjects).where(saga_subjects.c.key_id == sa.bindparam("key_id"))
_OF_SUBJECT = sa.select(saga_subjects.c.key_id).where(
    saga_subjects.c.tenant == sa.bindparam("tenant"), saga_subjects.c.subject == sa.bindparam("subject")
)


class Keyring:
    """Makes, finds, wraps again and erases the keys of subjects. Used by any thread.

    Args:
        database: Where the table is.
        wrapper: What wraps the keys.
    """

    def __init__(self, database: Database, wrapper: KeyWrapper) -> None:
        self._database = database
        self._wrapper = wrapper
        self._keys: dict[str, tuple[float, DataKey]] = {}
        self._ids: dict[tuple[str, str], tuple[float, str]] = {}

    def key(self, key_id: str) -> DataKey:
        """The key with this id.

        Raises:
            KeyErased: There is no such key any more.
            WrongKey: It cannot be unwrapped here.
            StoreUnavailable: The database, or what unwraps keys, did not answer.
        """
        found = self._keys.get(key_id)
        if found is not None and found[0] > monotonic_s():
            return found[1]
        with self._database.reading() as connection:
            row = connection.execute(_KEY, {"key_id": key_id}).one_or_none()
        if row is None:
            self._keys.pop(key_id, None)
            raise KeyErased(key_id)
        key = DataKey(self._unwrapped(row), row.tenant)
        _keep(self._keys, key_id, key)
        return key

    def key_id_of(self, tenant: str, subject: str) -> str:
        """The id of a subject's key, which is made if there is none.

        Raises:
            BadStart: The subject's name is empty or too long.
            StoreUnavailable: The database, or what wraps keys, did not answer.
        """
        kept = self._ids.get((tenant, subject))
        if kept is not None and kept[0] > monotonic_s():
            return kept[1]
        if len(subject) > LONGEST or "\0" in subject:
            raise BadStart(f"a subject's name has at most {LONGEST} characters, and no NUL")
        found = self._found(tenant, subject) or self._made(tenant, subject)
        _keep(self._ids, (tenant, subject), found)
        return found

    def _found(self, tenant: str, subject: str) -> str | None:
        with self._database.reading() as connection:
            return connection.scalar(_OF_SUBJECT, {"tenant": tenant, "subject": subject})

    def _made(self, tenant: str, subject: str) -> str:
        key_id = str(uuid4())
        row = {"key_id": key_id, "tenant": tenant, "subject": subject, "made_at": host_now()}
        row |= self._wrapped(os.urandom(KEY_BYTES), key_id, tenant)
        try:
            with self._database.writing() as connection:
                connection.execute(sa.insert(saga_subjects), row)
        except IntegrityError:  # another process made it at the same time
            found = self._found(tenant, subject)
            if found is None:
                raise
            return found
        return key_id

    def forget(self) -> None:
        """Keep no key of those that were read."""
        self._keys.clear()
        self._ids.clear()

    def rotate(self, progress: Callable[[int], object]) -> int:
        """Wrap each key that an older wrapping key wrapped under the present one; how many there were.

        A key is wrapped again by itself: wherever this ends, each row is readable with both wrapping keys at hand.
        """
        current = self._wrapper.current
        done = 0
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(saga_subjects).where(saga_subjects.c.wrapped_by != current)).all()
        for row in rows:
            again = self._wrapped(self._unwrapped(row), row.key_id, row.tenant)
            same = (saga_subjects.c.key_id == row.key_id, saga_subjects.c.wrapped == row.wrapped)
            with self._database.writing() as connection:
                connection.execute(sa.update(saga_subjects).where(*same).values(again))
            done += 1
            progress(done)
        return done

    def check(self) -> None:
        """Check that the wrapping key is the one of this database, by unwrapping a key, if there is one.

        Raises:
            WrongKey: It is another.
            StoreUnavailable: The database, or what unwraps keys, did not answer.
        """
        with self._database.reading() as connection:
            row = connection.execute(sa.select(saga_subjects).order_by(saga_subjects.c.key_id).limit(1)).one_or_none()
        if row is not None:
            self._unwrapped(row)

    def _wrapped(self, key: bytes, key_id: str, tenant: str) -> dict[str, Any]:
        by = self._wrapper.current
        return {"wrapped": self._wrapper.wrap(key, _about(key_id, tenant)), "wrapped_by": by}

    def _unwrapped(self, row: Row[Any]) -> bytes:
        return self._wrapper.unwrap(row.wrapped, row.wrapped_by, _about(row.key_id, row.tenant))


def delete_key(connection: Connection, tenant: str, subject: str) -> str | None:
    """Delete the key of a subject in a transaction; its id, or None if it has none."""
    key_id: str | None = connection.scalar(_OF_SUBJECT, {"tenant": tenant, "subject": subject})
    if key_id is not None:
        connection.execute(sa.delete(saga_subjects).where(saga_subjects.c.key_id == key_id))
    return key_id


def _about(key_id: str, tenant: str) -> bytes:
    return msgspec.json.encode([key_id, tenant])


def _keep(kept: dict[Any, tuple[float, Any]], name: object, value: object) -> None:
    if len(kept) >= MOST_KEPT:
        kept.clear()
    kept[name] = (monotonic_s() + KEPT_S, value)
