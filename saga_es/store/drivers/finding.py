"""What the doctor finds: one line with the numbers and, where something is wrong, the cure."""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy.engine import Connection

Verdict = Literal["ok", "warning", "fault"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that the doctor examined.

    Attributes:
        subject: What was examined.
        found: Its state; with the cure where something is wrong.
    """

    subject: str
    verdict: Verdict
    found: str


def durability(name: str, value: str, bad: tuple[str, ...], why: str) -> Finding:
    """A setting that may lose acknowledged data when it has one of the bad values."""
    is_bad = value in bad
    return Finding("durability", "fault" if is_bad else "ok", f"{name}={value}" + (f": {why}" if is_bad else ""))


def settings(connection: Connection, query: str) -> dict[str, str]:
    """The settings of a server, by name."""
    return {str(row[0]): str(row[1]) for row in connection.exec_driver_sql(query)}
