"""The sums of what was counted are those of each value by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.metrics.counting import Counting, Known
from saga_es.metrics.observed import WrittenBatch
from saga_es.metrics.series import STEP_S, Series
from saga_es.store.log.entries import Draft, Prepared
from saga_es.store.ports import Conflict, Written
from tests.conftest import AT


def samples(series: Series) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples but the times at which series were made."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in series.registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


def test_many_values_at_once_are_the_same_as_each_by_itself() -> None:
    """Also on the edges of buckets, and beyond the last of them."""
    values = [0.0, STEP_S[0], STEP_S[0] + 1e-9, STEP_S[-1], STEP_S[-1] + 1, 0.3, 0.3, 1e9, *STEP_S]
    one_by_one, at_once, labels = Series(), Series(), ("order", "pay", "action")
    for value in values:
        one_by_one.observe("step_duration_seconds", value, labels)
    at_once.observe_all("step_duration_seconds", values, labels)
    each, all_ = samples(one_by_one), samples(at_once)
    sums = [key for key in each if key[0].endswith("_sum")]
    assert {key: value for key, value in each.items() if key not in sums} == {
        key: value for key, value in all_.items() if key not in sums
    }
    assert all(abs(each[key] - all_[key]) < 1e-3 for key in sums)


def written(saga_id: str, *events: e.SagaEvent, after_s: float = 0.0, receipt: Any = None) -> WrittenBatch:
    """A batch with one draft."""
    draft = Draft(saga_id, "saga", 0, events, AT + timedelta(seconds=after_s))
    return WrittenBatch([Prepared(draft, [], [], 0)], [receipt or Written()], 0.001)


def test_each_kind_of_event_is_counted_once() -> None:
    """Elements count for their step; what another process began counts from what is known of it; the rest does not."""
    series = Series()
    counting = Counting(series, lambda ids: {"b": Known("order", AT)} if "b" in ids else {})
    for batch in (
        written("a", e.SagaStarted("order", "p", {}, "w"), e.StepStarted("seat[0]", 1), e.StepStarted("seat[1]", 1)),
        written("a", e.StepCompleted("seat[0]"), e.StepFailed("seat[1]", 1, "unavailable", "x", AT), after_s=1),
        written("a", e.StepStarted("seat[1]", 2), after_s=2, receipt=Conflict()),
        written("a", e.StepStarted("seat[1]", 2), after_s=2),
        written("b", e.SagaTakenOver("w"), e.StepCompleted("seat[0]"), e.SagaFailed("r", "ada"), after_s=2),
        written("c", e.SagaCompleted()),
        written("a", e.StepFailed("seat[1]", 2, "rejected", "x"), e.SagaAborted("seat[1]", "x"), after_s=4),
        written("a", e.CompensationStarted("seat[0]", 1), after_s=4),
        written("a", e.CompensationCompleted("seat[0]"), e.SagaCompensated(), after_s=5),
    ):
        counting.observe(batch)
    counting.count()
    counting.count()
    found = {
        (name.removeprefix("saga_es_"), tuple(value for key, value in labels if key != "le")): value
        for (name, labels), value in samples(series).items()
        if value and not name.endswith("_bucket") and "append_d" not in name and "append_e" not in name
    }
    seat = ("action", "order", "seat")
    assert found == {
        ("sagas_started_total", ("order",)): 1,
        ("step_attempts_total", ("action", "completed", "order", "seat")): 1,
        ("step_attempts_total", ("action", "unavailable", "order", "seat")): 1,
        ("step_attempts_total", ("action", "rejected", "order", "seat")): 1,
        ("step_attempts_total", ("compensation", "completed", "order", "seat")): 1,
        ("step_duration_seconds_count", seat): 3,
        ("step_duration_seconds_sum", seat): 4,
        ("step_duration_seconds_count", ("compensation", "order", "seat")): 1,
        ("step_duration_seconds_sum", ("compensation", "order", "seat")): 1,
        ("step_retries_total", seat): 1,
        ("compensations_total", ("order", "seat")): 1,
        ("sagas_aborted_total", ("order",)): 1,
        ("append_conflicts_total", ()): 1,
        ("claims_total", ()): 1,
        ("commands_total", ("fail",)): 1,
        ("sagas_ended_total", ("order", "COMPENSATED")): 1,
        ("sagas_ended_total", ("order", "FAILED")): 1,
        ("saga_duration_seconds_count", ("order", "COMPENSATED")): 1,
        ("saga_duration_seconds_sum", ("order", "COMPENSATED")): 5,
        ("saga_duration_seconds_count", ("order", "FAILED")): 1,
        ("saga_duration_seconds_sum", ("order", "FAILED")): 2,
    }


def test_what_comes_while_a_saga_is_looked_up_is_counted_after_what_it_waits_for() -> None:
    """The loop goes on meanwhile: the end of an attempt must not be counted before its beginning."""
    series = Series()

    def find(_: list[str]) -> dict[str, Known]:
        counting.observe(written("b", e.StepCompleted("seat"), after_s=3))
        return {"b": Known("order", AT)}

    counting = Counting(series, find)
    counting.observe(written("b", e.SagaTakenOver("w"), e.StepStarted("seat", 2), after_s=1))
    counting.count()
    found = samples(series)
    labels = (("direction", "action"), ("saga", "order"), ("step", "seat"))
    assert found["saga_es_step_duration_seconds_sum", labels] == 2.0
    assert found["saga_es_step_retries_total", labels] == 1


def test_a_batch_that_cannot_be_counted_is_written_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """Said once, not for each batch."""
    counting = Counting(Series(), lambda _: {})
    broken = WrittenBatch([], [Written()], 0.1)
    counting.observe(broken)
    counting.observe(broken)
    assert caplog.text.count("counting failed") == 1
