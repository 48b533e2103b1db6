"""Which participant is which setting, and that none is without an address when an engine opens."""

from __future__ import annotations

from pathlib import Path

import flask
import pytest

from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.errors import SettingsError
from saga_es.flask import SagaES
from saga_es.node.app import App
from saga_es.node.node import Node
from saga_es.node.opening import open_engine
from saga_es.node.participants import transports_of
from saga_es.node.routes import has_route
from saga_es.node.settings import Settings, variable_of
from saga_es.runtime.calls.transport import HttpTransport, WsgiApp, WsgiTransport


def calling(*names: str, path: str = "/pays/{key}") -> Saga:
    saga = Saga("transfer")
    for place, name in enumerate(names):
        saga.request(f"pay_{place}", Participant(name).post(path), compensation=None)
    return saga


def nobody(environ: object, start: object) -> list[bytes]:
    del environ, start
    raise AssertionError("nobody is called here")


UNUSED: WsgiApp = nobody


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("payment", "SAGA_ES_PARTICIPANT_PAYMENT"),
        ("paymentService", "SAGA_ES_PARTICIPANT_PAYMENTSERVICE"),
        ("payment-service", "SAGA_ES_PARTICIPANT_PAYMENT_SERVICE"),
        ("payment.service v2", "SAGA_ES_PARTICIPANT_PAYMENT_SERVICE_V2"),
        ("zahlungsfähig", "SAGA_ES_PARTICIPANT_ZAHLUNGSF_HIG"),
    ],
)
def test_a_participant_finds_its_setting(name: str, variable: str) -> None:
    """The name in capitals, with an underscore for each other sign; and a setting given by the name itself."""
    assert variable_of(name) == variable
    for settings in (
        Settings.load({}, {variable: "http://bank"}),
        Settings.load({"participants": {name: "http://bank"}}, {}),
    ):
        (transport,) = transports_of(settings, [calling(name)], UNUSED).values()
        assert isinstance(transport, HttpTransport)


@pytest.mark.parametrize("other", ["payment_service", "Payment.Service"])
def test_two_participants_of_one_variable_are_refused(other: str) -> None:
    """Calls of one would go to the other."""
    with pytest.raises(SettingsError, match=r"_PAYMENT_SERVICE: participants .* share it; rename one"):
        Node(Settings.load({"database_url": "sqlite:///x.db"}, {}), App(sagas=[calling("payment-service", other)]))
    urls = {"payment-service": "http://a", other: "http://b"}
    with pytest.raises(SettingsError, match="share it"):
        transports_of(Settings.load({"participants": urls}, {}), [], UNUSED)


def test_a_request_that_has_nowhere_to_go_is_refused_when_the_engine_opens(tmp_path: Path) -> None:
    """Not COMPENSATED while it runs; each is named with its cure."""
    with pytest.raises(SettingsError) as caught, open_engine(f"sqlite:///{tmp_path}/x.db", calling("bank", "shop")):
        pass
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "SAGA_ES_PARTICIPANT_BANK",
        "SAGA_ES_PARTICIPANT_SHOP",
    ]
    assert "saga 'transfer' calls the participant 'bank', and this process serves no application" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_requests_of_children_and_compensations_count_too(tmp_path: Path) -> None:
    """They are called as well."""
    child, parent = Saga("child"), Saga("parent")
    bank = Participant("bank")
    child.request("act", Participant("near").post("/x"), compensation=bank.delete("/pays/{action_key}"))
    parent.child("run", child)
    near = {"near": "http://127.0.0.1:9"}
    with (
        pytest.raises(SettingsError, match="SAGA_ES_PARTICIPANT_BANK"),
        open_engine(f"sqlite:///{tmp_path}/x", parent, participants=near),
    ):
        pass


def test_the_requests_of_probes_and_of_retired_steps_count_too(tmp_path: Path) -> None:
    """Sagas of older plans still make the latter; both are reached by their names."""
    saga = Saga("transfer")
    saga.request("act", Participant("near").post("/x"), compensation=None, probe=Participant("desk").get("/pays/{key}"))
    with saga.retired():
        saga.request("pay", Participant("old-bank").post("/pays"), compensation=None)
    near = {"SAGA_ES_PARTICIPANT_NEAR": "http://near"}
    with (
        pytest.raises(SettingsError) as caught,
        open_engine(f"sqlite:///{tmp_path}/x", saga, participants={"near": "http://near"}),
    ):
        pass
    far = ["SAGA_ES_PARTICIPANT_DESK", "SAGA_ES_PARTICIPANT_OLD_BANK"]
    assert [problem.partition(":")[0] for problem in caught.value.problems] == far
    settings = Settings.load({}, near | dict.fromkeys(far, "http://far"))
    assert set(transports_of(settings, [saga], UNUSED)) == {"near", "desk", "old-bank"}


def test_a_request_without_a_route_in_the_application_is_refused_when_it_opens(tmp_path: Path) -> None:
    """It would be a 404: refused for good, and the saga COMPENSATED."""
    app = flask.Flask("shop")
    sagas = SagaES(app, sagas=[calling("bank", path="/pay/{key}")], database_url=f"sqlite:///{tmp_path}/x.db")

    @app.post("/pays/<key>")
    def pay(key: str) -> str:
        return key

    with pytest.raises(SettingsError, match=r"has no route for POST /pay/\{key\}; set it to its base URL"):
        sagas.engine.follow("nothing")


ROUTES = [
    ("POST", "/pays/{key}", True),
    ("POST", "pays/{key}", True),
    ("POST", "/pays/{key}?x={input[a]}", True),
    ("POST", "/pays/x{input[n]:05d}", True),
    ("GET", "/pays/{key}", False),
    ("POST", "/pays", False),
    ("POST", "/pays/{key}/more", False),
    ("POST", "/pay/{key}", False),
    ("DELETE", "/{input[kind]}/7/{key}", True),
    ("DELETE", "/rooms/7/{key}", True),
    ("DELETE", "/rooms/8/{key}", False),
    ("PUT", "/files/a/b/{key}", True),
    ("PUT", "/files/{input[file]:path}", True),
    ("PUT", "/other/{input[file]:path}", False),
]


@pytest.mark.parametrize(("method", "path", "is_there"), ROUTES)
def test_a_route_is_found_as_a_request_writes_it(method: str, path: str, is_there: bool) -> None:  # noqa: FBT001
    """Whatever its names stand for."""
    app = flask.Flask("shop")
    app.add_url_rule("/pays/<key>", "pays", lambda key: key, methods=["POST"])
    app.add_url_rule("/rooms/7/<uuid:key>", "rooms", str, methods=["DELETE"])
    app.add_url_rule("/files/<path:name>", "files", lambda name: name, methods=["PUT"])
    assert has_route(app, method, path) == is_there


def test_an_application_that_is_no_flask_is_not_asked_for_its_routes() -> None:
    """It may answer whatever it likes."""
    node = Node(Settings.load({"database_url": "sqlite:///unused.db"}, {}), App(sagas=[calling("bank")]))
    assert isinstance(node.transports["bank"], WsgiTransport)
    node.database.close()
