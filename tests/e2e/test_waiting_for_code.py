"""Sagas whose code no living worker has: the commands say which they are, and what they wait for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from saga_es import App, Saga
from saga_es.api import create_flask_app
from saga_es.client import open_client
from saga_es.core.state import SagaStatus
from saga_es.definition.code import code_of
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.node.waiting import waiting_for_code
from saga_es.store.workers import Workers
from tests.e2e.conftest import environment, run_cli
from tests.support.processes import start
from tests.support.trips import until

APP = """
from saga_es import App, Saga

order = Saga("order")
order.wait_for("go", timeout_s=None)
app = App(name="shop", version="1", sagas=[order])
"""


INVOICE = """
@order.step(compensation=None)
def invoice(): ...

app ="""


def an_order(*, with_invoice: bool) -> Saga:
    order = Saga("order")
    order.wait_for("go", timeout_s=None)
    if with_invoice:
        order.step(compensation=None)(invoice)
    return order


def invoice() -> None:
    """What the old version does not know."""


@contextmanager
def a_worker(url: str, order: Saga, **settings: object) -> Iterator[Node]:
    node = Node(
        Settings.load({"database_url": url, **settings}, environ={}), App(name="shop", version="1", sagas=[order])
    )
    node.open()
    try:
        yield node
    finally:
        node.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with two sagas of the new version, whose worker is gone; and the code of the old one."""
    url = f"sqlite:///{tmp_path / 'saga.sqlite'}"
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shop.py").write_text(APP)
    with a_worker(url, an_order(with_invoice=True)) as node:
        for saga_id in ("s-1", "s-2"):
            node.engine.start("order", saga_id=saga_id)
    return url


def test_list_doctor_explain_and_the_api_say_what_code_sagas_wait_for(url: str, tmp_path: Path) -> None:
    """The step, the plan, and which workers live; a saga that can go on has nothing of it."""
    old, new = an_order(with_invoice=False), an_order(with_invoice=True)
    wanted = f"step 'invoice' of plan {new.plan_id}; living: 1 worker with {old.plan_id}"
    with a_worker(url, old) as node:
        node.engine.start("order", saga_id="ours")
        options = ("--database-url", url, "--app", "shop")
        listed = json.loads(run_cli("list", *options, "--json", cwd=tmp_path).stdout)["transactions"]
        found = {row["transaction_id"]: row.get("waits_for") for row in listed}
        assert found == {"ours": None, "s-1": wanted, "s-2": wanted}
        client = create_flask_app(node).test_client()
        served = client.get("/api/saga/list").get_json()["transactions"]
        assert {row["transaction_id"]: row.get("waits_for") for row in served} == found
        for saga_id, words in found.items():
            assert client.get(f"/api/saga/status/{saga_id}").get_json().get("waits_for") == words
        assert "waits_for" not in client.get("/api/saga/status/s-1?at_version=1").get_json()
        shown = run_cli("list", *options, cwd=tmp_path).stdout
        assert "waits for a worker that has" in shown
        said = run_cli("doctor", *options, cwd=tmp_path).stdout
        assert f"2 sagas wait, of 'order', for a worker that has {wanted}" in " ".join(said.split())
        explained = run_cli("explain", "s-1", *options, cwd=tmp_path).stdout
        assert f"waits for a worker that has {wanted}" in " ".join(explained.split())


def test_nobody_is_asked_for_code_about_sagas_that_run_here_or_have_ended(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their status costs no more than it did."""
    asked: list[object] = []
    with a_worker(url, an_order(with_invoice=True)) as node:
        client = create_flask_app(node).test_client()
        until(lambda: {owner_of(node, saga_id) for saga_id in ("s-1", "s-2")} == {node.engine.worker_id})
        monkeypatch.setattr(Workers, "codes", asked.append)
        assert client.get("/api/saga/status/s-1").get_json()["status"] == "IN_PROGRESS"
        for saga_id in ("s-1", "s-2"):
            node.engine.cancel(saga_id, reason="enough", actor="ann")
            node.engine.follow(saga_id).result(20)
        assert client.get("/api/saga/status/s-1").get_json()["status"] == "COMPENSATED"
        assert len(client.get("/api/saga/list").get_json()["transactions"]) == 2
    assert asked == []


def test_a_worker_that_drains_ends_when_no_saga_needs_its_version_any_more(url: str, tmp_path: Path) -> None:
    """It says what is left, ends with 0, and has left all else to the worker of the new version."""
    (tmp_path / "old.py").write_text(APP.replace("app =", INVOICE))
    command = ("worker", "--drain", "--database-url", url, "--app", "old")
    with a_worker(url, an_order(with_invoice=False), lease_s=2.0) as node:
        before = owner_of(node, "s-1")
        process, saying = start("saga_es", *command, cwd=tmp_path, env=environment())
        try:
            until(lambda: not {owner_of(node, saga_id) for saga_id in ("s-1", "s-2")} & {None, before})
            node.engine.start("order", saga_id="ours")
            assert process.poll() is None
            said = saying.readline()
            while "No other worker can run some sagas" not in said:
                said += (line := saying.readline())
                assert line, said
            for saga_id in ("s-1", "s-2"):
                node.engine.signal(saga_id, "go")
                assert node.engine.follow(saga_id).result(20).status is SagaStatus.COMPLETED
            assert process.wait(20) == 0
        finally:
            process.kill()
        assert owner_of(node, "ours") == node.engine.worker_id
        with saying:
            said += saying.read()
    assert "Draining as worker-" in said
    assert re.search(r"No other worker can run some sagas, such as s-\d \(IN_PROGRESS\)", said)
    assert "Drained: no saga is left that only a worker of this version can run." in said


def owner_of(node: Node, saga_id: str) -> str | None:
    return node.engine.status(saga_id).owner


def test_a_new_saga_that_all_workers_leave_to_others_is_told_to_wait(url: str, tmp_path: Path) -> None:
    """Nobody lacks its code; nobody begins it."""
    old = an_order(with_invoice=False)
    with open_client(url, an_order(with_invoice=True)) as client:
        client.start("order", saga_id="s-3")
    with a_worker(url, with_retired_invoice(), leave_older_plans=True):
        explained = run_cli("explain", "s-3", "--database-url", url, "--app", "shop", cwd=tmp_path).stdout
    said = " ".join(explained.split())
    assert "waits for a worker that has saga 'order' and begins new sagas of plan plan-" in said
    assert f"living: 1 worker with {old.plan_id}" in said


def with_retired_invoice() -> Saga:
    """The old version, which has the code for sagas of the new one."""
    order = an_order(with_invoice=False)
    with order.retired():
        order.step(compensation=None)(invoice)
    return order


def test_the_metrics_count_the_sagas_that_wait_for_code(url: str) -> None:
    """By definition; none where all go on."""
    gauge = 'saga_es_sagas_waiting_for_code{saga="order"}'
    with a_worker(url, an_order(with_invoice=False)) as node:
        assert node.meter is not None
        assert f"{gauge} 2.0" in node.meter.page("")[0].decode()
    with a_worker(url, an_order(with_invoice=True)) as node:
        assert node.meter is not None
        assert f"{gauge} 0.0" in node.meter.page("")[0].decode()


def test_sagas_that_wait_for_code_are_counted_by_plan(url: str) -> None:
    """None are once a worker has the code."""
    old, new = an_order(with_invoice=False), an_order(with_invoice=True)
    with a_worker(url, old) as node:
        (waiting,) = waiting_for_code(node.store, code_of([old]))
        assert (waiting.saga, waiting.plan_id, waiting.sagas) == ("order", new.plan_id, 2)
        with a_worker(url, new) as other:
            assert waiting_for_code(node.store, code_of([old])) == []
            other.engine.signal("s-1", "go")
            assert other.engine.follow("s-1").result(20).status is SagaStatus.COMPLETED
