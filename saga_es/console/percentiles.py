"""Percentiles as a mark, a box and a whisker on a logarithmic axis that all rows of a table share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from saga_es.console.drawing import shape
from saga_es.store.queries.figures import Durations

HEIGHT, NARROWEST = 18, 1.5


class Axis(msgspec.Struct, frozen=True):
    """From one power of ten to another, in seconds."""

    low: float
    high: float

    def place(self, seconds: float) -> float:
        """Where a duration stands, per cent of the width."""
        decades = math.log10(self.high / self.low)
        return min(100.0, max(0.0, 100 * math.log10(max(seconds, 1e-9) / self.low) / decades))

    @property
    def ticks(self) -> list[float]:
        """The powers of ten in between."""
        many = round(math.log10(self.high / self.low))
        return [self.low * 10**i for i in range(1, many)]


def axis_of(found: Sequence[Durations]) -> Axis:
    """The shortest axis for all of these; without any, from 10 ms to 10 s."""
    known = [one for took in found for one in (took.p50, took.p99) if one is not None and one > 0]
    if not known:
        return Axis(0.01, 10.0)
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return Axis(10.0**low, 10.0 ** max(high, low + 1))


def draw_durations(took: Durations, axis: Axis) -> Markup:
    """Half at the thick mark, 95 of 100 within the box, 99 within the whisker; empty where nothing is known."""
    if took.p50 is None or took.p95 is None or took.p99 is None:
        return Markup("")
    p50, p95, p99 = (axis.place(seconds) for seconds in (took.p50, took.p95, took.p99))
    ticks = Markup().join(
        shape('<line class="grid" x1="{0}%" x2="{0}%" y1="0" y2="{1}"/>', _per(axis.place(tick)), HEIGHT)
        for tick in axis.ticks
    )
    marks = shape(
        '<line class="whisker" x1="{0}%" x2="{2}%" y1="9" y2="9"/>'
        '<rect class="box" x="{0}%" y="5" width="{3}%" height="8"/>'
        '<line class="p50" x1="{0}%" x2="{0}%" y1="3" y2="15"/>'
        '<line class="whisker" x1="{2}%" x2="{2}%" y1="6" y2="12"/>',
        *(_per(p50), _per(p95), _per(p99), _per(max(NARROWEST, p95 - p50))),
    )
    form = '<svg class="durations" width="100%" height="{}" aria-hidden="true" focusable="false">{}{}</svg>'
    return shape(form, HEIGHT, ticks, marks)


def _per(place: float) -> str:
    return f"{place:.2f}"
