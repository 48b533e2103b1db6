"""PostgreSQL: whether its settings let saga_es keep its promises."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.drivers.finding import Finding, durability, settings
from saga_es.store.drivers.size import LogSize

_LOG_SIZE = sa.text(
    "SELECT pg_total_relation_size(oid) AS size, "
    "CASE WHEN reltuples > 0 AND relpages > 0 THEN reltuples / relpages * "
    "(pg_relation_size(oid) / current_setting('block_size')::int) END AS events "
    "FROM pg_class WHERE oid = CAST(:log AS regclass)"
)
"""The rows are those of the planner: as many a page as at the last ANALYZE, times the pages of now."""


def examine(connection: Connection) -> Iterator[Finding]:
    """Examine the settings that our promises depend on."""
    said = settings(connection, "SELECT name, setting FROM pg_settings")
    yield Finding("database", "ok", f"PostgreSQL {said['server_version']}")
    yield Finding("isolation", "ok", f"{said['transaction_isolation']}; versions decide, so each level will do")
    if said.get("transaction_read_only") == "on":
        cure = "it takes no writes; name all servers, and ?target_session_attrs=read-write"
        yield Finding("writable", "fault", f"transaction_read_only=on: {cure}")
    for name, why in (
        ("fsync", "a crash of the server may lose or damage everything; turn it on"),
        ("synchronous_commit", "a crash of the server may lose what was acknowledged; turn it on"),
        ("full_page_writes", "a power cut may damage the database; turn it on, unless the disk writes pages whole"),
    ):
        yield durability(name, said.get(name, "?"), ("off",), why)
    yield charset(said.get("server_encoding", "?"))
    names = said.get("synchronous_standby_names", "")
    if names and said.get("synchronous_commit") in {"local", "off"}:
        why = f"synchronous_standby_names={names}, and synchronous_commit does not wait for it"
        yield Finding("standby", "warning", f"{why}: a failover may lose what was acknowledged; set it to on")


def charset(encoding: str) -> Finding:
    """The finding about the encoding of the database, which all its texts have."""
    if encoding == "UTF8":
        return Finding("charset", "ok", "server_encoding=UTF8")
    why = "it lacks characters: such inputs are refused, such results undone, such reasons shown by numbers"
    cure = "move to a database made with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    return Finding("charset", "warning", f"server_encoding={encoding}: {why}; {cure}")


def log_size(connection: Connection, log: str) -> LogSize:
    """The size of the log with its indexes; the server does not say what its disk has left."""
    found = connection.execute(_LOG_SIZE, {"log": log}).one()
    return LogSize(int(found.size), None if found.events is None else round(found.events))
