"""`saga-es worker`, `start` and `recover`, as processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from saga_es.core.state import SagaStatus
from tests.e2e.conftest import run_cli
from tests.support.worker_app import LEDGER
from tests.workers.conftest import TIMEOUT_S, Site, StartHost, until

OwnedSaga = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(site: Site) -> OwnedSaga:
    """Runs a command on the site."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "SAGA_ES_DATABASE_URL": site.url,
            "SAGA_ES_APP": "tests.support.worker_app",
            LEDGER: str(site.ledger),
        }
        return run_cli(*arguments, settings=settings)

    return command


def test_a_saga_is_started_on_the_command_line_and_run_by_a_worker(
    run: OwnedSaga, site: Site, start_host: StartHost
) -> None:
    """It is PENDING until a worker is up; `--wait` says how it ended."""
    done = run("start", "order", '{"n": 1}', "--tag", "customer:7", "--key", "k")
    saga_id = done.stdout.strip()
    assert (done.returncode, done.stderr) == (0, "")
    story = site.client.status(saga_id)
    assert (story.status, story.tags) == (SagaStatus.PENDING, {"customer": "7"})
    start_host("a")
    assert site.client.result(saga_id, TIMEOUT_S).completed
    again = run("start", "order", '{"n": 1}', "--key", "k", "--wait", "--json")
    assert (again.returncode, json.loads(again.stdout)["transaction_id"]) == (0, saga_id)
    failed = run("start", "order", '{"fails_at": "letter"}', "--wait", "--timeout-s", "20")
    assert failed.returncode == 1
    assert failed.stdout.endswith("has ended COMPENSATED: letter was asked to fail\n")


def test_a_worker_says_in_one_line_that_it_works(start_host: StartHost) -> None:
    """However many sagas it has: a journal takes each line for a message."""
    said = start_host("a").hears(lambda line: line.startswith("Working as "))
    assert said.endswith(" (Ctrl-C stops)\n")


def test_what_cannot_be_started_is_a_mistake_of_usage(run: OwnedSaga, site: Site) -> None:
    """And says what is wrong; another input under a key is a failure."""
    run("start", "order", "--key", "k")
    for arguments, said, code in (
        (("ordre",), "there are: order, approval, pause", 2),
        (("order", "{"), "it is not JSON", 2),
        (("order", "[]"), "not a JSON object", 2),
        (("order", "--id", "x" * 65), "1 to 64 characters", 2),
        (("order", "--starts-at", "2030-01-01"), "time zone", 2),
        (("order", "--starts-at", "9999-12-31T23:59:59-12:00"), "year 1 to 9999", 2),
        (("order", "--key", "\udcff"), "no unpaired surrogate", 2),
        (("order", '{"n": 2}', "--key", "k"), "already started with another input", 1),
        (("order", "--wait", "--timeout-s", "0.1"), "it goes on", 1),
    ):
        done = run("start", *arguments)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert said in done.stderr
    assert site.calls() == []


def test_a_worker_that_is_asked_to_stop_leaves_at_once(site: Site, start_host: StartHost) -> None:
    """Exit 0; what it had under way goes on with the next worker, without a wait for the lease."""
    first = start_host("a", "--lease-s", "60", "--grace-s", "0")
    saga_id = site.client.start("order", {"takes_s": 0.5}).saga_id
    site.called(saga_id, "payment")
    assert first.stop() == 0
    start_host("b", "--lease-s", "60")
    assert site.client.result(saga_id, TIMEOUT_S).completed
    assert site.violations() == []


def test_a_worker_stops_also_when_the_signal_reaches_a_thread_that_runs_a_step(
    site: Site, start_host: StartHost
) -> None:
    """The kernel chooses whose it is: now and then it is that of a thread which just starts another."""
    host = start_host("a", "--grace-s", "0.2")
    saga_id = site.client.start("order", {"stops_at": "payment"}).saga_id
    assert host.exit_code() == 0
    assert site.called(saga_id, "payment").host == "a"


def test_recover_runs_what_was_interrupted_to_its_end_and_exits(
    run: OwnedSaga, site: Site, start_host: StartHost
) -> None:
    """It names the sagas that only others can move on, and says so by its exit code."""
    host = start_host("a", "--lease-s", "1")
    under_way = [site.client.start("order", {"takes_s": 1.0, "n": n}).saga_id for n in range(4)]
    refused = site.client.start("order", {"takes_s": 1.0, "fails_at": "parcel"}).saga_id
    for saga_id in (*under_way, refused):
        site.called(saga_id, "payment")
    host.kill()
    until(lambda: all(site.history(saga_id) for saga_id in under_way))
    done = run("recover", "--lease-s", "1", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"ended": {"COMPENSATED": 1, "COMPLETED": 4}, "left": {}})
    waiting = site.client.start("approval").saga_id
    done = run("recover", "--lease-s", "1")
    assert done.returncode == 1
    assert done.stdout.startswith("Ended: none. Left: 1.\n")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(waiting))
    assert "waits for the signal 'answer'" in line
    site.client.signal(waiting, "answer")
    assert run("recover", "--lease-s", "1").returncode == 0
    assert site.client.result(waiting, 0).completed
    assert site.violations() == []


def test_recover_on_a_database_that_is_away_is_exit_8(tmp_path: Path) -> None:
    """As for every command."""
    done = run_cli("recover", "--database-url", "postgresql://nobody@127.0.0.1:9/none", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (8, "")
