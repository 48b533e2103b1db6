"""`SagaES`: sagas in a Flask application that exists, and nothing of that application is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, abort
from flask_smorest import Api, Blueprint

from saga_es import App, Saga, open_engine
from saga_es.client import open_client
from saga_es.flask import EXTENSION, SagaES
from tests.support.processes import run


def order() -> Saga:
    saga = Saga("order")

    @saga.step(compensation=None)
    def payment(input: dict[str, int]) -> dict[str, int]:  # noqa: A002 (the name by which a step asks for it)
        return {"charged": input["amount"]}

    return saga


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Flask]:
    """An application with an error page, an API and a route of its own."""
    app = Flask("shop")
    app.config.update(
        SAGA_ES_DATABASE_URL=f"sqlite:///{tmp_path}/{app.name}.db",
        API_TITLE="shop",
        API_VERSION="7",
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/",
    )
    app.register_error_handler(404, lambda _error: ("the shop's own page", 404))
    blueprint = Blueprint("goods", "goods", url_prefix="/goods")
    blueprint.get("/")(lambda: abort(404))
    Api(app).register_blueprint(blueprint)
    yield app
    if EXTENSION in app.extensions:
        app.extensions[EXTENSION].node.close()


def test_a_saga_is_started_in_an_application_that_exists(shop: Flask) -> None:
    """The engine opens with its first use; the API reads what it did."""
    sagas = SagaES(shop, sagas=[order()], url_prefix="/ops/sagas")
    result = sagas.engine.start("order", {"amount": 20}).result(20)
    assert result.results == {"payment": {"charged": 20}}
    status = shop.test_client().get(f"/ops/sagas/status/{result.saga_id}")
    assert (status.status_code, status.get_json()["status"]) == (200, "COMPLETED")


def test_the_parent_of_a_reloader_takes_nothing_over(shop: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the extension nor by `open_engine`. It runs what is started there; its child takes over the rest."""
    url = shop.config["SAGA_ES_DATABASE_URL"]
    with open_engine(url, order()):
        pass
    with open_client(url, order()) as client:
        left = client.start("order", {"amount": 1}).saga_id
    monkeypatch.setattr(sys, "argv", ["/venv/bin/flask", "run", "--debug"])
    with open_engine(url, order()) as parent:
        assert parent.start("order", {"amount": 2}).result(20).completed
        assert parent.status(left).status == "PENDING"
    extension = SagaES(shop, sagas=[order()])
    assert extension.engine.start("order", {"amount": 3}).result(20).completed
    assert extension.engine.status(left).status == "PENDING"
    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    with open_engine(url, order()) as child:
        assert child.follow(left).result(20).completed


def test_the_api_opens_the_engine_too(shop: Flask) -> None:
    """A command over HTTP may be the first that anybody asks of it."""
    SagaES(shop, sagas=[order()])
    answer = shop.test_client().post("/api/saga/no-such-saga/cancel", json={"reason": "because"})
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert shop.extensions[EXTENSION].node.engine.alive


def test_nothing_of_the_application_is_touched(shop: Flask) -> None:
    """Its error pages, its title, its OpenAPI document: errors are problems only below our prefix."""
    before = {name: value for name, value in shop.config.items() if not name.startswith("SAGA_ES_")}
    SagaES(shop, sagas=[order()])
    assert {name: value for name, value in shop.config.items() if not name.startswith("SAGA_ES_")} == before
    client = shop.test_client()
    for path in ("/goods/", "/nowhere"):
        assert (client.get(path).status_code, client.get(path).text) == (404, "the shop's own page")
    assert client.get("/api/saga/status/no-such-saga").content_type == "application/problem+json"
    assert shop.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict()["info"] == {
        "title": "shop",
        "version": "7",
    }


def test_an_extension_serves_several_applications(tmp_path: Path) -> None:
    """Each has a database and an engine of its own; the one of the current application is used."""
    sagas = SagaES(saga_app=App(sagas=[order()]))
    apps = [Flask(name) for name in ("one", "other")]
    for app in apps:
        app.config["SAGA_ES_DATABASE_URL"] = f"sqlite:///{tmp_path}/{app.name}.db"
        sagas.init_app(app)
    engines = []
    for app in apps:
        with app.app_context():
            engines.append(sagas.engine)
            assert sagas.engine.start("order", {"amount": 1}, saga_id="the-same").result(20).completed
    assert engines[0] is not engines[1]
    for app in apps:
        app.extensions[EXTENSION].node.close()


def test_an_app_is_given_whole_or_by_its_keywords() -> None:
    """Which of the two holds is not guessed."""
    with pytest.raises(TypeError, match="sagas"):
        SagaES(saga_app=App(), sagas=[order()])


SHOP = """
from flask import Flask
from saga_es import Saga
from saga_es.flask import SagaES

order = Saga("order")

@order.step(compensation=None)
def payment(input):
    return {"charged": input["amount"]}

app = Flask("shop")
app.config["SAGA_ES_DATABASE_URL"] = "sqlite:///shop.db"
sagas = SagaES(app, sagas=[order])
"""


def test_its_commands_know_the_sagas_and_the_database(tmp_path: Path) -> None:
    """`flask saga worker`, `list` and the like, without `SAGA_ES_APP` or a URL."""
    (tmp_path / "app.py").write_text(SHOP)

    def flask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run("flask", *arguments, cwd=tmp_path, env=dict(os.environ), timeout=60)

    upgraded = flask("saga", "db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    started = flask("saga", "start", "order", '{"amount": 20}', "--id", "order-7")
    assert started.returncode == 0, started.stderr
    recovered = flask("saga", "recover")
    assert recovered.returncode == 0, recovered.stderr
    listed = flask("saga", "list", "--json")
    found = json.loads(listed.stdout)["transactions"]
    assert [(saga["transaction_id"], saga["status"]) for saga in found] == [("order-7", "COMPLETED")]


WITH_ROUTES = """
import os
from flask import Flask, request
from saga_es import Participant, Saga
from saga_es.flask import SagaES

stock, order = Participant("stock"), Saga("order")
order.request("take", stock.post("/stock/take", lambda input: input), compensation=None)

app = Flask("shop")
app.config["SAGA_ES_DATABASE_URL"] = "sqlite:///shop.db"
sagas = SagaES(app, sagas=[order])


@app.post("/stock/take")
def take():
    return {"taken": request.get_json()["pieces"], "by": request.headers["X-Saga-Step"]}
"""


def test_its_worker_calls_the_routes_of_the_application(tmp_path: Path) -> None:
    """A participant without a URL is the application that `flask` loaded, as in its server."""
    (tmp_path / "app.py").write_text(WITH_ROUTES)

    def flask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run("flask", *arguments, cwd=tmp_path, env=dict(os.environ), timeout=60)

    assert flask("saga", "db", "upgrade").returncode == 0
    assert flask("saga", "start", "order", '{"pieces": 3}', "--id", "order-7").returncode == 0
    recovered = flask("saga", "recover")
    assert recovered.returncode == 0, recovered.stderr
    shown = json.loads(flask("saga", "show", "order-7", "--json").stdout)
    assert (shown["status"], shown["steps"][0]["result"]) == ("COMPLETED", {"taken": 3, "by": "take"})


def test_an_engine_that_was_closed_by_hand_is_opened_again_by_its_next_use(shop: Flask) -> None:
    """A server that ends its lifespan closes it; what was begun is in the log."""
    sagas = SagaES(shop, sagas=[order()])
    before = sagas.engine
    saga_id = before.start("order", {"amount": 20}).saga_id
    sagas.close()
    sagas.close()
    assert not before.alive
    assert shop.test_client().get(f"/api/saga/status/{saga_id}").status_code == 200
    assert sagas.engine is not before
    assert sagas.engine.follow(saga_id).result(20).completed
