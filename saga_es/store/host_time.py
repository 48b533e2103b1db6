"""The time of the host, also while a test of the application around us has frozen it.

Libraries that freeze time replace `datetime` and the functions of `time` in all modules. An engine that obeyed them
would never see a retry or a time-out become due.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

monotonic_s = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Seconds by a clock that never goes back, and stands still while the machine is suspended: nothing happens then."""

elapsed_s = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""The same, and the time for which the machine was suspended counts. Only Linux tells the two apart."""

_seconds = partial(time.clock_gettime, time.CLOCK_REALTIME)

from_timestamp = next(kind for kind in datetime.__mro__ if type(kind) is type).fromtimestamp  # type: ignore[attr-defined]
"""A time from seconds since 1970, as an instance of the class itself: some drivers accept no other."""


def host_now() -> datetime:
    """Aware UTC."""
    now: datetime = from_timestamp(_seconds(), UTC)
    return now
