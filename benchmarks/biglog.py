"""Makes a log of many sagas in a minute: the engine runs one saga, and the database copies it under other ids.

The copies have the sizes, keys and indexes of real sagas. But their rows keep the hashes of the first one, so
`saga-es verify` would report them.
"""

from __future__ import annotations

import sqlite3

from benchmarks.contenders.work import INPUT, trip
from saga_es import open_engine

_NAMED = "printf('018c0000-0000-7000-8000-%012d', n)"
_AT = "strftime('%Y-%m-%dT%H:%M:%S', 1700000000 + n, 'unixepoch') || '.000000Z'"
_COMPUTED = {"stream_id": _NAMED, "saga_id": _NAMED, "recorded_at": _AT, "created_at": _AT, "updated_at": _AT}


def grow(url: str, sagas: int) -> None:
    """Make a database with so many completed sagas of ten events each, and with their rows in the view."""
    with open_engine(url, trip, log_level="warning") as engine:
        saga_id = engine.start(trip, INPUT).saga_id
        engine.follow(saga_id).result()
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute("PRAGMA synchronous = OFF")
    for table, key, order in (("saga_events", "stream_id", ", version"), ("sagas", "saga_id", "")):
        columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})") if name != "position"]
        values = ", ".join(_COMPUTED.get(name, name) for name in columns)
        connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
            f"SELECT {values} FROM numbers CROSS JOIN (SELECT * FROM {table} WHERE {key} = ?) ORDER BY n{order}",
            (sagas, saga_id),
        )
        connection.commit()
    # The figures of the copies are not wanted: a process would count them for minutes beside what is measured.
    end = "(SELECT max(position) FROM saga_events)"
    connection.execute(f"UPDATE saga_checkpoints SET position = {end} WHERE name = 'saga_figures'")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
