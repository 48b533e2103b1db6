"""DBOS with the same four steps: `python -m benchmarks.contenders.dbos_peer URL`."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from benchmarks.contenders.asked import Answers, answer_all, load
from benchmarks.contenders.work import INPUT


def _ready() -> Answers:
    url = sys.argv[1]
    if url.startswith("sqlite"):
        _new_sqlite(url.removeprefix("sqlite:///"))
    from dbos import DBOS, DBOSConfig  # noqa: PLC0415 (after the driver was replaced)

    DBOS(config=DBOSConfig(name="trip", system_database_url=url, log_level="ERROR"))

    @DBOS.step()
    def flight(input: Any) -> dict[str, Any]:
        return {"flight_id": "f-7", "seats": input["seats"]}

    @DBOS.step()
    def hotel(flight: Any) -> dict[str, Any]:
        return {"hotel_id": "h-3", "near": flight["flight_id"]}

    @DBOS.step()
    def car(hotel: Any) -> dict[str, Any]:
        return {"car_id": "c-9", "at": hotel["hotel_id"]}

    @DBOS.step()
    def payment(input: Any) -> dict[str, Any]:
        return {"payment_id": "p-1", "amount": input["amount"]}

    @DBOS.workflow()
    def trip(input: Any) -> dict[str, Any]:
        booked = flight(input)
        car(hotel(booked))
        return payment(input)

    DBOS.launch()
    return {"load": lambda callers, seconds: load(lambda: trip(INPUT), callers, seconds), "about": _about}


def _new_sqlite(file: str) -> None:
    """Use a newer SQLite, which DBOS needs, and WAL, in which it is faster. The file keeps that mode."""
    import pysqlite3  # noqa: PLC0415

    sys.modules["sqlite3"] = pysqlite3
    with contextlib.closing(pysqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _about() -> dict[str, Any]:
    from importlib.metadata import version  # noqa: PLC0415

    return {"version": version("dbos")}


if __name__ == "__main__":
    answer_all(_ready)
