"""The append lock: nobody appends for a moment, so that tables made from the log are up to date with it.

Appends wait; none is refused. The lock waits for an open transaction that has appended, but only briefly: all other
appends wait behind it, so it is better to let go and try again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy.engine import Connection


@dataclass(frozen=True)
class InTransaction:
    """The transaction that changes the tables takes the lock, and holds it to its end.

    Attributes:
        take: Takes the lock.
    """

    take: Callable[[Connection], None]


@dataclass(frozen=True)
class OnAnotherConnection:
    """A change of tables would end the transaction, so a second connection holds the lock.

    Attributes:
        held: Holds the lock while the block runs.
        wait_briefly: Limits how long a connection waits for a table to how long one waits for the lock.
    """

    held: Callable[[Connection], AbstractContextManager[None]]
    wait_briefly: Callable[[Connection], None]


AppendLock = InTransaction | OnAnotherConnection
