"""MySQL and MariaDB: whether their settings let saga_es keep its promises."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.drivers.finding import Finding, Verdict, durability, settings
from saga_es.store.drivers.names import full, ours
from saga_es.store.drivers.size import LogSize

CHARSET = "utf8mb4"
"""The charset that has all characters."""

_NARROW = sa.text(
    "SELECT table_name, CONCAT(table_name, '.', column_name, ' (', character_set_name, ')') "
    "FROM information_schema.columns WHERE table_schema = database() AND character_set_name <> :charset"
)

_IS_THERE = sa.text(
    "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = database() AND table_name = :name "
    "AND column_name = 'fingerprint'"
)

_REGISTRY = ours("saga_tables")

_LOG_SIZE = sa.text(
    "SELECT data_length + index_length AS size, table_rows AS events FROM information_schema.tables "
    "WHERE table_schema = database() AND table_name = :log"
)


def examine(connection: Connection) -> Iterator[Finding]:
    """Examine the settings that our promises depend on."""
    yield from judge(settings(connection, "SHOW VARIABLES"))
    if connection.scalar(_IS_THERE, {"name": full(connection, _REGISTRY)}):
        yield charset(_narrow(connection))


def _narrow(connection: Connection) -> list[str]:
    """The columns of our tables, and of no others, that lack characters."""
    made = set(connection.scalars(sa.select(sa.column("name")).select_from(sa.table(_REGISTRY))))
    made.discard(full(connection, "saga_alembic_version"))  # Alembic made it
    found = connection.execute(_NARROW, {"charset": CHARSET}).all()
    return sorted(words for table, words in found if table in made)


def charset(narrow: list[str]) -> Finding:
    """The finding about the columns of our tables that lack characters."""
    if not narrow:
        return Finding("charset", "ok", f"each text is kept as {CHARSET}, whatever the default of the database")
    cure = "restart a worker, or run `saga-es db upgrade`: it makes them anew"
    return Finding("charset", "warning", f"these lack characters: {', '.join(narrow)}; {cure}")


def judge(variables: dict[str, str]) -> Iterator[Finding]:
    """The findings about these variables of a server."""
    said = {name.lower(): value for name, value in variables.items()}
    product = "MariaDB" if "mariadb" in said["version"].lower() else "MySQL"
    yield Finding("database", "ok", f"{product} {said['version']}")
    isolation = said.get("transaction_isolation", said.get("tx_isolation", "?"))
    yield Finding("isolation", "ok", f"{isolation.lower()}; versions decide, so each level will do")
    if said.get("read_only", "OFF") in {"ON", "1"}:
        yield Finding("writable", "fault", "read_only=ON: it takes no writes; connect to the primary")
    why = "a crash may lose what was acknowledged; set it to 1"
    yield _is_one("durability", said, "innodb_flush_log_at_trx_commit", "fault", why)
    doublewrite = said.get("innodb_doublewrite", "?")
    yield durability("innodb_doublewrite", doublewrite, ("OFF", "0"), "a power cut may damage the database; turn it on")
    if said.get("log_bin", "OFF") in {"ON", "1"}:
        why = "a crash may lose from the binary log, and so from replicas, what was acknowledged; set it to 1"
        yield _is_one("binary log", said, "sync_binlog", "warning", why)


def _is_one(subject: str, said: dict[str, str], name: str, if_not: Verdict, why: str) -> Finding:
    value = said.get(name, "?")
    return Finding(subject, "ok", f"{name}=1") if value == "1" else Finding(subject, if_not, f"{name}={value}: {why}")


def log_size(connection: Connection, log: str) -> LogSize:
    """The size of the log with its indexes, by the server's statistics; it does not say what its disk has left."""
    found = connection.execute(_LOG_SIZE, {"log": log}).one()
    return LogSize(int(found.size or 0), int(found.events) if found.events else None)
