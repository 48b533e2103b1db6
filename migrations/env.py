"""Alembic's entry point: on a connection that saga_es hands over, or on its own by `alembic upgrade head`."""

from alembic import context
from sqlalchemy.engine import Connection

from saga_es.node.settings import Settings
from saga_es.store.admin.migrate import VERSION_TABLE
from saga_es.store.database import Database
from saga_es.store.tables import metadata


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
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
    with Database(Settings.load().database_url).writing() as own:
        _run(own)
