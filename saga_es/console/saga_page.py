"""What the page of one saga shows, now or at a version: the sentence, the timeline, the steps and the events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from markupsafe import Markup

from saga_es.console import drawing
from saga_es.console.axis import Mode, axis
from saga_es.console.rows import conditions_of
from saga_es.console.timeline import Row, element_states, timeline
from saga_es.core import events as e
from saga_es.core.describe import describe, plain
from saga_es.core.explain import Known, Past, Worker, explain
from saga_es.core.outcomes import Direction
from saga_es.errors import UnreadableEvent
from saga_es.node.explain import known_about
from saga_es.node.node import Node
from saga_es.runtime.ids import idempotency_key
from saga_es.store.log.chain import event_hash, genesis
from saga_es.store.log.entries import Entry, Recorded
from saga_es.store.log.log import Log
from saga_es.store.queries.difference import Change, differences
from saga_es.store.queries.past import Life, PastEvent, life_at
from saga_es.store.queries.story import SagaStory, StepStory, story

EVENTS_A_PAGE = 100
MOST_ROWS = 200
MOST_LANDMARKS = 12


class Drawn(msgspec.Struct, frozen=True):
    """A row of the timeline with its drawing."""

    row: Row
    svg: Markup
    fact: str
    matrix: Markup | None


class Picture(msgspec.Struct, frozen=True):
    """The timeline, drawn."""

    mode: Mode
    ruler: Markup
    true: Markup | None
    forward: list[Drawn]
    undo: list[Drawn]
    turned: Markup | None
    left_out: int
    pauses: list[tuple[datetime, datetime, str]]


class EventRow(msgspec.Struct, frozen=True):
    """One event as a row."""

    version: int
    type: str
    at: datetime
    sentence: str
    data: Any
    hash: str
    is_broken: bool


class Landmark(msgspec.Struct, frozen=True):
    """A version that one may want to go to."""

    version: int
    words: str


class SagaPage(msgspec.Struct, frozen=True):
    """Everything that the page shows.

    Attributes:
        seen: The version that is shown.
        latest: The version that the saga has reached.
        why: The sentence.
        bars: The marks behind the slider.
        until: The last version of the page of events.
        broken: Versions whose hash is not that of their content and past.
    """

    story: SagaStory
    seen: int
    latest: int
    why: str
    reasons: list[str]
    conditions: list[str]
    picture: Picture
    events: list[EventRow]
    until: int
    broken: list[int]
    bars: Markup
    landmarks: list[Landmark]
    keys: dict[str, str]

    @property
    def is_past(self) -> bool:
        """Whether the saga is shown as it was."""
        return self.seen < self.latest

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, if it has."""
        return self.story.updated_at if self.story.status.ended else None


def saga_page(
    node: Node, saga_id: str, version: int | None, mode: Mode, until: int | None, now: datetime
) -> tuple[SagaPage, Life]:
    """The page of a saga.

    Raises:
        NotFound: There is no such saga.
        SagaArchived: It was archived.
        NoSuchVersion: It has fewer events.
        UnreadableEvent: Not even its start can be read.
        StoreUnavailable: The database did not answer.
    """
    life = life_at(node.store.sagas, saga_id, version)
    told = story(life.state, life.history, life.unread)
    past = [(recorded.recorded_at, recorded.event) for recorded in life.history]
    seen = len(life.events)
    is_past = seen < life.latest
    known = _known_then(life, node) if is_past else _known_now(node, life)
    then = past[-1][0] if is_past else now
    explanation = explain(life.state, past, known, then)
    entries = node.store.log.entries_of([saga_id])[saga_id]
    whole = entries if node.whole is node else node.whole.store.log.entries_of([saga_id])[saga_id]
    broken = _broken(whole)  # a hash is that of an event as it was written, whatever of it is shown here
    until = min(seen, until or seen)
    shown = life.events[max(0, until - EVENTS_A_PAGE) : until]
    page = SagaPage(
        story=told,
        seen=seen,
        latest=life.latest,
        why=explanation.sentence,
        reasons=explanation.reasons,
        conditions=conditions_of(life.state, known),
        picture=_picture(life, past, mode, None if is_past or told.status.ended else now),
        events=[_event_row(node.store.log, found, entries, set(broken)) for found in reversed(shown)],
        until=until,
        broken=broken,
        bars=drawing.draw_versions(_lanes(entries), seen),
        landmarks=_landmarks(node, entries, seen),
        keys={step.step: idempotency_key(saga_id, step.step, Direction.ACTION) for step in told.steps},
    )
    return page, life


def _known_then(life: Life, node: Node) -> Known:
    """What can be said of the past: its owner lived; nothing else is recorded."""
    lives = Worker(0.0, is_gone=False, lease_s=node.settings.lease_s)
    return Known(owner=lives if life.state.owner else None)


def _known_now(node: Node, life: Life) -> Known:
    try:
        return known_about(node, life.state)
    except UnreadableEvent as error:
        return Known(missing=[f"a child saga cannot be read: {error}"])


# ── The timeline ─────────────────────────────────────────────────────────────────────────────────────────


def _picture(life: Life, past: Past, mode: Mode, now: datetime | None) -> Picture:
    whole = timeline(life.state, past, now)
    ruler = axis(whole.moments, now, mode)

    def drawn(row: Row) -> Drawn:
        matrix = drawing.draw_matrix(element_states(life.state, row.step)) if row.size is not None else None
        return Drawn(row, drawing.draw(row, ruler, whole), drawing.took(row), matrix)

    forward, undo = whole.forward[:MOST_ROWS], whole.undo[:MOST_ROWS]
    return Picture(
        mode=mode,
        ruler=drawing.draw_axis(ruler, whole),
        true=drawing.draw_true(ruler, whole) if ruler.folds else None,
        forward=[drawn(row) for row in forward],
        undo=[drawn(row) for row in undo],
        turned=drawing.draw_turned(ruler, whole) if whole.turned else None,
        left_out=len(whole.forward) - len(forward) + len(whole.undo) - len(undo),
        pauses=whole.pauses,
    )


# ── The events ───────────────────────────────────────────────────────────────────────────────────────────


def _event_row(log: Log, found: PastEvent, entries: Sequence[Entry], broken: set[int]) -> EventRow:
    version = found.version if isinstance(found, Recorded) else found.entry.version
    entry = entries[version - 1]
    sentence = describe(found.event) if isinstance(found, Recorded) else f"It cannot be read: {found.why}"
    shown = log.opened(entry) if isinstance(found, Recorded) else entry
    return EventRow(
        version=version,
        type=entry.type,
        at=entry.recorded_at,
        sentence=plain(sentence),
        data=msgspec.Raw(shown.text.encode()),
        hash=entry.hash,
        is_broken=version in broken,
    )


def _broken(entries: Sequence[Entry]) -> list[int]:
    """The versions whose hash does not follow from their content and from the hash before."""
    broken: list[int] = []
    previous = genesis(entries[0].stream_id) if entries else ""
    for place, entry in enumerate(entries, 1):
        about = (entry.stream_id, entry.category, entry.version, entry.type, entry.schema, entry.text)
        if entry.version != place or entry.hash != event_hash(previous, *about, entry.recorded_at):
            broken.append(entry.version)
        previous = entry.hash
    return broken


_BACKWARD = {"CompensationStarted", "CompensationCompleted", "CompensationFailed", "CompensationSkipped"}
_TURNS = {"SagaAborted", "SagaCancelled"}


def _lanes(entries: Sequence[Entry]) -> list[str]:
    return ["b" if entry.type in _BACKWARD or entry.type in _TURNS else "f" for entry in entries]


_LANDMARKS = (
    *("SignalReceived", "SagaAborted", "SagaCancelled", "SagaPaused", "SagaResumed", "RetryOrdered", "InputReplaced"),
    *("CompensationSkipped", "SagaReopened", "SagaResolved", "SagaFailed", "SagaCompleted", "SagaCompensated"),
)


def _landmarks(node: Node, entries: Sequence[Entry], seen: int) -> list[Landmark]:
    found = [entry for entry in entries if entry.type in _LANDMARKS]
    near = sorted(found, key=lambda entry: abs(entry.version - seen))[:MOST_LANDMARKS]
    return [
        Landmark(entry.version, _words(node, entry))
        for entry in sorted(near, key=lambda entry: entry.version)
        if entry.version != seen
    ]


def _words(node: Node, entry: Entry) -> str:
    try:
        event = node.store.log.decode(entry).event
    except UnreadableEvent:
        return entry.type
    match event:
        case e.SignalReceived(signal):
            return f"signal {signal}"
        case e.SagaAborted() | e.SagaCancelled():
            return "aborts"
        case _:
            return entry.type.removeprefix("Saga").lower()


# ── Steps and differences ────────────────────────────────────────────────────────────────────────────────


def compared(node: Node, saga_id: str, one: int, other: int) -> list[Change]:
    """What changed from the earlier of two versions to the later.

    Raises:
        NoSuchVersion: The saga has fewer events.
    """
    before, after = (life_at(node.store.sagas, saga_id, version) for version in sorted((one, other)))
    return differences(*(story(life.state, life.history, life.unread) for life in (before, after)))


def shown_elements(step: StepStory) -> list[StepStory]:
    """The elements of a step that a page lists: those that are not simply done come first."""
    elements = step.elements or []
    return sorted(elements, key=lambda element: element.status in {"COMPLETED", "COMPENSATED"})[:50]
