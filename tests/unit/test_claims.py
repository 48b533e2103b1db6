"""Claims: workers who look at the same moment take different sagas, evenly, and leave none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from saga_es.runtime.cluster.claims import EACH_LATER_S, LATEST, Claims

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAGAS = [f"saga-{n}" for n in range(1000)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_those_who_look_at_the_same_moment_take_different_sagas_evenly(count: int) -> None:
    """Each saga has one who may claim it at once, and nobody gets far more than a share."""
    workers = [f"worker-{n}" for n in range(count)]
    shares = [Claims().due(SAGAS, worker, workers, NOW) for worker in workers]
    assert sorted(saga for share in shares for saga in share) == sorted(SAGAS)
    assert max(map(len, shares)) <= 1.25 * len(SAGAS) / count


def test_what_the_first_does_not_take_the_others_may_one_after_the_other() -> None:
    """A moment later each; from the fourth on all together."""
    workers = [f"worker-{n}" for n in range(6)]
    claims = {worker: Claims() for worker in workers}
    counts = []
    for looks in range(LATEST + 1):
        now = NOW + timedelta(seconds=looks * EACH_LATER_S)
        due = [claims[worker].due(["s"], worker, workers, now) for worker in workers]
        counts.append(sum(map(len, due)))
    assert counts == [1, 2, 3, 6]


def test_a_worker_that_is_not_known_to_live_claims_all_the_same() -> None:
    """Its row may be on its way."""
    assert Claims().due(["s"], "worker-1", [], NOW) == ["s"]


def test_what_comes_back_waits_anew() -> None:
    """A saga that found an owner and lost it is offered to the first again."""
    workers, claims = ["worker-0", "worker-1"], Claims()
    theirs = next(saga for saga in SAGAS if not Claims().due([saga], "worker-0", workers, NOW))
    later = NOW + timedelta(seconds=EACH_LATER_S)
    claims.due([theirs], "worker-0", workers, NOW)
    claims.due([], "worker-0", workers, NOW)
    assert claims.due([theirs], "worker-0", workers, later) == []


def test_the_order_given_is_kept() -> None:
    """The oldest come first."""
    due = Claims().due(SAGAS, "worker-0", ["worker-0", "worker-1"], NOW)
    assert due == [saga for saga in SAGAS if saga in set(due)]
