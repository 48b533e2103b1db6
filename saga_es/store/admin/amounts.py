"""Amounts as people read them in a finding: bytes, and lengths of time."""

from __future__ import annotations

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

_TIMES = ((2 * DAY_S, DAY_S, "days"), (2 * HOUR_S, HOUR_S, "h"), (120.0, 60.0, "min"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def lasting(seconds: float) -> str:
    """A length of time in its largest unit of which there are two."""
    for least, unit, name in _TIMES:
        if seconds >= least:
            return f"{_plainly(seconds / unit)} {name}"
    return f"{max(0.0, seconds):.0f} s"


def size(count: float) -> str:
    """A number of bytes in its largest unit."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{_plainly(count / unit)} {name}"
    return f"{count:.0f} bytes"


def _plainly(number: float) -> str:
    """A number with two digits that count."""
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:.0f}"  # noqa: PLR2004 (rounds to 10)
