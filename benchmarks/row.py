"""A row of the table: a figure of the engine, the figure it is compared with, and the target."""

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
        peer: The peer's figure, with its unit; None if there is no peer.
        value: The ratio or figure that is compared with the target; None if it could not be measured.
        target: The wanted value, in the same unit; None if the row failed before its target was known.
        better: Whether the target is the least or the most that `value` should be.
        unit: The unit of value and target; `x` is a ratio.
        note: Why something was not measured, or a remark that the reader needs.
        figures: All measured figures, for the JSON.
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
        """Whether the target is met; None if nothing was measured."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.better == "least" else self.value <= self.target

    @property
    def wanted(self) -> str:
        """The target as text."""
        if self.target is None:
            return "—"
        return f"{'≥' if self.better == 'least' else '≤'} {_plain(self.target)}{_suffix(self.unit)}"

    @property
    def measured(self) -> str:
        """The value as text."""
        return "not measured" if self.value is None else f"{_plain(self.value)}{_suffix(self.unit)}"


def middle(rounds: list[dict[str, Any]], name: str) -> float:
    """The median of one figure over the rounds."""
    return float(median(one[name] for one in rounds))


def ratio_of(ours: list[dict[str, Any]], peers: list[dict[str, Any]], name: str) -> float:
    """The median of the ratios of two figures that were measured right after each other."""
    return float(median(mine[name] / theirs[name] for mine, theirs in zip(ours, peers, strict=True)))


def _plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"  # noqa: PLR2004


def _suffix(unit: str) -> str:
    return {"x": "×", "%": " %"}.get(unit, f" {unit}")
