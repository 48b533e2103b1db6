"""A table with a column of each kind of value that a view may hold."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from saga_es.store.drivers.columns import UtcDateTime, key_text
from tests.conftest import Store

kinds = sa.Table(
    "kinds",
    sa.MetaData(),
    sa.Column("id", key_text(64), primary_key=True),
    sa.Column("text", sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")),
    sa.Column("number", sa.BigInteger),
    sa.Column("real", sa.Double),
    sa.Column("truth", sa.Boolean),
    sa.Column("day", sa.Date),
    sa.Column("at", UtcDateTime),
    sa.Column("tree", sa.JSON),
)


def make_kinds(store: Store) -> None:
    """Make it, empty."""
    with store.database.writing() as connection:
        kinds.drop(connection, checkfirst=True)
        kinds.create(connection)
