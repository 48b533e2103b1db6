"""A plan as a graph: forward from left to right, each compensation below its step, the pivot marked."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from saga_es.console.drawing import LONGEST_WORDS, shape
from saga_es.core.plan import Child, Delay, Plan, Signal, StepPlan

WIDTH, HEIGHT, GAP_X, GAP_Y, UNDO = 150, 36, 44, 30, 22
LONGEST_NAME = 20


def columns(plan: Plan) -> dict[str, int]:
    """The column of each step: one behind the farthest step that it waits for."""
    found: dict[str, int] = {}
    for step in plan.steps:  # each is written after those that it waits for
        found[step.name] = max((found[before] + 1 for before in plan.after(step.name)), default=0)
    return found


def places(plan: Plan) -> dict[str, tuple[int, int]]:
    """The left upper corner of each step."""
    used: dict[int, int] = {}
    found: dict[str, tuple[int, int]] = {}
    for name, column in columns(plan).items():
        row = used.get(column, 0)
        used[column] = row + 1
        found[name] = (column * (WIDTH + GAP_X) + 8, row * (HEIGHT + UNDO + GAP_Y) + 8)
    return found


def draw_graph(plan: Plan, states: Mapping[str, str]) -> Markup:
    """The graph; `states` names the state of steps, as icons are named."""
    at = places(plan)
    edges = [_edge(at[before], at[step.name]) for step in plan.steps for before in plan.after(step.name)]
    nodes = [_node(step, at[step.name], states.get(step.name, "")) for step in plan.steps]
    width = max((x for x, _ in at.values()), default=0) + WIDTH + 16
    height = max((y for _, y in at.values()), default=0) + HEIGHT + UNDO + 16
    frame = '<svg class="graph" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">{3}</svg>'
    return shape(frame, width, height, _sentence(plan), Markup().join([*edges, *nodes]))


def _edge(begin: tuple[int, int], end: tuple[int, int]) -> Markup:
    x1, y1, x2, y2 = begin[0] + WIDTH, begin[1] + HEIGHT // 2, end[0], end[1] + HEIGHT // 2
    middle = (x1 + x2) // 2
    path = '<path class="edge" d="M{0} {1}C{2} {1} {2} {3} {4} {3}"/><path class="tip" d="M{5} {6}l-6 -3v6z"/>'
    return shape(path, x1, y1, middle, y2, x2, x2, y2)


def _node(step: StepPlan, at: tuple[int, int], state: str) -> Markup:
    x, y = at
    name = step.name if len(step.name) <= LONGEST_NAME else f"{step.name[: LONGEST_NAME - 1]}…"
    node = shape(
        '<rect class="node n-{}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>'
        '<text class="nodetext" x="{}" y="{}">{}</text>'
        "<title>{}</title>",
        *(
            state or "none",
            x,
            y,
            WIDTH,
            HEIGHT,
            3 if step.work else 8,
            x + 12,
            y + 22,
            name,
            _about(step)[:LONGEST_WORDS],
        ),
    )
    if step.kind == "pivot":
        node += shape('<path class="pivot" d="M{0} {1}v{2}"/>', x + WIDTH + GAP_X // 2, y - 4, HEIGHT + UNDO)
        node += shape('<text class="small" x="{}" y="{}">pivot</text>', x + WIDTH - 34, y - 2)
    if step.compensation is not None and step.work is None:
        undo = '<path class="undoline" d="M{0} {1}v8"/>'
        undo += '<rect class="undonode" x="{2}" y="{3}" width="66" height="16" rx="4"/>'
        undo += '<text class="undotext" x="{4}" y="{5}">‹ undo</text>'
        node += shape(undo, x + 24, y + HEIGHT, x + 8, y + HEIGHT + 6, x + 18, y + HEIGHT + 18)
    return shape("<g>{}</g>", node)


def _about(step: StepPlan) -> str:
    match step.work:
        case Delay(seconds):
            what = f"waits {seconds} s"
        case Signal():
            what = "waits for its signal"
        case Child(saga):
            what = f"runs the saga {saga}"
        case _:
            what = "calls" if step.over is None else f"calls for each of {step.over}"
    return f"{step.title}: {what}"


def _sentence(plan: Plan) -> str:
    return f"{plan.saga}: " + ", ".join(
        f"{step.name} after {' and '.join(plan.after(step.name)) or 'the start'}" for step in plan.steps
    )
