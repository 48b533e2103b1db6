"""A batch of commands goes on when the worker that gives them is killed, and no saga gets its command twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from saga_es.core import events as e
from saga_es.core.batches import BatchStarted, BatchTaken, mark
from tests.workers.conftest import TIMEOUT_S, Site, StartHost, until

SAGAS, PACE = 25, 5.0
"""Five seconds of work, of which the first worker does two."""


def reasons(site: Site, saga_id: str) -> list[str]:
    """The reason of each pause of a saga."""
    return [recorded.event.reason for recorded in site.history(saga_id) if isinstance(recorded.event, e.SagaPaused)]


def takers(site: Site, batch_id: str) -> list[str]:
    """The workers that gave the commands, in turn."""
    events = (recorded.event for recorded in site.node.store.log.read(batch_id))
    return [event.worker for event in events if isinstance(event, BatchTaken)]


def test_another_worker_goes_on_with_the_batch_of_one_that_is_killed(site: Site, start_host: StartHost) -> None:
    """It dies after commands that it may not have recorded; each saga of the batch is paused once, all the same."""
    dying = start_host("a")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    ids = tuple(site.client.start("order", {}, starts_at=tomorrow).saga_id for _ in range(SAGAS))
    batch_id = site.node.batches.start(BatchStarted("pause", ids, {}, "ann", "stocktaking", PACE))
    until(lambda: reasons(site, ids[round(PACE) + 1]))
    dying.kill()
    other = start_host("b")
    until(lambda: site.node.batches.progress(batch_id).status == "ended", 2 * TIMEOUT_S)
    assert takers(site, batch_id) == [dying.worker_id, other.worker_id]
    for saga_id in ids:
        (reason,) = reasons(site, saga_id)
        assert mark(batch_id) in reason
    found = site.node.batches.progress(batch_id)
    assert (found.moved_on, found.left_alone, found.failed_again, found.to_go) == (SAGAS, 0, 0, 0)
    assert site.violations() == []
