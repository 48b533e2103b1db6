"""The benchmarks' own words: what a row says, and what it does not say when there is nothing to say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.contender import Contender, Unable
from benchmarks.contenders.asked import load
from benchmarks.row import Row, ratio_of

HERE = {name: name for name in ("machine", "date", "busy", "sqlite", "postgresql", "packages", "python")}


def test_a_ratio_is_the_median_of_those_of_neighbours() -> None:
    """A machine that slows down in one round slows both: only what was measured side by side is compared."""
    ours = [{"per_s": 100.0}, {"per_s": 10.0}, {"per_s": 90.0}]
    peers = [{"per_s": 10.0}, {"per_s": 1.0}, {"per_s": 30.0}]
    assert ratio_of(ours, peers, "per_s") == 10.0


@pytest.mark.parametrize(
    ("better", "value", "met"), [("least", 6.0, True), ("least", 4.0, False), ("most", 4.0, True), ("most", 6.0, False)]
)
def test_a_target_is_the_least_or_the_most(better: str, value: float, met: bool) -> None:  # noqa: FBT001
    """Of a ratio more is better, of seconds less."""
    assert Row(what="it", value=value, target=5.0, better="least" if better == "least" else "most").met is met


def test_what_was_not_measured_has_no_ratio(tmp_path: Path) -> None:
    """A row whose peer could not run says why, and nothing that looks like a result."""
    page = tmp_path / "page.md"
    page.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    report.refresh(report.Run(HERE, "make bench", [Row(what="it", ours="9/s", target=5.0, note="no peer")]), page)
    text = page.read_text()
    assert "| it (no peer) | 9/s |  | not measured | ≥ 5× | — |" in text
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The table can be made again from the JSON alone."""
    run = report.Run(HERE, "make bench", [Row(what="it", value=2.0, target=1.0, figures={"rounds": [1.5, 2.5]})])
    report.write(run, tmp_path / "run.json")
    assert report.read(tmp_path / "run.json") == run


def test_what_stands_in_a_note_breaks_no_table(tmp_path: Path) -> None:
    """Reasons come from drivers and servers, in many lines and with any sign in them."""
    page = tmp_path / "page.md"
    page.write_text(f"{report.BEGIN}\n{report.END}\n")
    row = Row(what="it", note=str(Unable("no server:\n\tis it | running?")))
    report.refresh(report.Run(HERE, "make bench", [row]), page)
    assert r"| it (no server: is it \| running?) |  |  | not measured | — | — |" in page.read_text()


def test_a_call_that_fails_is_no_figure() -> None:
    """Half of a measurement would look like a fast one."""

    def fails() -> None:
        raise ConnectionError("no more connections")

    with pytest.raises(ConnectionError, match="no more"):
        load(fails, callers=2, seconds=0.05)


def test_only_what_comes_back_in_the_time_counts() -> None:
    """The first calls are made before it begins, the last come back when it is over."""
    calls: list[float] = []

    def once() -> None:
        calls.append(time.perf_counter())
        time.sleep(0.01)

    figures = load(once, callers=3, seconds=0.2)
    assert 0 < figures["done"] < len(calls)
    assert figures["p50_ms"] >= 10.0
    assert figures["done"] / figures["per_s"] == pytest.approx(0.2, abs=0.1)


def test_none_that_comes_back_is_no_figure() -> None:
    """A peer that hangs has no rate."""
    with pytest.raises(TimeoutError, match=r"none of 1 callers got an answer within 0\.02 s"):
        load(lambda: time.sleep(0.2), callers=1, seconds=0.02)


def test_a_contender_that_cannot_run_says_why() -> None:
    """Nobody measures half a pair without noticing."""
    with pytest.raises(Unable, match=r"ours: SettingsError.*mysql"):
        Contender("ours", "nothing://here")
