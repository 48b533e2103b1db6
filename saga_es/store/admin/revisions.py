"""Alembic, called from Python. Import this module only where there is something to migrate."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection


def config(connection: Connection | None = None) -> Config:
    """The Alembic configuration; bound to a connection if there is one."""
    made = Config()
    made.set_main_option("script_location", str(_location()))
    made.attributes["connection"] = connection
    return made


def newest() -> str | None:
    """The newest revision among the migrations."""
    return ScriptDirectory.from_config(config()).get_current_head()


def upgrade(connection: Connection) -> None:
    """Bring the connection's database to the newest revision."""
    command.upgrade(config(connection), "head")


def _location() -> Path:
    package = Path(__file__).resolve().parents[2]
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
