"""The append lock: nobody appends for a moment, so that tables made from the log are as far as the log.

Those who append wait; nobody is refused. The lock waits for a transaction that has appended and is still open, but not
for long: all others wait behind it, and it is better to let go and to come again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy.engine import Connection


@dataclass(frozen=True)
class InTransaction:
    """The transaction that changes the tables takes the lock, and holds it until it ends.

    Attributes:
        take: Take it.
    """

    take: Callable[[Connection], None]


@dataclass(frozen=True)
class OnAnotherConnection:
    """A change of tables ends its transaction, so a connection that does nothing else holds the lock.

    Attributes:
        held: Hold it while the block runs.
        wait_briefly: Have a connection wait for a table no longer than for the lock.
    """

    held: Callable[[Connection], AbstractContextManager[None]]
    wait_briefly: Callable[[Connection], None]


AppendLock = InTransaction | OnAnotherConnection
