"""`saga-es`, as it runs on another host: one with a name of its own, and a clock that may be wrong.

Two processes on one machine see each other's end at once. That a host has gone is seen by its silence alone, so these
tests let each process say that it runs on a machine of its own.
"""

from __future__ import annotations

import sys

from saga_es.cli import main
from saga_es.store import host_time, process


def become(name: str, fast_s: float) -> None:
    """Be that host from now on, with a clock that is so many seconds fast."""
    process._host = lambda: name
    right_s = host_time._seconds
    vars(host_time)["_seconds"] = lambda: right_s() + fast_s


if __name__ == "__main__":
    host, seconds, *arguments = sys.argv[1:]
    become(host, float(seconds))
    main(arguments, prog_name="saga-es")
