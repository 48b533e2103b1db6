"""One object per database, which answers every question of dialect."""

from saga_es.store.drivers.driver import register
from saga_es.store.drivers.mysql import MYSQL
from saga_es.store.drivers.postgresql import POSTGRESQL
from saga_es.store.drivers.sqlite import SQLITE

register(SQLITE, POSTGRESQL, MYSQL)
