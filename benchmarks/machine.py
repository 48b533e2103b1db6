"""The conditions of a run: the machine, the versions, and the load."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.databases import server_version


def about() -> dict[str, str]:
    """The facts that are needed to compare figures of two runs."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores, {_cpu()}, {_memory_gb():.0f} GB, {platform.system()} {platform.release()}",
        "busy": f"load average before the run {os.getloadavg()[0]:.2f}",
        "python": sys.version.split()[0],
        "sqlite": f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL",
        "postgresql": server_version() or "none",
        "packages": ", ".join(
            f"{name} {_version(name)}" for name in ("saga-es", "dbos", "sqlalchemy", "msgspec", "psycopg")
        )
        + _sqlite_of_dbos(),
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _sqlite_of_dbos() -> str:
    try:
        import pysqlite3  # noqa: PLC0415 (only DBOS needs it)
    except ImportError:
        return ""
    return f" (DBOS on SQLite {pysqlite3.sqlite_version})"
