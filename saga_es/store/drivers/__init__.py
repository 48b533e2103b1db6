"""One object per database, which answers every question of dialect.

The module of a database is imported when a URL or a connection of it is met: the dialects of SQLAlchemy are large.
"""

from saga_es.store.drivers.driver import Driver, register


def _sqlite() -> Driver:
    from saga_es.store.drivers.sqlite import SQLITE  # noqa: PLC0415 (see above)

    return SQLITE


def _postgresql() -> Driver:
    from saga_es.store.drivers.postgresql import POSTGRESQL  # noqa: PLC0415 (see above)

    return POSTGRESQL


def _mysql() -> Driver:
    from saga_es.store.drivers.mysql import MYSQL  # noqa: PLC0415 (see above)

    return MYSQL


register(_sqlite, "sqlite")
register(_postgresql, "postgresql", "postgres")
register(_mysql, "mysql", "mariadb")
