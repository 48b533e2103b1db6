"""How much room the log takes, as its database says."""

from __future__ import annotations

import msgspec


class LogSize(msgspec.Struct, frozen=True):
    """The room that the log takes.

    Attributes:
        log_bytes: The log with its indexes; on SQLite the whole file.
        events: How many events the database takes that to hold, without counting; None: it keeps no such number.
        free_bytes: What is free on the disk; None: the database does not say.
        disk: Where that disk is.
    """

    log_bytes: int
    events: int | None = None
    free_bytes: int | None = None
    disk: str = "the server's disk"
