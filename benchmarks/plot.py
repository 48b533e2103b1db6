"""The figure of the docs: sagas a second of saga_es and its peers, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from benchmarks.row import Row, middle

OURS, PEER = "#1b6e53", "#b8b8b8"


def draw(rows: Sequence[Row], file: Path) -> None:
    """Draw a pair of bars for each row that compares a rate of saga_es with that of a peer."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "saga_es", "font.family": "sans-serif"})
    from matplotlib import pyplot as plt  # noqa: PLC0415 (after the back end was chosen)

    pairs = [(row.what, *_rates(row)) for row in rows if _rates(row)]
    figure, axes = plt.subplots(figsize=(9, 0.62 * len(pairs) + 1))
    for place, (_, ours, peer) in enumerate(reversed(pairs)):
        for offset, rate, colour in ((0.2, ours, OURS), (-0.2, peer, PEER)):
            axes.barh(place + offset, rate, height=0.36, color=colour)
            axes.text(rate * 1.05, place + offset, f"{rate:,.0f}", va="center", fontsize=8)
    axes.set_yticks(range(len(pairs)), [what for what, *_ in reversed(pairs)], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("sagas a second; green: saga_es, at full durability; grey: the peer")
    axes.margins(x=0.15)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _rates(row: Row) -> tuple[float, float] | tuple[()]:
    match list(row.figures.items()):
        case [("ours", [{"per_s": _}, *_] as ours), (_, [{"per_s": _}, *_] as peers)]:
            return middle(ours, "per_s"), middle(peers, "per_s")
        case _:
            return ()
