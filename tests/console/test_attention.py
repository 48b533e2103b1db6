"""Failures in groups: over HTTP, on the command line's query, and on the page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_es.console.attention import by_hour
from saga_es.store.queries.failures import Failure, fingerprint, grouped, normalised
from tests.api.conftest import Served
from tests.api.test_execute import body_of
from tests.conftest import AT
from tests.support.journeys_served import begin, begun, stuck, when
from tests.support.pages import page_of


@pytest.mark.parametrize(
    ("error", "left"),
    [
        ("HTTP 500: ledger for account 4411 is closed", "HTTP 500: ledger for account # is closed"),
        ("no answer within 30 s", "no answer within # s"),
        (
            "step 'x' runs saga 01a2294c-fcbb-7067-a8bf-5c1d66e0b86e, which is FAILED",
            "step 'x' runs saga #, which is FAILED",
        ),
        ("since 2026-11-29T14:02:10.123Z", "since #"),
        ("since 2026-11-29 14:02:10+09:00 on", "since # on"),
        ("key 5d0c1f2e9b41 at 0xFF, 1,234.5", "key # at #, #"),
        ("a facade is deadbeef", "a facade is deadbeef"),
        ("venue_2 of step3", "venue_2 of step3"),
        ("  two\n lines ", "two lines"),
        ("", ""),
    ],
)
def test_an_error_is_normalised(error: str, left: str) -> None:
    """Ids, times and numbers become a sign; the status of an answer, words and names stay."""
    assert normalised(error) == left


@given(st.text(max_size=200))
def test_what_is_normalised_stays_as_it_is(error: str) -> None:
    """Otherwise a group would move when it is looked at again."""
    once = normalised(error)
    assert normalised(once) == once


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "x[3]", "y"]), st.integers(0, 9)), max_size=30))
def test_every_failure_is_in_one_group(found: list[tuple[str, str, int]]) -> None:
    """Elements of a step are in the group of their step; the largest group comes first."""
    failures = [
        Failure(str(place), name, step, f"error {number}", AT + timedelta(seconds=place), "FAILED")
        for place, (name, step, number) in enumerate(found)
    ]
    groups = grouped(failures)
    assert sum(group.count for group in groups) == len(found)
    assert [group.count for group in groups] == sorted((group.count for group in groups), reverse=True)
    assert len({group.fingerprint for group in groups}) == len(groups)
    for group in groups:
        assert group.first_at <= group.last_at
        assert "[" not in group.step
        assert group.fingerprint == fingerprint(group.name, group.step, group.error)


def test_a_trend_counts_by_hour() -> None:
    """Of the last day; the oldest hour first, and a clock that is ahead counts as now."""
    times = [
        AT,
        AT - timedelta(minutes=59),
        AT - timedelta(hours=23.5),
        AT - timedelta(days=2),
        AT + timedelta(hours=1),
    ]
    assert by_hour(times, AT) == [1, *[0] * 22, 3]


def test_failed_and_retrying_sagas_are_grouped(served: Served) -> None:
    """What goes on, and what has ended well, needs no attention."""
    failed = [stuck(served), stuck(served)]
    retrying = begin(served, busy=True)
    when(served.client, retrying, lambda story: story["steps"][0]["retry_at"] is not None)
    begun(served)
    body = body_of(served.client.get("/api/saga/failures"), 200)
    assert body["is_complete"] is True
    first, second = body["groups"]
    assert (first["name"], first["step"], first["count"], first["state"]) == ("journey", "seat", 2, "FAILED")
    assert "it is sold" in first["error"]
    assert set(first["sample"]) == set(failed)
    assert first["first_at"] <= first["last_at"]
    assert (second["state"], second["sample"], second["error"]) == ("retrying", [retrying], "nobody answers")
    page = page_of(served.client.get("/console/attention"))
    assert page.all("table", aria_label="Attention")
    assert "it is sold" in page.text
    assert "nobody answers" in page.text
    (link,) = [
        found["href"] for found in page.all("a") if "status=FAILED&name" in found["href"] or "error=" in found["href"]
    ]
    listed = page_of(served.client.get(link))
    assert set(listed.saga_ids) == set(failed), "the number of a group leads to its sagas"


def test_groups_can_be_filtered(served: Served) -> None:
    """By definition, text and age; a status asks for others than those that need attention."""
    stuck(served)
    for query, count in (
        ({"name": "outing"}, 0),
        ({"error": "IS SOLD"}, 1),
        ({"newer_than": 0}, 0),
        ({"status": "PENDING"}, 0),
    ):
        groups = body_of(served.client.get("/api/saga/failures", query_string=query), 200)["groups"]
        assert len(groups) == count, query
    assert served.client.get("/api/saga/failures?status=DANCING").status_code == 422
    page_of(served.client.get("/console/attention?since=soon"), 422)
    assert "No saga needs attention" in page_of(served.client.get("/console/attention?name=outing")).text
