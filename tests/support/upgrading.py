"""A process that upgrades a database when it is told to, with a view of sagas alone; says on stderr what it made."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

from saga_es.store.admin import migrate
from saga_es.store.database import Database
from saga_es.store.log.codec import Codec
from saga_es.store.log.log import Log
from saga_es.store.views.kinds import Views
from saga_es.store.views.saga_view import saga_view


def main(url: str, told: str) -> None:
    """It is told by a file that appears."""
    warnings.simplefilter("error")
    database = Database(url)
    sys.stderr.write("ready\n")
    while not Path(told).exists():
        time.sleep(0.001)
    sys.stderr.write(f"{migrate.upgrade(database, Log(database, Codec()), Views([saga_view]))}\n")
    migrate.check(database)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
