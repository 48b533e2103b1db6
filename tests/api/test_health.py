"""Health over HTTP: whether the process lives, and whether it can do its work."""

from __future__ import annotations

import gc
import warnings

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

import services
from saga_es.api import create_flask_app
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.engine import Engine
from saga_es.store.tables import VERSION_TABLE, saga_workers
from tests.api.conftest import OpenNode
from tests.support.trips import until


def collect_what_was_in_use() -> None:
    """A connection that was in use when its pool was disposed of is closed by nobody."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


def test_a_process_that_answers_is_alive(client: FlaskClient) -> None:
    """`/livez` asks nothing else."""
    answer = client.get("/livez")
    assert (answer.status_code, answer.json) == (200, {"status": "alive"})
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_open_node_is_ready(client: FlaskClient) -> None:
    """Database, migration, loop and heartbeat are each named, and ok, once the first heartbeat has been written."""
    until(lambda: client.get("/readyz").status_code == 200)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["status"] == "ready"
    assert {name: check["status"] for name, check in answer.json["checks"].items()} == dict.fromkeys(
        ("database", "migration", "loop", "heartbeat"), "ok"
    )


def test_a_node_that_was_not_opened_is_alive_and_not_ready(database_url: str) -> None:
    """Asking does not open it: the loop that does not run is named."""
    node = Node(Settings.load({"database_url": database_url}, environ={}), services.app)
    client = create_flask_app(node).test_client()
    try:
        assert client.get("/livez").status_code == 200
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json is not None
        assert answer.json["checks"]["loop"]["status"] == "failed"
        assert not node.engine.alive
    finally:
        node.close()


def test_a_worker_whose_heartbeat_is_old_is_not_ready(open_node: OpenNode) -> None:
    """Others may be taking its sagas over."""
    served = open_node(lease_s=3600)  # the next heartbeat is a quarter of an hour away
    until(lambda: served.client.get("/readyz").status_code == 200)
    with served.node.database.writing() as connection:
        connection.execute(sa.update(saga_workers).values(heartbeat_at=saga_workers.c.heartbeat_at - 4000))
    answer = served.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert "the lease is 3600 s" in answer.json["checks"]["heartbeat"]["detail"]


def test_a_database_of_another_version_is_not_ready(open_node: OpenNode) -> None:
    """The check says which revision is there, and the cure."""
    served = open_node()
    table = sa.table(VERSION_TABLE, sa.column("version_num"))
    with served.node.database.writing() as connection:
        connection.execute(sa.update(table).values(version_num="0001"))
    answer = served.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert "saga-es db upgrade" in answer.json["checks"]["migration"]["detail"]


def test_a_database_that_is_gone_is_named_without_its_url(open_node: OpenNode) -> None:
    """The process still lives, the answer says which checks failed, and no password or path is in it."""
    served = open_node()
    served.node.engine.close(0)
    served.node.database.close()
    nowhere = sa.create_engine("sqlite:////nowhere/secret-place/a.db")
    served.node.database.engine = nowhere
    served.node.database._writer = nowhere.execution_options()
    assert served.client.get("/livez").status_code == 200
    answer = served.client.get("/readyz")
    assert answer.status_code == 503
    assert "secret" not in answer.text
    served.node.close()
    collect_what_was_in_use()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # it can refuse writes to everybody
def test_a_database_that_takes_no_writes_is_not_ready(open_node: OpenNode) -> None:
    """As a standby or a full disk: it answers, and the check says that it takes no write."""
    served = open_node()
    engine = served.node.database.engine
    own = sa.create_engine(engine.url, isolation_level="AUTOCOMMIT")
    order = f'ALTER DATABASE "{engine.url.database}" SET default_transaction_read_only'
    with own.connect() as connection:
        connection.execute(sa.text(f"{order} = on"))
        engine.dispose()  # settings of a database are those of new connections
        try:
            answer = served.client.get("/readyz")
        finally:
            connection.execute(sa.text(f"{order} = off"))
            engine.dispose()
    own.dispose()
    assert answer.status_code == 503
    assert answer.json is not None
    checks = {check: found["status"] for check, found in answer.json["checks"].items()}
    assert (checks["database"], checks["migration"]) == ("failed", "ok")
    served.node.close()
    collect_what_was_in_use()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_loop_that_does_not_turn_is_not_ready(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once an iteration takes longer than the lease, others may take the sagas over."""
    served = open_node()
    monkeypatch.setattr(Engine, "lag_s", property(lambda _: 10.5))
    answer = served.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["checks"]["loop"] == {
        "status": "failed",
        "detail": "an iteration has taken 10.5 s; 0 sagas, 0 calls in flight",
    }
