"""A row of the table: what was measured, against what, and whether that is what we want."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, Literal

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table.

    Attributes:
        what: What was measured.
        ours: The engine's figure, with its unit.
        peer: What it is held against; None where the target is a figure of its own.
        value: What the target is about: a ratio, or a figure in the target's unit; None when it could not be measured.
        target: What we want `value` to be; None where it is not known which rows there would have been.
        better: Whether that is the least or the most.
        unit: Of value and target; `x` is a ratio.
        note: Why something was not measured, or what must be known to read it.
        figures: All that was measured, for the JSON.
    """

    what: str
    ours: str = ""
    peer: str | None = None
    value: float | None = None
    target: float | None = None
    better: Literal["least", "most"] = "least"
    unit: str = "x"
    note: str = ""
    figures: Mapping[str, Any] = {}

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None when nothing was measured."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.better == "least" else self.value <= self.target

    @property
    def wanted(self) -> str:
        """The target, as people write it."""
        if self.target is None:
            return "—"
        return f"{'≥' if self.better == 'least' else '≤'} {_plain(self.target)}{_suffix(self.unit)}"

    @property
    def measured(self) -> str:
        """What was measured, as people write it."""
        return "not measured" if self.value is None else f"{_plain(self.value)}{_suffix(self.unit)}"


def middle(rounds: list[dict[str, Any]], name: str) -> float:
    """The median of one figure over the rounds."""
    return float(median(one[name] for one in rounds))


def ratio_of(ours: list[dict[str, Any]], peers: list[dict[str, Any]], name: str) -> float:
    """The median of the ratios, each of two figures that were measured one right after the other."""
    return float(median(mine[name] / theirs[name] for mine, theirs in zip(ours, peers, strict=True)))


def _plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"  # noqa: PLR2004


def _suffix(unit: str) -> str:
    return {"x": "×", "%": " %"}.get(unit, f" {unit}")
