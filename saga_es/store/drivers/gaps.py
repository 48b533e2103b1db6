"""Gaps between the positions that can be read: how a database tells that nobody can fill one any more.

A database that hands out positions before the commit shows a gap where a transaction that still runs will fill it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection


class NoGaps:
    """One transaction writes after the other: nobody can fill a gap."""


@dataclass(frozen=True)
class WritersKnown:
    """Once all writers have ended that ran when a position was seen, no gap below that position can be filled.

    For a transaction holds a lock on the table from before it is handed a position until it ends.

    Attributes:
        writers: The transactions that may fill a gap now.
    """

    writers: Callable[[Connection], frozenset[str]]


@dataclass(frozen=True)
class RowsLocked:
    """A row that is not committed is locked: a gap is final in which a locking read finds neither row nor lock.

    It must have been seen for a while before: between the moment a statement is handed its positions and the moment its
    first row stands, there is no wait for anything.

    Attributes:
        finds_nothing: Whether a query finds neither a row nor a lock. Nobody who appends waits for it.
    """

    finds_nothing: Callable[[Connection, sa.Select[Any]], bool]


Gaps = NoGaps | WritersKnown | RowsLocked
