"""How long the other end of a connection may be silent: a host that vanishes closes nothing.

Without these settings the kernel decides how long a client waits for such a server, and how long such a client's locks
are held.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import URL

CONNECT_S = 5
QUIET_S = 5
"""After this many seconds of silence the other end is probed."""

ASK_EVERY_S = 3
UNANSWERED = 3
GIVEN_UP_S = 15
"""Seconds without an acknowledgement of a probe or a query; then the connection is given up."""


def unless_given(url: URL, ours: Mapping[str, Any]) -> dict[str, Any]:
    """The options for the Python driver, except those that the URL sets."""
    return {name: value for name, value in ours.items() if name not in url.query}


def watch(driver: Any, url: URL) -> None:
    """The same for a connection of PyMySQL, which has no option for it.

    Its `read_timeout` would do, but it would also end every longer statement: a migration, a replay.
    """
    if "read_timeout" not in url.query:
        driver._read_timeout = None  # noqa: SLF001 (as below)
    end: socket.socket = driver._sock  # noqa: SLF001 (there is no other way to it)
    if end.family == socket.AF_UNIX:
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", QUIET_S),
        ("TCP_KEEPINTVL", ASK_EVERY_S),
        ("TCP_KEEPCNT", UNANSWERED),
        ("TCP_USER_TIMEOUT", GIVEN_UP_S * 1000),
    ):
        if (option := getattr(socket, name, None)) is not None:  # not every system has all of them
            end.setsockopt(socket.IPPROTO_TCP, option, value)


POSTGRESQL_WATCHES = (
    "SELECT set_config(name, ours.value, false) FROM pg_settings JOIN (VALUES "
    f"('tcp_keepalives_idle', '{QUIET_S}'), ('tcp_keepalives_interval', '{ASK_EVERY_S}'), "
    f"('tcp_keepalives_count', '{UNANSWERED}'), ('tcp_user_timeout', '{GIVEN_UP_S * 1000}')"
    ") AS ours (name, value) USING (name) WHERE source = 'default'"
)
"""Has the server give up a client that vanished, and its locks, unless somebody configured it otherwise."""

MARIADB_WATCHES = "/*M! , idle_write_transaction_timeout = 30 */"
"""The same: MariaDB ends a transaction that holds locks and is idle. For MySQL, which has no such setting, it is a
comment."""
