"""Erasing a subject: its key goes, and with it all that was written under it; the log says that it went."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from saga_es.core.access import SubjectErased
from saga_es.errors import SagaError
from saga_es.store.database import Database
from saga_es.store.encryption.keyring import Keyring, delete_key
from saga_es.store.log.codec import SUBJECT
from saga_es.store.log.entries import Draft
from saga_es.store.writer import Writer


class NoSuchSubject(SagaError):
    """There is no key of that subject."""

    def __init__(self, subject: str, tenant: str) -> None:
        of = f" of tenant {tenant!r}" if tenant else ""
        super().__init__(f"subject {subject!r}{of} has no key: it was erased, or nothing was encrypted for it")


class Subjects:
    """Erases subjects.

    Args:
        database: The database of keys and log.
        keyring: The keys that this process keeps; None: it keeps none.
        writer: Appends to the log.
        now: The present time, aware.
    """

    def __init__(
        self, database: Database, keyring: Keyring | None, writer: Writer, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._writer = writer
        self._now = now

    def erase(self, subject: str, actor: str, reason: str, tenant: str = "") -> str:
        """Remove the key of a subject, and record that, in one transaction: a crash leaves both or neither.

        Other processes have forgotten the key some seconds later. Nothing else keeps what was encrypted: views have
        masks, and logs, seals and archives the ciphertexts, which nobody can read any more.

        Returns:
            The id of the key, which is the stream of `SubjectErased`.

        Raises:
            NoSuchSubject: It has none.
            StoreUnavailable: The database did not confirm it; repeat it.
        """
        event = SubjectErased(actor, reason)
        with self._database.writing() as connection:
            key_id = delete_key(connection, tenant, subject)
            if key_id is None:
                raise NoSuchSubject(subject, tenant)
            draft = Draft(key_id, SUBJECT, 0, (event,), self._now())
            self._writer.write_within(connection, self._writer.prepare(draft))
        if self._keyring is not None:
            self._keyring.forget()
        return key_id
