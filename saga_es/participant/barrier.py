"""The barrier: each call of a saga takes effect once, in the service's own transaction.

It is for a service with its own tables and database, and needs nothing else of saga_es. Each idempotency key has one
row, written in the transaction of the call's effect, so that both are committed or neither:

- a repeated call gets the first answer, and does nothing again;
- an undo of a call that never came is remembered, so that the call is refused if it still comes;
- of several calls with the same key at the same time, one acts, and the others wait for it.

The row is the lock. A call inserts the row if it is missing, which waits for another call that is inserting it, and
then locks it. A row with neither an answer nor an undo was inserted by the call that holds the lock, so that call may
act. There is no savepoint: by default, SQLAlchemy's SQLite driver would commit at the end of one.
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

from saga_es.core.values import Unfaithful, door_for_results
from saga_es.errors import PayloadUnencodable, SagaError, StepRejected, StepUnavailable
from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text
from saga_es.store.drivers.driver import Driver, driver_of
from saga_es.store.drivers.error_codes import ErrorCodes

LONGEST_KEY = 255


class BadKey(SagaError, ValueError):
    """A key that the barrier cannot store. Answer 400."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"an idempotency key has 1 to {LONGEST_KEY} printable characters; this one has {len(key)}: {key!a:.80}"
        )
        self.key = key


class TooLate(StepRejected):
    """The call was undone before it came, and must not act any more. Answer 409: refused for good.

    A step function lets it out: its step is rejected.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the call with the key {key} was undone before it came; use a new key")
        self.key = key


class TryAgain(StepUnavailable):
    """Another call with this key is in the way, or this transaction began too early to see its result.

    Answer 503, or let it out of a step function: the saga repeats the call, in a new transaction.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"another call with the key {key} is in the way of this one; repeat this call")
        self.key = key


class Barrier:
    """The idempotency keys that a service has seen.

    Args:
        metadata: The metadata that gets the barrier's table; create the table like the service's others.
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
        self._claims: dict[Driver, sa.Insert] = {}
        self._lock = sa.select(table.c.answer, table.c.undone).where(mine).with_for_update()
        self._answer = sa.update(table).where(mine).values(answer=sa.bindparam("given"))
        self._undo = sa.update(table).where(mine).values(undone=True)

    def act(self, connection: Connection, key: str | None, act: Callable[[], Any]) -> Any:
        """Act, or return the answer of the first call with this key.

        Args:
            connection: The transaction in which `act` writes. An exception of `act` must roll it back.
            key: The `Idempotency-Key` of the call; None for a call outside any saga, which always acts.
            act: Does the work in that transaction, and returns the answer as a JSON value.

        Returns:
            The answer, in the form in which every repetition gets it.

        Raises:
            BadKey: The key cannot be stored.
            PayloadUnencodable: The answer has no JSON form, or a number that JSON does not have.
            TooLate: The call was undone before it came.
            TryAgain: Roll this transaction back. Nothing was done in it.
        """
        if key is None:
            return act()
        found = self._claimed(connection, key)
        if found["undone"]:
            raise TooLate(key)
        if found["answer"] is not None:
            return msgspec.json.decode(found["answer"])
        try:
            encoded, answer = door_for_results(act(), "answer")
        except Unfaithful as unfaithful:
            raise PayloadUnencodable(str(unfaithful)) from unfaithful
        connection.execute(self._answer, {"this_key": key, "given": encoded.decode()})
        return answer

    def undo(
        self, connection: Connection, action_key: str, undo: Callable[[Any], object], *, before_acted: bool = True
    ) -> bool:
        """Undo the call with this key, once. If the call has not come, it is refused when it comes.

        Args:
            connection: The transaction in which `undo` writes. An exception of `undo` must roll it back.
            action_key: The key of the call to undo.
            undo: Undoes the call, given its answer. Not called if nothing was done, or if it was undone before.
            before_acted: Whether a call that has not come is refused when it comes. A saga needs that; a stranger
                could have the calls of others refused; see `leaves_tombstone`.

        Returns:
            Whether something was undone now. For a saga, both are a success: answer 2xx.

        Raises:
            BadKey: The key cannot be stored, so no call was made with it.
            TryAgain: Roll this transaction back. Nothing was done in it.
        """
        found = self._claimed(connection, action_key) if before_acted else self._locked(connection, action_key)
        if found is None or found["undone"] or (found["answer"] is None and not before_acted):
            return False
        if found["answer"] is not None:
            undo(msgspec.json.decode(found["answer"]))
        connection.execute(self._undo, {"this_key": action_key})
        return found["answer"] is not None

    def forget(self, connection: Connection, before: datetime) -> int:
        """Delete the keys first seen before a time, so that the table does not grow for ever.

        A call with a deleted key acts again: choose a time before the start of every saga that is not finished.

        Args:
            connection: The transaction of the deletion.
            before: An aware time, exclusive.

        Returns:
            The number of deleted keys.
        """
        return connection.execute(sa.delete(self.table).where(self.table.c.seen_at < before)).rowcount

    def _claimed(self, connection: Connection, key: str) -> RowMapping:
        """The row of a key, made if it is missing, and locked until the transaction ends."""
        driver = driver_of(connection.dialect)
        if driver not in self._claims:
            self._claims[driver] = driver.insert_unless_there(self.table)
        found = self._locked(connection, key, if_missing=self._claims[driver])
        if found is None:  # the key was deleted between the two statements
            raise TryAgain(key)
        return found

    def _locked(self, connection: Connection, key: str, if_missing: sa.Executable | None = None) -> RowMapping | None:
        """The row of a key, locked until the transaction ends; None if it is missing."""
        if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
            raise BadKey(key)
        new = {"key": key, "answer": None, "undone": False, "seen_at": datetime.now(UTC)}
        with _alone(key, driver_of(connection.dialect).errors):
            if if_missing is not None:
                connection.execute(if_missing, new)
            return connection.execute(self._lock, {"this_key": key}).mappings().one_or_none()


@contextmanager
def _alone(key: str, errors: ErrorCodes) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if errors.code(error.orig) in errors.in_the_way:
            raise TryAgain(key) from error
        raise
