"""A timeline as SVG: one small drawing for each row, with horizontal places in per cent.

Only presentation attributes and classes are used: the pages' policy forbids style attributes. Patterns are referred to
by attribute, because a stylesheet's reference would be sought in the stylesheet's own file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import LiteralString

from markupsafe import Markup

from saga_es.console.axis import Axis, span
from saga_es.console.marks import Kind, Mark
from saga_es.console.timeline import Row, Timeline

TOP, HEIGHT, ROW = 8, 14, 30
NARROW = 1.6
"""A hollow mark narrower than this, in per cent, gets a fixed width."""

FLIPS_AT = 62.0
"""Words beside a mark that begins farther to the right stand on its left."""

LONGEST_WORDS = 60
BINS = 28


def draw(row: Row, axis: Axis, whole: Timeline) -> Markup:
    """The drawing of one row."""
    inside = [_folds(axis, ROW), _pauses(whole, axis), *(_mark(mark, row, axis) for mark in row.marks)]
    inside += [_words(row, axis), _now(whole, axis, ROW)]
    return _svg(Markup().join(inside), ROW)


def draw_axis(axis: Axis, whole: Timeline) -> Markup:
    """The ruler above the rows: ticks, folds with their lengths, and the present."""
    inside = [*_ticks(axis, whole)]
    for fold in axis.folds:
        middle = (fold.left + fold.right) / 2
        inside.append(
            shape(
                '<text class="fold" x="{}" y="11" text-anchor="middle">{}</text>'
                '<svg x="{}" width="{}" y="14" height="9"><rect width="100%" height="9" fill="url(#p-zigzag)"/></svg>',
                _per(middle),
                span(fold.seconds),
                _per(fold.left),
                _per(fold.right - fold.left),
            )
        )
    if whole.now is not None:
        place = _per(axis.place(whole.now))
        label = '<svg x="{}" overflow="visible"><rect class="nowbox" x="-17" y="1" width="34" height="16" rx="3"/>'
        label += '<text class="nowtext" x="0" y="13" text-anchor="middle">now</text></svg>'
        inside.append(shape(label, place))
        inside.append(shape('<line class="now" x1="{0}" x2="{0}" y1="17" y2="24"/>', place))
    return _svg(Markup().join(inside), 24)


PHONE = 20.0
"""How near two labels may stand on a phone, in per cent."""


def _ticks(axis: Axis, whole: Timeline) -> Iterator[Markup]:
    """Ticks with labels that touch neither each other nor another mark; those that would on a phone are `wide`."""
    last = -100.0
    for tick in axis.ticks:
        if _is_taken(tick.place, axis, whole, 7):
            continue
        is_wide = tick.place - last < PHONE or _is_taken(tick.place, axis, whole, PHONE)
        label = '<g class="{0}"><text class="tick" x="{1}" y="12">{2}</text>'
        label += '<line class="tl" x1="{1}" x2="{1}" y1="17" y2="22"/></g>'
        yield shape(label, "wide" if is_wide else "any", _per(tick.place), tick.label)
        last = last if is_wide else tick.place


def _is_taken(place: float, axis: Axis, whole: Timeline, apart: float) -> bool:
    """Whether a label from here on would touch that of a fold, or of the present."""
    is_now = whole.now is not None and abs(axis.place(whole.now) - place) < apart
    return is_now or any(fold.left - apart < place < fold.right for fold in axis.folds)


def draw_true(axis: Axis, whole: Timeline) -> Markup:
    """The thin strip with true proportions, in which the unfolded stretches are framed."""
    seconds = (axis.stretches[-1].end - axis.stretches[0].begin).total_seconds() or 1.0
    inside = [Markup('<rect class="trueline" x="0" y="3" width="100%" height="4" fill="url(#p-wait)"/>')]
    for stretch in axis.stretches:
        if not stretch.is_folded:
            left = (stretch.begin - axis.stretches[0].begin).total_seconds() / seconds * 100
            width = stretch.seconds / seconds * 100
            inside.append(_rect("trueframe", left, width, y=1, height=8, least=4))
    if whole.turned is not None:
        at = (whole.turned - axis.stretches[0].begin).total_seconds() / seconds * 100
        inside.append(shape('<line class="turned" x1="{0}" x2="{0}" y1="0" y2="10"/>', _per(at)))
    return _svg(Markup().join(inside), 10)


def draw_turned(axis: Axis, whole: Timeline) -> Markup:
    """The row between the lanes, in which the saga aborts."""
    if whole.turned is None:
        return Markup()
    place = axis.place(whole.turned)
    flips = place > 10  # noqa: PLR2004 (room for the label)
    label = shape(
        '<line class="turned" x1="{0}" x2="{0}" y1="4" y2="30"/><svg x="{0}" overflow="visible">'
        '<text class="turnedtext" x="{1}" y="19" text-anchor="{2}">aborts</text></svg>',
        _per(place),
        -7 if flips else 7,
        "end" if flips else "start",
    )
    return _svg(_folds(axis, ROW) + label + _now(whole, axis, ROW), ROW)


CELLS_A_LINE = 60
CELL = 10


def draw_matrix(states: Sequence[str]) -> Markup:
    """One cell for each element, in order; one path for each state. Above 1,000 a cell stands for several."""
    each = 1
    while len(states) / each > 1000:  # noqa: PLR2004 (cells)
        each *= 10
    cells = [_worst(states[start : start + each]) for start in range(0, len(states), each)]
    paths = [
        shape(
            '<path class="cell c-{}" d="{}"/>',
            state,
            "".join(_cell(place) for place, other in enumerate(cells) if other == state),
        )
        for state in dict.fromkeys(cells)
    ]
    lines = -(-len(cells) // CELLS_A_LINE)
    width = CELL * min(CELLS_A_LINE, len(cells))
    shown = '<svg class="matrix" viewBox="0 0 {0} {1}" width="{0}" height="{1}" aria-hidden="true">{2}</svg>'
    return shape(shown, width, lines * CELL, Markup().join(paths))


_WORST = ("failed", "retry", "undoing", "progress", "wait", "pending", "undone", "ok", "skipped")


def _worst(states: Sequence[str]) -> str:
    return next(state for state in _WORST if state in states)


def _cell(place: int) -> str:
    line, column = divmod(place, CELLS_A_LINE)
    return f"M{column * CELL + 1} {line * CELL + 1}h8v8h-8z"


def draw_versions(kinds: Sequence[str], current: int) -> Markup:
    """Up to 200 bars behind the slider: how many events each stretch holds, forward (f) and backward (b)."""
    per = max(1, -(-len(kinds) // 200))
    groups = [kinds[start : start + per] for start in range(0, len(kinds), per)]
    width = 100 / len(groups)
    bars = []
    for place, group in enumerate(groups):
        height = 4 + 12 * len(group) / per
        lane = "vb" if "b" in group else "vf"
        past = "" if place * per < current else " later"
        bar = '<rect class="{}{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>'
        bars.append(shape(bar, lane, past, _per(place * width), 16 - height, _per(width * 0.7), height))
    return _svg(Markup().join(bars), 16)


def draw_trend(counts: Sequence[int], state: str) -> Markup:
    """One bar for each count, over a line."""
    most = max(counts) or 1
    form = '<rect class="m-{}" x="{}" y="{}" width="4" height="{}" rx="1"/>'
    bars = [
        shape(form, state, place * 5, 24 - max(3, round(22 * count / most)), max(3, round(22 * count / most)))
        for place, count in enumerate(counts)
        if count
    ]
    line = '<line class="trendline" x1="0" x2="{}" y1="24.5" y2="24.5"/>'
    frame = '<svg class="trend" width="{0}" height="26" viewBox="0 0 {0} 26" aria-hidden="true">{1}</svg>'
    width = 5 * len(counts)
    return shape(frame, width, shape(line, width) + Markup().join(bars))


# ── Parts ────────────────────────────────────────────────────────────────────────────────────────────────


def shape(form: LiteralString, *values: object) -> Markup:
    """A piece of markup of ours, with values, which are escaped."""
    return Markup(form).format(*values)  # noqa: S704 (the form is ours, as its type says)


def _svg(inside: Markup, height: int) -> Markup:
    return shape(
        '<svg class="draw" width="100%" height="{}" aria-hidden="true" focusable="false">{}</svg>', height, inside
    )


def _per(place: float) -> str:
    return f"{place:.2f}%".replace(".00%", "%")


def _rect(name: str, left: float, width: float, *, y: int = TOP, height: int = HEIGHT, least: int = 3) -> Markup:
    """A rectangle in per cent, and one of the least width at its place, which shows where the first is too thin."""
    form = '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="3"/>'
    thin = Markup() if width > NARROW else shape(form, name, _per(left), y, least, height)
    return thin + shape(form, name, _per(left), y, _per(width), height)


def _at(place: float, inside: LiteralString, *values: object) -> Markup:
    """An ornament of fixed size at a place."""
    return shape('<svg x="{}" overflow="visible">{}</svg>', _per(place), shape(inside, *values))


def _folds(axis: Axis, height: int) -> Markup:
    return Markup().join(
        shape(
            '<rect class="folded" x="{}" y="0" width="{}" height="{}"/>',
            _per(fold.left),
            _per(fold.right - fold.left),
            height,
        )
        for fold in axis.folds
    )


def _pauses(whole: Timeline, axis: Axis) -> Markup:
    return Markup().join(
        _rect("pausedbar", axis.place(begin), axis.place(end) - axis.place(begin), y=13, height=4)
        for begin, end, _ in whole.pauses
    )


def _now(whole: Timeline, axis: Axis, height: int) -> Markup:
    if whole.now is None:
        return Markup()
    return shape('<line class="now" x1="{0}" x2="{0}" y1="0" y2="{1}"/>', _per(axis.place(whole.now)), height)


def _mark(mark: Mark, row: Row, axis: Axis) -> Markup:
    left = axis.place(mark.begin)
    width = max(0.0, axis.place(mark.end) - left)
    if row.size is not None:
        return _histogram(mark, row, axis, left, width)
    return _solid(mark, left, width) or _ornate(mark, row, left, width)


_SOLID: dict[Kind, str] = {
    "ran": "m-ok",
    "running": "m-progress",
    "undone": "m-undo",
    "undoing": "m-undo open",
    "failed": "m-failed",
}
_CHEVRONS: tuple[Kind, ...] = ("undone", "undoing")


def _solid(mark: Mark, left: float, width: float) -> Markup:
    name = _SOLID.get(mark.kind)
    if name is None:
        return Markup()
    drawn = _rect(name, left, width, least=14 if mark.kind == "failed" else 3)
    if mark.kind in _CHEVRONS and width > NARROW:
        chevrons = '<rect x="{}" y="{}" width="{}" height="{}" fill="url(#p-chevron)"/>'
        drawn += shape(chevrons, _per(left), TOP, _per(width), HEIGHT)
    if mark.kind == "failed":
        place = left if width <= NARROW else left + width
        drawn += _cross(place, "cross-on", 3 if width <= NARROW else -11)
    if mark.kind == "running":
        drawn += _at(left + width, '<path class="bracket" d="M1 9h9M1 21h9"/>')
    if mark.attempt > 1 and width > 4:  # noqa: PLR2004 (room for the number)
        drawn += _at(left, '<text class="onmark" x="6" y="19">{}</text>', mark.attempt)
    return drawn


def _cross(place: float, name: str, x: int) -> Markup:
    return _at(place, '<path class="{}" d="M{} 11l8 8m0 -8l-8 8"/>', name, x)


def _ornate(mark: Mark, row: Row, left: float, width: float) -> Markup:  # noqa: C901, PLR0911 (a table: one case a kind)
    right = left + width
    match mark.kind:
        case "failed-try":
            if width <= NARROW:
                return _rect("m-try", left, 0, least=14) + _cross(left, "cross-try", 3)
            return _rect("m-try", left, width) + _cross(right, "cross-try", -11)
        case "back-off" | "many-tries":
            line = '<line class="m-backoff" x1="{0}" x2="{1}" y1="15" y2="15"/>'
            line += '<line class="m-tick" x1="{1}" x2="{1}" y1="11" y2="19"/>'
            return shape(line, _per(left), _per(right))
        case "unknown":
            return _patterned("m-unknown", "p-unknown", left, width) + _at(
                left + max(width, NARROW), '<path class="torn" d="M0 8l-3 3 3 3-3 3 3 3-3 2"/>'
            )
        case "wait" | "waiting":
            flag = '<path class="flag" d="M0 5v19M0 6h9l-2 3 2 3h-9z"/>'
            clock = '<circle class="clock" cx="0" cy="15" r="5"/><path class="clockhand" d="M0 12v3h2"/>'
            end = Markup() if mark.kind == "waiting" else _at(right, flag if row.is_signal else clock)
            return _patterned("m-wait", "p-wait", left, width) + end
        case "child" | "child-running":
            frame = _rect("m-child", left, width, least=14)
            inner = (
                '<svg x="{}" width="{}" y="12" height="6"><rect width="100%" height="6" fill="url(#p-child)"/></svg>'
            )
            return frame + shape(inner, _per(left), _per(width))
        case "planned":
            return _at(left, '<rect class="m-planned" x="1" y="8" width="22" height="14" rx="3"/>')
        case "skipped":
            return _at(left, '<rect class="m-skip" x="0" y="11" width="40" height="8" rx="4"/>') + _at(
                left, '<path class="m-skiparrow" d="M4 15h30m-4 -3l4 3l-4 3"/>'
            )
        case "probe":
            return _at(
                left, '<circle class="probe" cx="8" cy="15" r="7"/><text class="probetext" x="5" y="19">?</text>'
            )
        case _:
            return Markup()


def _patterned(name: str, pattern: str, left: float, width: float) -> Markup:
    form = '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="3" fill="url(#{})"/>'
    thin = Markup() if width > NARROW else shape(form, name, _per(left), TOP, 12, HEIGHT, pattern)
    return thin + shape(form, name, _per(left), TOP, _per(width), HEIGHT, pattern)


def _histogram(mark: Mark, row: Row, axis: Axis, left: float, width: float) -> Markup:
    """The ends of the elements over time, in bins of equal width on the axis."""
    lane = "undo" if mark.kind == "undone" else "ok"
    if width <= NARROW:
        return _rect(f"m-{lane}", left, width, least=14)
    ground = _rect(f"h-ground h-{lane}", left, width, y=5, height=20, least=14)
    counts = [0] * BINS
    for at in row.ends:
        counts[min(BINS - 1, int((axis.place(at) - left) / width * BINS) if width else 0)] += 1
    most, bar = max(counts, default=0) or 1, width / BINS
    form = '<rect class="m-{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>'
    bars = [
        shape(form, lane, _per(left + i * bar), 25 - 18 * n / most, _per(bar * 0.7), 18 * n / most)
        for i, n in enumerate(counts)
        if n
    ]
    return ground + Markup().join(bars)


def _words(row: Row, axis: Axis) -> Markup:
    """What stands beside the last mark with words, or in place of marks."""
    told = [mark for mark in row.marks if mark.kind not in {"back-off", "planned"}][-1:]
    spoken = next((mark for mark in told if mark.words), None)
    if spoken is None:
        where = axis.stretches[-1].right * 0.5
        return _text(row.note, where, "note", flips=False, apart=0) if row.note else Markup()
    last = row.marks[-1]
    left, right = axis.place(spoken.begin), axis.place(last.end)
    name = "words bad" if spoken.kind == "failed" else "words"
    if right > FLIPS_AT:
        return _text(spoken.words, axis.place(row.marks[0].begin), name, flips=True, apart=8) if left > 25 else Markup()  # noqa: PLR2004 (room)
    fixed = {"planned": 30, "skipped": 48, "probe": 22}.get(last.kind, 0)
    return _text(spoken.words, right, name, flips=False, apart=max(fixed, 16 if right - left <= NARROW else 0) + 6)


def _text(words: str, place: float, name: str, *, flips: bool, apart: int) -> Markup:
    short = words if len(words) <= LONGEST_WORDS else f"{words[: LONGEST_WORDS - 1]}…"
    anchor = "end" if flips else "start"
    form = '<svg x="{}" overflow="visible"><text class="{}" x="{}" y="19" text-anchor="{}">{}</text></svg>'
    return shape(form, _per(place), name, -apart if flips else apart, anchor, short)


def took(row: Row) -> str:
    """The short fact at the right of a row's name."""
    if row.tries > 1:
        return f"{row.tries} tries"
    begun = [mark for mark in row.marks if mark.kind not in {"planned", "back-off", "skipped", "probe"}]
    if not begun:
        return ""
    return span((_last_end(begun) - begun[0].begin).total_seconds())


def _last_end(marks: Sequence[Mark]) -> datetime:
    return max(mark.end for mark in marks)
