"""`saga-es`, as it runs on another host: one with a name of its own, and a clock that may be wrong.

Two processes on one machine see each other's end at once. That a host has gone is seen by its silence alone, so these
tests let each process say that it runs on a machine of its own.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, tzinfo
from typing import Self

from saga_es.cli import main
from saga_es.runtime.waiting import clock
from saga_es.store import process


def become(name: str, fast_s: float) -> None:
    """Be that host from now on, with a clock that is so many seconds fast."""

    class WrongTime(datetime):
        """What this host takes for the time."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            """The time, wrong."""
            return super().now(tz) + timedelta(seconds=fast_s)

        @classmethod
        def fromtimestamp(cls, timestamp: float, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            """A time that is told, whoever tells it: that is not a look at this clock."""
            return datetime.fromtimestamp(timestamp, tz)

    process._host = lambda: name
    if fast_s:
        vars(clock)["datetime"] = WrongTime


if __name__ == "__main__":
    host, seconds, *arguments = sys.argv[1:]
    become(host, float(seconds))
    main(arguments, prog_name="saga-es")
