"""Hosts that die, freeze, and tell the wrong time: what they had goes on elsewhere, and they do no harm."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from statistics import median

import pytest

from saga_es.commands import Cancel
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from tests.workers.conftest import LEASE_S, TIMEOUT_S, Host, Site, StartHost, until

HOUR_S = 3600.0
SLACK_S = 3.0
"""After the lease, by which a saga of a dead host moves again."""

LOOK_S = 2.0
"""How often workers look for what was left to them."""

BUSY_S = 10.0
"""What a machine that is busy with other tests may add."""


def taken_over(site: Site, saga_id: str, by: str) -> e.SagaTakenOver | None:
    """The takeover of a saga by a worker, once it is in the log."""
    events = (recorded.event for recorded in site.history(saga_id))
    return next((event for event in events if isinstance(event, e.SagaTakenOver) and event.worker == by), None)


def test_when_a_host_dies_its_sagas_move_again_within_its_lease_and_three_seconds(
    site: Site, start_host: StartHost
) -> None:
    """On all others that are left, with the same keys; nothing is called that was answered."""
    dying = start_host("a", "--call-threads", "20")
    ids = [site.client.start("order", {"takes_s": 0.5, "n": n}).saga_id for n in range(12)]
    for saga_id in ids:
        site.called(saga_id, "payment")
    others = [start_host(name) for name in ("b", "c")]
    left = [saga_id for saga_id in ids if site.owner(saga_id) == dying.worker_id and not _ended(site, saga_id)]
    dying.kill()
    died = time.monotonic()
    names = {other.worker_id for other in others}
    until(lambda: all(site.owner(saga_id) in names or _ended(site, saga_id) for saga_id in left))
    assert time.monotonic() - died < LEASE_S + SLACK_S + BUSY_S
    assert all(site.client.result(saga_id, TIMEOUT_S).completed for saga_id in ids)
    assert site.violations() == []


def _ended(site: Site, saga_id: str) -> bool:
    state = site.node.store.sagas.find(saga_id)
    return state is not None and state.status.ended


def test_a_frozen_worker_that_wakes_up_appends_nothing(site: Site, start_host: StartHost) -> None:
    """What it had is done elsewhere, under the same keys; the answer that it then hears comes too late for the log."""
    frozen = start_host("a")
    ids = [site.client.start("order", {"takes_s": 1.0, "n": n}).saga_id for n in range(6)]
    for saga_id in ids:
        site.called(saga_id, "payment")
    frozen.freeze()
    other = start_host("b")
    assert all(site.client.result(saga_id, TIMEOUT_S).completed for saga_id in ids)
    before = {saga_id: site.history(saga_id) for saga_id in ids}
    frozen.wake()
    later = [site.client.start("order", {"n": n}).saga_id for n in range(12)]
    assert all(site.client.result(saga_id, TIMEOUT_S).completed for saga_id in later)
    time.sleep(1.0)  # for the answers that it waited for when it froze
    assert {saga_id: site.history(saga_id) for saga_id in ids} == before
    for saga_id in ids:
        assert taken_over(site, saga_id, other.worker_id)
    calls = [call for call in site.calls() if call.saga_id in ids and call.step == "payment"]
    assert {call.host for call in calls} == {"a", "b"}
    assert site.violations() == []


def test_a_woken_worker_takes_part_again(site: Site, start_host: StartHost) -> None:
    """Its row is made anew, and it claims its share; what it lost it never touches."""
    frozen, other = start_host("a"), start_host("b")
    frozen.freeze()
    until(lambda: frozen.worker_id not in site.node.store.workers.heartbeats())
    frozen.wake()
    until(lambda: frozen.worker_id in site.node.store.workers.heartbeats())
    owners: set[str | None] = set()

    def both_have_run_one() -> bool:  # of many that came at once, the first that hears of them may take all
        saga_id = site.client.start("order", {"n": len(owners)}).saga_id
        assert site.client.result(saga_id, TIMEOUT_S).completed
        owners.add(site.owner(saga_id))
        return owners == {frozen.worker_id, other.worker_id}

    until(both_have_run_one)
    assert site.violations() == []


@pytest.mark.parametrize("hours", [1.0, -1.0])
def test_a_clock_that_is_an_hour_off_changes_nothing(site: Site, start_host: StartHost, hours: float) -> None:
    """Neither who lives, nor when an attempt is made again or a wait is over, nor what is written as the time."""
    wrong = start_host("wrong", fast_s=hours * HOUR_S)
    resting = site.client.start("pause").saga_id
    until(partial(site.has, resting, e.WaitStarted))
    right = start_host("right")
    time.sleep(LEASE_S)  # nobody counts the other as gone
    assert set(site.node.store.workers.heartbeats()) == {wrong.worker_id, right.worker_id}
    assert site.client.result(resting, TIMEOUT_S).completed
    failing = site.client.start("order", {"takes_s": 0.3, "fails_at": "letter"}).saga_id
    site.called(failing, "payment")
    wrong.kill()
    assert site.client.result(failing, TIMEOUT_S).status is SagaStatus.COMPENSATED
    now = datetime.now(UTC)
    stamps = [recorded.recorded_at for id_ in (resting, failing) for recorded in site.history(id_)]
    assert all(abs(now - stamp) < timedelta(minutes=10) for stamp in stamps)
    wait = next(r.event for r in site.history(resting) if isinstance(r.event, e.WaitStarted))
    assert wait.until is not None
    assert abs(now - wait.until) < timedelta(minutes=10)
    assert site.violations() == []


def test_commands_reach_the_owner_on_another_host_within_a_second(site: Site, start_host: StartHost) -> None:
    """A signal and a cancel, given by a process that runs nothing."""
    hosts = [start_host(name) for name in ("a", "b")]
    ids = [site.client.start("approval").saga_id for _ in range(10)]
    for saga_id in ids:
        until(partial(site.has, saga_id, e.WaitStarted))
    assert {site.owner(saga_id) for saga_id in ids} <= {host.worker_id for host in hosts}
    for number, saga_id in enumerate(ids):
        if number % 2:
            site.client.submit(saga_id, Cancel("ann", "too late"))
            site.client.result(saga_id, TIMEOUT_S)
        else:
            site.client.signal(saga_id, "answer")
            until(partial(site.has, saga_id, e.StepCompleted))
    waited_s = [heard_after_s(site, saga_id) for saga_id in ids]
    assert median(waited_s) < 1.0  # a busy machine delays some
    assert max(waited_s) < 1.0 + BUSY_S
    assert site.violations() == []


def heard_after_s(site: Site, saga_id: str) -> float:
    """How long after an order the next event of its saga came, both by the database's clock."""
    for order, answer in pairwise(site.history(saga_id)):
        if isinstance(order.event, e.SignalReceived | e.SagaCancelled):
            return (answer.recorded_at - order.recorded_at).total_seconds()
    raise AssertionError(saga_id)


def test_a_rolling_restart_under_load_loses_and_stalls_nothing(site: Site, start_host: StartHost) -> None:
    """Each worker is asked to stop, and replaced, while sagas are started all the time."""
    hosts: list[Host] = [start_host(f"host-{n}", "--grace-s", "0.2") for n in range(3)]
    ids: list[str] = []
    longest_s = 0.0
    for number in range(3):
        ids += [site.client.start("order", {"takes_s": 0.05, "n": n}).saga_id for n in range(30)]
        begun = time.monotonic()
        assert hosts[number].stop() == 0
        hosts.append(start_host(f"new-{number}", "--grace-s", "0.2"))
        longest_s = max(longest_s, time.monotonic() - begun)
    ids += [site.client.start("order", {"fails_at": "letter", "n": n}).saga_id for n in range(10)]
    ends = [site.client.result(saga_id, TIMEOUT_S).status for saga_id in ids]
    assert ends == [SagaStatus.COMPLETED] * 90 + [SagaStatus.COMPENSATED] * 10
    assert max(stalled_s(site, saga_id) for saga_id in ids) < longest_s + LOOK_S
    assert site.violations() == []


def stalled_s(site: Site, saga_id: str) -> float:
    """The longest time in which nothing of a saga came into the log, from its start to its end."""
    stamps = [recorded.recorded_at for recorded in site.history(saga_id)]
    return max((later - earlier).total_seconds() for earlier, later in pairwise(stamps))
