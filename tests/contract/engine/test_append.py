"""Participants in the same process append to their own streams through the engine, which is the only writer."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from saga_es.errors import PayloadUnencodable, SagaError, StoreUnavailable, VersionConflict
from tests.conftest import NOTE, TIMEOUT_S, NoteWritten, OpenEngine
from tests.support.trips import events_of


def test_a_participant_appends_to_its_own_streams(open_engine: OpenEngine) -> None:
    """When `append` returns, the events are in the log; at a version that is taken it raises, and they are not."""
    engine = open_engine()
    engine.append("n-1", NOTE, 0, [NoteWritten("a"), NoteWritten("b")])
    with pytest.raises(VersionConflict) as caught:
        engine.append("n-1", NOTE, 1, [NoteWritten("late")])
    assert (caught.value.stream_id, caught.value.expected_version) == ("n-1", 1)
    engine.append("n-1", NOTE, 2, [NoteWritten("c")])
    assert events_of(engine, "n-1") == [NoteWritten("a"), NoteWritten("b"), NoteWritten("c")]


def test_of_many_appends_to_one_version_exactly_one_wins(open_engine: OpenEngine) -> None:
    """Through two engines at once: one is told that it stands, the others that they are in conflict."""
    engines = [open_engine(), open_engine()]
    together = threading.Barrier(8)

    def append(n: int) -> int | None:
        together.wait(TIMEOUT_S)
        try:
            engines[n % 2].append("n-1", NOTE, 0, [NoteWritten(n)])
        except VersionConflict:
            return None
        return n

    with ThreadPoolExecutor(8) as threads:
        won = [n for n in threads.map(append, range(8)) if n is not None]
    assert len(won) == 1
    assert events_of(engines[0], "n-1") == [NoteWritten(won[0])]


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (math.nan, "NoteWritten.text.prices[1] is NaN, which JSON does not have; use None or a text"),
        (math.inf, "NoteWritten.text.prices[1] is infinite, which JSON does not have; use None or a text"),
        (-math.inf, "NoteWritten.text.prices[1] is infinite, which JSON does not have; use None or a text"),
    ],
    ids=["NaN", "infinity", "minus infinity"],
)
def test_a_number_that_json_does_not_have_is_refused_with_its_path(
    open_engine: OpenEngine, odd: float, why: str
) -> None:
    """It would have become null without a word; nothing of the append is in the log, and null itself may be."""
    engine = open_engine()
    with pytest.raises(PayloadUnencodable) as caught:
        engine.append("n-1", NOTE, 0, [NoteWritten(None), NoteWritten({"prices": [1.5, odd]})])
    assert str(caught.value) == why
    assert events_of(engine, "n-1") == []
    engine.append("n-1", NOTE, 0, [NoteWritten({"prices": [1.5, None]})])
    assert events_of(engine, "n-1") == [NoteWritten({"prices": [1.5, None]})]


@pytest.mark.parametrize(
    ("stream_id", "events"),
    [
        pytest.param("n-1", [], id="no events"),
        pytest.param("n-\ud800", [NoteWritten("a")], id="an id without a UTF-8 form"),
    ],
)
def test_an_append_that_makes_no_sense_disturbs_nobody(
    open_engine: OpenEngine, stream_id: str, events: list[object]
) -> None:
    """It is refused, or does nothing, to the one who asked; the engine goes on as the same worker."""
    engine = open_engine()
    worker = engine._worker.worker_id
    answers: list[object] = []

    def ask() -> None:
        try:
            engine.append(stream_id, NOTE, 0, events)
        except (SagaError, ValueError) as error:
            answers.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(3)
    assert not asking.is_alive(), "the one who asked is left waiting"
    assert not any(isinstance(answer, StoreUnavailable) for answer in answers)
    engine.append("n-2", NOTE, 0, [NoteWritten("b")])
    assert engine._worker.worker_id == worker
