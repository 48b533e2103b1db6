"""Batches of commands: the number first, then the command for each saga, once, in the background."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from werkzeug.test import TestResponse

from saga_es import Saga, StepRejected
from saga_es.access import Principal
from saga_es.cli import main
from saga_es.core.access import Starter
from saga_es.core.batches import BatchAdvanced, BatchStarted, mark
from saga_es.core.commands import Command
from saga_es.runtime.command_batches import selection
from saga_es.runtime.command_batches.runner import Runner
from tests.api.conftest import OpenNode, Served, opened
from tests.support.bearers import Bearers, as_
from tests.support.journeys_served import app_of
from tests.support.trips import until

Body = dict[str, Any]
BY_KIM: Body = {"reason": "the ledger is open", "actor": "kim"}
DEAD = "worker-that-died"


class Ledger:
    """Refuses while it is closed."""

    def __init__(self) -> None:
        self.is_open = False

    @property
    def saga(self) -> Saga:
        """A saga that is FAILED while the ledger is closed, and COMPENSATED once it is open and somebody retries."""
        saga = Saga("payment")

        @saga.step
        def pay(input: Body) -> str:  # noqa: A002 (the name a step asks for)
            return str(input["account"])

        @saga.compensates(pay)
        def refund(input: Body) -> None:  # noqa: A002 (the name a step asks for)
            if not self.is_open:
                raise StepRejected(f"the ledger of account {input['account']} is closed")

        @saga.step(compensation=None)
        def ship() -> None:
            raise StepRejected("sold out")

        return saga


@pytest.fixture
def ledger() -> Ledger:
    """A closed ledger."""
    return Ledger()


@pytest.fixture
def served(open_node: OpenNode, ledger: Ledger) -> Served:
    """A node that knows payments."""
    return open_node(app_of(ledger.saga))


def failed(served: Served, how_many: int, **tags: str) -> list[str]:
    """Payments that are FAILED, the oldest first."""
    engine = served.node.engine
    ids = [engine.start("payment", {"account": 4400 + number}, tags=tags).saga_id for number in range(how_many)]
    for saga_id in ids:
        until(lambda saga_id=saga_id: engine.status(saga_id).status == "FAILED")  # type: ignore[misc]
    return ids


def post(served: Served, answered: int = 202, path: str = "", **body: Any) -> Body:
    answer = served.client.post(f"/api/saga/batch{path}", json=body)
    assert answer.status_code == answered, answer.text
    found: Body = answer.get_json()
    return found


def progress(served: Served, batch_id: str) -> Body:
    found: Body = served.client.get(f"/api/saga/batch/{batch_id}").get_json()
    return found


def when_over(served: Served, batch_id: str) -> Body:
    until(lambda: progress(served, batch_id)["status"] != "running")
    return progress(served, batch_id)


def retries(served: Served, saga_id: str) -> list[Body]:
    events = served.client.get(f"/api/saga/{saga_id}/events").get_json()["events"]
    return [event["data"] for event in events if event["type"] == "SagaReopened"]


# ── What it would hit ────────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_says_how_many_sagas_it_would_hit_and_changes_nothing(served: Served) -> None:
    """With the newest four and the oldest as a sample."""
    ids = failed(served, 6)
    before = served.node.store.log.last_position()
    found = post(served, 200, command="retry", filter={"name": "payment"}, dry_run=True, **BY_KIM)
    assert (found["count"], found["left_out"], found["is_complete"]) == (6, 0, True)
    assert [row["transaction_id"] for row in found["sample"]] == [*reversed(ids[2:]), ids[0]]
    assert "the ledger of account 4405 is closed" in found["sample"][0]["error"]
    assert served.node.store.log.last_position() == before


def test_only_sagas_that_can_follow_the_command_are_counted(served: Served, ledger: Ledger) -> None:
    """The others that meet the filter are counted by themselves."""
    first, *_ = failed(served, 3)
    ledger.is_open = True
    served.node.engine.retry(first, reason="alone", actor="ann")
    until(lambda: served.node.engine.status(first).status == "COMPENSATED")
    assert post(served, 200, command="retry", filter={}, dry_run=True, **BY_KIM)["count"] == 2
    found = post(served, 200, command="retry", filter={"status": "COMPENSATED"}, dry_run=True, **BY_KIM)
    assert (found["count"], found["left_out"]) == (0, 1)
    assert post(served, 200, command="resume", filter={}, dry_run=True, **BY_KIM)["count"] == 0


def test_a_batch_is_for_the_sagas_of_a_filter_or_of_a_group(served: Served) -> None:
    """The fingerprint of a group of failures is a filter like any other."""
    failed(served, 2, tenant="acme")
    failed(served, 1, tenant="globex")
    asked: Body = {"command": "retry", "dry_run": True, **BY_KIM}
    assert post(served, 200, filter={"tag": ["tenant:acme"]}, **asked)["count"] == 2
    assert post(served, 200, filter={"error": "account 4401"}, **asked)["count"] == 1
    (group,) = served.client.get("/api/saga/failures").get_json()["groups"]
    assert post(served, 200, filter={"fingerprint": group["fingerprint"]}, **asked)["count"] == 3
    both = {"fingerprint": group["fingerprint"], "tag": ["tenant:globex"]}
    assert post(served, 200, filter=both, **asked)["count"] == 1
    assert post(served, 200, filter={"fingerprint": "0" * 16}, **asked)["count"] == 0


def test_more_sagas_than_a_batch_has_room_for_are_said_to_be_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for the newest; the rest is for another batch."""
    monkeypatch.setattr(selection, "MOST", 2)
    failed(served, 3)
    found = post(served, 200, command="retry", filter={}, dry_run=True, **BY_KIM)
    assert (found["count"], found["is_complete"]) == (2, False)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"command": "explode"}, "command"),
        ({"command": "skip"}, "step"),
        ({"command": "resolve", "status": "FAILED"}, "status"),
        ({"filter": {"fingerprint": "../x"}}, "filter"),
        ({"filter": {"status": "gone"}}, "filter"),
        ({"pace": 0}, "pace"),
        ({"stops_after": 0}, "stops_after"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 1950}, "reason"),
    ],
)
def test_what_is_wrong_with_a_batch_is_said_by_field(served: Served, wrong: Body, field: str) -> None:
    """And nothing is recorded."""
    answer = post(served, 422, **{"command": "retry", "filter": {}, **BY_KIM, **wrong})
    assert field in answer["errors"]


# ── What it does ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_gives_each_saga_the_command_once(served: Served, ledger: Ledger) -> None:
    """It is recorded who, why and which; each saga's own log names the batch."""
    ids = failed(served, 5)
    ledger.is_open = True
    answer = served.client.post("/api/saga/batch", json={"command": "retry", "filter": {}, "pace": 100, **BY_KIM})
    assert answer.status_code == HTTPStatus.ACCEPTED
    begun = answer.get_json()
    assert begun["count"] == 5
    assert answer.location == f"/api/saga/batch/{begun['batch_id']}"
    until(lambda: progress(served, begun["batch_id"])["moved_on"] == 5)
    found = progress(served, begun["batch_id"])
    assert (found["status"], found["failed_again"], found["left_alone"], found["to_go"]) == ("ended", 0, 0, 0)
    assert (found["actor"], found["reason"], found["command"]) == ("kim", "the ledger is open", "retry")
    for saga_id in ids:
        (given,) = retries(served, saga_id)
        assert given["actor"] == "kim"
        assert given["reason"] == f"the ledger is open {mark(begun['batch_id'])}"
        until(lambda saga_id=saga_id: served.node.engine.status(saga_id).status == "COMPENSATED")  # type: ignore[misc]
    (row,) = served.client.get("/api/saga/batch").get_json()["batches"]
    assert (row["batch_id"], row["size"], row["upto"], row["status"]) == (begun["batch_id"], 5, 5, "ended")


def test_a_batch_stops_by_itself_when_its_sagas_fail_again(served: Served) -> None:
    """The rest is left as it is."""
    failed(served, 6)
    begun = post(served, command="retry", filter={}, pace=1, stops_after=1, **BY_KIM)
    found = when_over(served, begun["batch_id"])
    assert found["status"] == "stopped"
    assert found["stopped_by"] == "saga_es"
    assert "failed again" in found["stopped_because"]
    assert found["to_go"] >= 1


def test_a_batch_is_stopped_by_a_person(served: Served) -> None:
    """At once, and once; the sagas whose turn had not come are left as they are."""
    failed(served, 3)
    begun = post(served, command="retry", filter={}, pace=1, **BY_KIM)
    stopped = post(served, 200, f"/{begun['batch_id']}/stop", reason="wrong group", actor="ann")
    assert (stopped["status"], stopped["stopped_by"], stopped["stopped_because"]) == ("stopped", "ann", "wrong group")
    assert "stopped already" in post(served, 409, f"/{begun['batch_id']}/stop", **BY_KIM)["detail"]
    assert progress(served, begun["batch_id"])["to_go"] >= 1


def test_no_saga_is_no_batch(served: Served) -> None:
    """A batch of nothing is refused, and there is no batch of an id that no batch has."""
    assert "no saga" in post(served, 409, command="retry", filter={}, **BY_KIM)["detail"]
    (saga_id,) = failed(served, 1)
    for id_ in ("unknown", saga_id):
        assert served.client.get(f"/api/saga/batch/{id_}").status_code == 404
        post(served, 404, f"/{id_}/stop", **BY_KIM)


# ── Who does it ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def idle(database_url: str, ledger: Ledger) -> Iterator[Served]:
    """A node that gives no commands of batches: what does it is told when to, step by step."""
    with ExitStack() as stack:
        served = opened(stack, database_url, app_of(ledger.saga))
        served.node.batch_runner.close()
        yield served


def runner(served: Served, worker: str, submit: Any = None) -> Runner:
    return Runner(served.node.batches, served.node.store, lambda: worker, submit or served.node.engine.submit)


def begun_in(served: Served, ids: list[str]) -> str:
    return served.node.batches.start(BatchStarted("retry", tuple(ids), {}, "kim", "again", 2))


def test_a_batch_goes_on_in_another_process_when_one_was_killed(idle: Served) -> None:
    """The one that died had given a command that it could not record: the saga does not get it twice."""
    ids = failed(idle, 3)
    batch_id = begun_in(idle, ids)
    given: list[str] = []

    def killed(saga_id: str, command: Command) -> None:
        if len(given) == 1:
            raise KeyboardInterrupt
        idle.node.engine.submit(saga_id, command)
        given.append(saga_id)

    with pytest.raises(KeyboardInterrupt):
        runner(idle, DEAD, killed).step()
    assert progress(idle, batch_id)["to_go"] == 3
    other = runner(idle, idle.node.engine.worker_id)
    until(lambda: other.step() >= 0 and progress(idle, batch_id)["status"] == "ended")
    for saga_id in ids:
        until(lambda saga_id=saga_id: len(retries(idle, saga_id)) == 1)  # type: ignore[misc]
    assert progress(idle, batch_id)["left_alone"] == 0


def test_two_workers_never_give_one_batch(idle: Served) -> None:
    """While the one that took it lives, the other leaves it alone."""
    ids = failed(idle, 3)
    batch_id = begun_in(idle, ids)
    ours, other = runner(idle, idle.node.engine.worker_id), runner(idle, "another")
    ours.step()
    other.step()
    other.step()
    assert progress(idle, batch_id)["to_go"] == 1
    ours.step()
    assert progress(idle, batch_id)["to_go"] == 0
    assert [len(retries(idle, saga_id)) for saga_id in ids] == [1, 1, 1]


def test_a_saga_that_moved_on_meanwhile_is_left_alone(idle: Served, ledger: Ledger) -> None:
    """And the batch says so."""
    ids = failed(idle, 2)
    batch_id = begun_in(idle, ids)
    ledger.is_open = True
    idle.node.engine.retry(ids[1], reason="alone", actor="ann")
    until(lambda: idle.node.engine.status(ids[1]).status == "COMPENSATED")
    runner(idle, idle.node.engine.worker_id).step()
    found = progress(idle, batch_id)
    assert (found["status"], found["left_alone"], found["moved_on"] + found["failed_again"]) == ("ended", 1, 1)
    assert len(retries(idle, ids[1])) == 1


def test_what_was_done_when_a_batch_was_stopped_is_counted(idle: Served) -> None:
    """A stop that comes in the middle of a stretch does not hide what the stretch did."""
    ids = failed(idle, 4)
    batch_id = begun_in(idle, ids)

    def stopped_meanwhile(saga_id: str, command: Command) -> None:
        idle.node.engine.submit(saga_id, command)
        if saga_id == ids[0]:
            idle.node.batches.stop(batch_id, "ann", "enough")

    runner(idle, idle.node.engine.worker_id, stopped_meanwhile).step()
    found = progress(idle, batch_id)
    assert (found["status"], found["to_go"]) == ("stopped", 2)
    assert isinstance(idle.node.store.log.read(batch_id)[-1].event, BatchAdvanced)


# ── Who may ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_is_for_the_sagas_that_its_sender_may_see(open_node: OpenNode, ledger: Ledger) -> None:
    """Its sender is who is known; others see neither its sagas nor the batch; a viewer may not start one."""
    people = {
        "kim": Principal("kim", ["operator"], tenant="acme"),
        "bob": Principal("bob", ["operator"], tenant="globex"),
        "eve": Principal("eve", ["viewer"], tenant="acme"),
        "shop": Principal("shop", ["service"], tenant="acme"),
    }
    served = open_node(replace(app_of(ledger.saga), auth=Bearers(**people)))
    client, engine = served.client, served.node.engine
    starters = [Starter("shop", tenant) for tenant in ("acme", "acme", "globex")]
    for number, starter in enumerate(starters):
        saga_id = engine.start("payment", {"account": number}, by=starter).saga_id
        until(lambda saga_id=saga_id: engine.status(saga_id).status == "FAILED")  # type: ignore[misc]

    def asked(who: str, **more: Any) -> TestResponse:
        body = {"command": "retry", "filter": {}, "reason": "it is open", **more}
        return client.post("/api/saga/batch", json=body, headers=as_(who))

    assert [asked(who, dry_run=True).get_json()["count"] for who in ("kim", "bob")] == [2, 1]
    assert asked("eve").status_code == 403
    assert asked("kim", command="resolve").status_code == 403
    begun = asked("kim", actor="the customer").get_json()
    path = f"/api/saga/batch/{begun['batch_id']}"
    assert client.get(path, headers=as_("eve")).get_json()["actor"] == "kim"
    assert client.get(path, headers=as_("bob")).status_code == 404
    assert client.post(f"{path}/stop", json={"reason": "x"}, headers=as_("bob")).status_code == 404
    assert client.post(f"{path}/stop", json={"reason": "x"}, headers=as_("eve")).status_code == 403
    seen = {who: client.get("/api/saga/batch", headers=as_(who)).get_json()["batches"] for who in ("kim", "bob")}
    assert [len(rows) for rows in seen.values()] == [1, 0]
    (started, *_) = served.node.store.log.read(begun["batch_id"])
    assert (started.event.actor, started.event.on_behalf_of) == ("kim", "the customer")


def test_without_credentials_the_actor_is_anonymous(served: Served) -> None:
    """As for every command."""
    failed(served, 1)
    begun = post(served, command="retry", filter={}, reason="again")
    assert progress(served, begun["batch_id"])["actor"] == "anonymous"
    post(served, 409 if when_over(served, begun["batch_id"]) else 0, f"/{begun['batch_id']}/stop", reason="x")


# ── On the command line ──────────────────────────────────────────────────────────────────────────────────


def test_the_command_line_shows_the_number_and_starts_for_that_number(
    served: Served, database_url: str, ledger: Ledger
) -> None:
    """For another number it does nothing; a worker gives the commands."""
    failed(served, 2)
    ledger.is_open = True

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["--database-url", database_url, "batch", *words])
        assert done.exit_code == code, done.output
        return done.stdout

    asked = ("start", "retry", "--name", "payment", "--reason", "it is open", "--actor", "kim")
    shown = run(*asked)
    assert "would be given to 2 sagas" in shown
    assert "add --sagas 2" in shown
    assert json.loads(run(*asked, "--json"))["count"] == 2
    assert json.loads(run(*asked, "--sagas", "2", "--dry-run", "--json"))["count"] == 2
    run(*asked, "--sagas", "3", code=1)
    run("start", "skip", "--reason", "x", code=2)
    assert json.loads(run("list", "--json"))["batches"] == []
    batch_id = json.loads(run(*asked, "--sagas", "2", "--json"))["batch_id"]
    until(lambda: progress(served, batch_id)["moved_on"] == 2)
    assert "2 moved on, 0 failed again, 0 left alone, 0 to go" in run("show", batch_id)
    assert batch_id in run("list")
    run("stop", batch_id, "--reason", "enough", code=1)
    run("show", "unknown", code=3)
