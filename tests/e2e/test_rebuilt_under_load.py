"""The views are dropped by hand while sagas run; a replay and a verification later nothing is missing."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from pathlib import Path

from saga_es import App, Saga
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from tests.e2e.conftest import run_cli
from tests.support.trips import until

CODE = """
from saga_es import App, Saga

order = Saga("order")


@order.step(compensation=None)
def shipment():
    return {"parcel": "P-1"}


app = App(name="shop", version="1", sagas=[order])
"""


def an_order() -> Saga:
    order = Saga("order")
    order.step(compensation=None)(shipment)
    return order


def shipment() -> dict[str, str]:
    """What the step does."""
    return {"parcel": "P-1"}


def test_views_that_were_dropped_by_hand_are_made_anew_while_sagas_run(tmp_path: Path) -> None:
    """Sagas that cannot be written wait meanwhile, and go on; then each view is the fold of a log that is whole."""
    file = tmp_path / "shop.sqlite"
    (tmp_path / "shop.py").write_text(CODE)
    url = f"sqlite:///{file}"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_cli(*arguments, cwd=tmp_path, settings={"SAGA_ES_DATABASE_URL": url, "SAGA_ES_APP": "shop"})

    order = an_order()
    node = Node(Settings.load({"database_url": url}), App(name="shop", version="1", sagas=[order]))
    node.open()
    over = threading.Event()
    ended: list[str] = []

    def load() -> None:
        while not over.is_set():
            ended.append(str(node.engine.start(order, {"n": len(ended)}).result(60).status))

    loading = threading.Thread(target=load)
    loading.start()
    try:
        assert run("verify").returncode == 0
        connection = sqlite3.connect(file, timeout=30)
        for table in ("sagas", "saga_tags"):
            connection.execute(f"DROP TABLE {table}")
        connection.close()
        broken = run("verify")
        found = (broken.returncode, "there is no such table" in broken.stdout)
        assert found in {(7, True), (0, False)}, broken.stdout  # the engine makes views anew, too, and may be faster
        replayed = run("replay")
        assert replayed.returncode == 0, replayed.stderr
        before = len(ended)
        until(lambda: len(ended) > before)  # the engine looks again after some seconds at most
        verified = run("verify")
        assert (verified.returncode, verified.stdout) == (0, ""), verified.stdout
    finally:
        over.set()
        loading.join()
        node.close()
    assert set(ended) == {"COMPLETED"}
    assert run("verify").returncode == 0
