"""Triggers and their functions, for migrations: none is made, replaced or dropped that is somebody else's.

A function of a trigger outlives the table. Some databases know a trigger by its name alone, others by its table, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.errors import NotOurs
from saga_es.store.drivers.driver import driver_of

OUR_WORDS = ("saga_events is append-only", "saga_archives says what was removed")
"""Each of our functions refuses with some of these."""

_FUNCTION = sa.text(
    "SELECT prosrc FROM pg_proc WHERE proname = :name AND pronargs = 0 "
    "AND pronamespace = to_regnamespace(quote_ident(current_schema()))"
)


def make_function(connection: Connection, name: str, body: str) -> None:
    """Make a trigger function, where triggers need one; one that we left behind is replaced.

    Raises:
        NotOurs: Somebody else made a function of this name.
    """
    found = connection.scalar(_FUNCTION, {"name": name})
    if found is not None and not any(words in found for words in OUR_WORDS):
        raise NotOurs({name: "a function"})
    made = f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
    connection.execute(sa.text(made))


def is_there(connection: Connection, name: str, table: str) -> bool:
    """Whether a table has a trigger of this name, where triggers have names in the whole database.

    Raises:
        NotOurs: Another table has it.
    """
    on = driver_of(connection.dialect).table_of_trigger(connection, name)
    if on is not None and on.lower() != table.lower():
        raise NotOurs({name: f"a trigger on the table {on!r}"})
    return on is not None


def drop_if_there(connection: Connection, name: str, table: str) -> None:
    """Drop a trigger of a table of ours, if it has it.

    Raises:
        NotOurs: Another table has a trigger of this name.
    """
    if is_there(connection, name, table):
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
