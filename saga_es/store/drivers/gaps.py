"""Gaps between the positions that can be read: how a database shows that a gap is final.

A database that assigns positions before the commit shows a gap where a running transaction will fill it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection


class NoGaps:
    """One transaction writes after another: every gap is final."""


@dataclass(frozen=True)
class WritersKnown:
    """A gap below a position is final once all transactions have ended that wrote when the position was seen.

    A transaction locks the table before it is assigned a position, and holds the lock until it ends.

    Attributes:
        writers: The transactions that may fill a gap now.
    """

    writers: Callable[[Connection], frozenset[str]]


@dataclass(frozen=True)
class RowsLocked:
    """An uncommitted row is locked: a gap is final when a locking read finds neither row nor lock.

    It must have existed for a while before: a statement is assigned its positions a moment before its first row stands,
    but it waits for nothing in that moment.

    Attributes:
        finds_nothing: Whether a query finds neither a row nor a lock. No append waits for it.
    """

    finds_nothing: Callable[[Connection, sa.Select[Any]], bool]


Gaps = NoGaps | WritersKnown | RowsLocked
