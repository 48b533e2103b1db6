"""The axis of a timeline: from moments to places between 0 and 100, with idle time folded, true, or by event."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import msgspec

Mode = Literal["folded", "true", "event"]
MODES: tuple[Mode, ...] = ("folded", "true", "event")

LONG = 0.12
"""The part of the whole from which on a stretch without a moment is folded."""

FOLD = 6.0
"""The width of a fold, in per cent."""

MOST_FOLDS = 6
NEVER_FOLDED = timedelta(seconds=10)
"""Before the present, this much is always shown as it is."""

FEW_TICKS = 6

_NICE = [
    *(part * 10.0**power for power in range(-3, 0) for part in (1, 2, 5)),
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400),
    *(172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000),
]


class Stretch(msgspec.Struct, frozen=True):
    """A part of the axis within which one scale holds: from `begin` to `end`, drawn from `left` to `right`."""

    begin: datetime
    end: datetime
    left: float
    right: float
    is_folded: bool = False

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.begin).total_seconds()


class Tick(msgspec.Struct, frozen=True):
    """A tick with its label."""

    place: float
    label: str


class Axis(msgspec.Struct, frozen=True):
    """Stretches one after the other, from 0 to 100."""

    stretches: tuple[Stretch, ...]

    def place(self, at: datetime) -> float:
        """Where a moment stands; what is outside stands at the edge."""
        index = bisect_right([stretch.begin for stretch in self.stretches], at) - 1
        stretch = self.stretches[max(0, index)]
        part = (at - stretch.begin).total_seconds() / stretch.seconds if stretch.seconds else 0.0
        return stretch.left + min(1.0, max(0.0, part)) * (stretch.right - stretch.left)

    @property
    def folds(self) -> list[Stretch]:
        """The stretches that are folded."""
        return [stretch for stretch in self.stretches if stretch.is_folded]

    @property
    def ticks(self) -> list[Tick]:
        """Ticks at round times, in the stretches that are not folded."""
        shown = [stretch for stretch in self.stretches if not stretch.is_folded]
        seconds = sum(stretch.seconds for stretch in shown)
        step = next((nice for nice in _NICE if nice * FEW_TICKS >= seconds), _NICE[-1])
        ticks: list[Tick] = []
        for stretch in shown:
            ticks += _ticks_of(stretch, step, ticks[-1].place if ticks else -100.0)
        return ticks


def axis(moments: Sequence[datetime], now: datetime | None, mode: Mode) -> Axis:
    """The axis over these moments, which are in order and at least one."""
    if len(moments) < 2 or moments[0] == moments[-1]:  # noqa: PLR2004 (two make a stretch)
        end = moments[0] + timedelta(milliseconds=1)
        return Axis((Stretch(moments[0], end, 0.0, 100.0),))
    if mode == "event":
        width = 100.0 / (len(moments) - 1)
        return Axis(
            tuple(Stretch(one, other, i * width, (i + 1) * width) for i, (one, other) in enumerate(pairwise(moments)))
        )
    folded = _to_fold(moments, now) if mode == "folded" else set()
    return Axis(tuple(_laid_out(moments, folded)))


def _to_fold(moments: Sequence[datetime], now: datetime | None) -> set[tuple[datetime, datetime]]:
    whole = moments[-1] - moments[0]
    gaps = [(one, _before_now(one, other, now)) for one, other in pairwise(moments)]
    long = [(one, other) for one, other in gaps if other - one > LONG * whole]
    folded = set(sorted(long, key=lambda gap: gap[0] - gap[1])[:MOST_FOLDS])
    shown = whole - sum((other - one for one, other in folded), timedelta())
    return folded if shown else set()  # where everything would be folded, nothing is idle


def _before_now(begin: datetime, end: datetime, now: datetime | None) -> datetime:
    return max(begin, now - NEVER_FOLDED) if now is not None and end == now else end


def _laid_out(moments: Sequence[datetime], folded: set[tuple[datetime, datetime]]) -> list[Stretch]:
    cuts = sorted({moments[0], moments[-1], *(at for gap in folded for at in gap)})
    parts = list(pairwise(cuts))
    open_s = sum((end - begin).total_seconds() for begin, end in parts if (begin, end) not in folded)
    width = 100.0 - FOLD * len(folded)
    stretches, left = [], 0.0
    for begin, end in parts:
        is_folded = (begin, end) in folded
        right = left + (FOLD if is_folded else width * (end - begin).total_seconds() / open_s)
        stretches.append(Stretch(begin, end, left, right, is_folded))
        left = right
    return stretches


LABELS_APART = 9.0
"""How near two labels may stand, in per cent."""


def _ticks_of(stretch: Stretch, step: float, last: float) -> list[Tick]:
    first = -(-stretch.begin.timestamp() // step) * step
    count = int((stretch.end.timestamp() - first) // step) + 1
    ticks: list[Tick] = []
    for number in range(min(count, 4 * FEW_TICKS)):
        at = datetime.fromtimestamp(first + number * step, UTC)
        part = (at - stretch.begin).total_seconds() / stretch.seconds if stretch.seconds else 0.0
        place = stretch.left + part * (stretch.right - stretch.left)
        if place - last >= LABELS_APART and place <= 100.0 - LABELS_APART / 2:
            ticks.append(Tick(place, _label(at, step)))
            last = place
    return ticks


def _label(at: datetime, step: float) -> str:
    if step >= 86_400:  # noqa: PLR2004 (a day)
        return f"{at:%d %b}"
    if step >= 60:  # noqa: PLR2004 (a minute)
        return f"{at:%H:%M}"
    if step >= 1:
        return f"{at:%H:%M:%S}"
    return f"{at:%M:%S}.{at.microsecond // 1000:03}"


def span(seconds: float) -> str:
    """A length of time in words: `640 ms`, `1.9 s`, `1:40`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.5:  # noqa: PLR2004 (what rounds to a minute is one)
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 3600:  # noqa: PLR2004 (an hour)
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    hours, minutes = divmod(whole // 60, 60)
    if hours < 24:  # noqa: PLR2004 (a day)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"
