"""Alembic's entry point: on a connection that saga_es hands over, or on its own by `alembic upgrade head`."""

from alembic import context
from sqlalchemy import text
from sqlalchemy.engine import Connection

from saga_es.node.settings import Settings
from saga_es.store.admin.contracting import refuse_to_shut_out
from saga_es.store.database import Database
from saga_es.store.drivers.names import full
from saga_es.store.revision import current
from saga_es.store.tables import VERSION_TABLE, metadata


def _schema(connection: Connection) -> str | None:
    """The schema in which tables are made: another one of the search path may hold another saga_es."""
    return connection.scalar(text("SELECT current_schema()")) if connection.dialect.name == "postgresql" else None


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=full(connection, VERSION_TABLE),
        version_table_schema=_schema(connection),
        include_object=lambda _object, name, kind, reflected, _to: (
            not (
                kind == "table" and reflected and name not in metadata.tables  # views and the application's own tables
            )
        ),
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(
        url=Settings.load().database_url,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
elif (handed_over := context.config.attributes.get("connection")) is not None:
    _run(handed_over)
else:
    settings = Settings.load()
    with Database(settings.database_url, table_prefix=settings.table_prefix).writing() as own:
        refuse_to_shut_out(own, current(own), settings.lease_s)
        _run(own)
