"""The barrier: lets each call of a saga take place once, in the service's own transaction.

For a service of your own, with its own tables and database; it needs nothing else of saga_es. One row for each
idempotency key, written in the transaction of what the call does, so that both are there or neither:

- a repeated call is answered like the first, and does nothing again;
- an undo of what was never done is remembered, so that the call it undoes, should it still come, is refused;
- of calls with one key that come at the same time, one acts, and the others wait for it.

The row is the lock. A call inserts it if it is not there, which waits for whoever is inserting it, and then locks it: a
row that says neither answered nor undone was left by nobody else, so whoever holds it may act. There is no savepoint:
SQLite's driver, as SQLAlchemy has it by default, would commit at the end of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from saga_es.errors import SagaError
from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text
from saga_es.store.drivers.driver import driver_of, drivers
from saga_es.store.drivers.error_codes import ErrorCodes

LONGEST_KEY = 255


class BadKey(SagaError, ValueError):
    """A key that cannot be kept. Answer 400."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"an idempotency key has 1 to {LONGEST_KEY} printable characters; this one has {len(key)}: {key!a:.80}"
        )
        self.key = key


class TooLate(SagaError):
    """The call was undone before it came; it must not act any more. Answer 409: refused for good."""

    def __init__(self, key: str) -> None:
        super().__init__(f"what was to be done under the key {key} was undone before this call; use a new key")
        self.key = key


class TryAgain(SagaError):
    """Another call with this key was in the way, or this transaction began too early to see what that one did.

    Answer 503: the saga repeats the call, in a new transaction.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"another call with the key {key} is in the way of this one; repeat it")
        self.key = key


class Barrier:
    """The keys that a service has seen.

    Args:
        metadata: Where the table is declared; make it like the service's other tables.
        name: The table's name.
    """

    def __init__(self, metadata: sa.MetaData, name: str = "saga_barrier") -> None:
        self.table = table = sa.Table(
            name,
            metadata,
            sa.Column("key", key_text(LONGEST_KEY), primary_key=True),
            sa.Column("answer", JsonText, comment="what the first call answered; none while it acts, or was undone"),
            sa.Column("undone", sa.Boolean, nullable=False),
            sa.Column("seen_at", UtcDateTime, nullable=False, index=True),
        )
        mine = table.c.key == sa.bindparam("this_key")
        self._claims = {driver: driver.insert_unless_there(table) for driver in drivers()}
        self._lock = sa.select(table.c.answer, table.c.undone).where(mine).with_for_update()
        self._answer = sa.update(table).where(mine).values(answer=sa.bindparam("given"))
        self._undo = sa.update(table).where(mine).values(undone=True)

    def act(self, connection: Connection, key: str | None, act: Callable[[], Any]) -> Any:
        """Act, or find what was answered when this was done before.

        Args:
            connection: The transaction in which `act` writes. What `act` raises must end it: then nothing was done.
            key: The `Idempotency-Key` of the call; None for a call that is no saga's, which just acts.
            act: Does the work in that transaction, and returns the answer as a JSON value.

        Returns:
            The answer, as it will be given to every repetition.

        Raises:
            BadKey: The key cannot be kept.
            TooLate: It was undone before.
            TryAgain: End this transaction; nothing was done in it.
        """
        if key is None:
            return act()
        found = self._claimed(connection, key)
        if found["undone"]:
            raise TooLate(key)
        if found["answer"] is not None:
            return msgspec.json.decode(found["answer"])
        text = msgspec.json.encode(act()).decode()
        connection.execute(self._answer, {"this_key": key, "given": text})
        return msgspec.json.decode(text)

    def undo(self, connection: Connection, action_key: str, undo: Callable[[Any], object]) -> bool:
        """Undo what was done under a key, once; or see to it that it never will be.

        Args:
            connection: The transaction in which `undo` writes. What `undo` raises must end it.
            action_key: The key of the call that is undone.
            undo: Undoes it, given what it answered; not called when nothing was done, or when it was undone before.

        Returns:
            Whether something was undone now. Both are a success to a saga: answer 2xx.

        Raises:
            BadKey: The key cannot be one that anything was done under.
            TryAgain: End this transaction; nothing was done in it.
        """
        found = self._claimed(connection, action_key)
        if found["undone"]:
            return False
        if found["answer"] is not None:
            undo(msgspec.json.decode(found["answer"]))
        connection.execute(self._undo, {"this_key": action_key})
        return found["answer"] is not None

    def forget(self, connection: Connection, before: datetime) -> int:
        """Forget the keys first seen before a time, so that the table does not grow for ever.

        A call with a forgotten key acts again: choose a time that no saga can still be on its way from.

        Args:
            connection: The transaction to do it in.
            before: An aware time.

        Returns:
            How many were forgotten.
        """
        return connection.execute(sa.delete(self.table).where(self.table.c.seen_at < before)).rowcount

    def _claimed(self, connection: Connection, key: str) -> RowMapping:
        """The row of a key, locked until the transaction ends."""
        if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
            raise BadKey(key)
        new = {"key": key, "answer": None, "undone": False, "seen_at": datetime.now(UTC)}
        driver = driver_of(connection.dialect)
        with _alone(key, driver.errors):
            connection.execute(self._claims[driver], new)
            found = connection.execute(self._lock, {"this_key": key}).mappings().one_or_none()
        if found is None:  # forgotten between the two statements
            raise TryAgain(key)
        return found


@contextmanager
def _alone(key: str, errors: ErrorCodes) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if errors.code(error.orig) in errors.in_the_way:
            raise TryAgain(key) from error
        raise
