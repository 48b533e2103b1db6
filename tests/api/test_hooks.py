"""Hooks: functions and webhooks hear of sagas from the log, so that nothing is left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from saga_es import App
from saga_es.core import events as e
from saga_es.errors import DefinitionError, SettingsError
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.publish import publisher
from saga_es.publish.webhook import key_of, signature
from saga_es.store.log.entries import Recorded
from saga_es.store.publishers import Publishers
from tests.api.conftest import OpenNode
from tests.support.errands import errand
from tests.support.participants import Participant, Says, in_turn
from tests.support.trips import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_function_is_told_of_each_event_of_each_saga_in_order(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it raises, it is told again of the same event."""
    monkeypatch.setattr(publisher, "RETRY_S", 0.01)
    told: list[Recorded] = []
    raised: list[int] = []

    def hear(recorded: Recorded) -> None:
        if recorded.version == 2 and not raised:
            raised.append(recorded.version)
            raise OSError("not now")
        told.append(recorded)

    served = open_node(App(sagas=[errand()], on_event=hear))
    served.node.engine.start("errand", {"ok": True}, saga_id="s-1").result(20)
    until(lambda: told and isinstance(told[-1].event, e.SagaCompleted))
    history = served.node.store.log.read("s-1")
    assert told == list(history)
    assert raised == [2]


def test_a_new_hook_has_its_place_before_anything_happens(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late its thread begins: what the process appends meanwhile is still to be told."""
    monkeypatch.setattr(publisher.Publisher, "open", lambda _: None)
    served = open_node(App(sagas=[errand()], on_event=print))
    (new,) = Publishers(served.node.database).all()
    served.node.engine.start("errand", {"ok": True}, saga_id="s-1").result(20)
    (row,) = Publishers(served.node.database).all()
    assert (row.position, row.lag >= len(served.node.store.log.read("s-1"))) == (new.position, True)


def test_a_webhook_is_told_how_sagas_end_and_signs_it(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the server takes it, with the same id each time."""
    monkeypatch.setattr(publisher, "RETRY_S", 0.01)
    with Participant(in_turn(Says(503), Says(302), Says(204))) as server:
        url = f"{server.url}/hook?token=t0ken"
        served = open_node(App(sagas=[errand()]), webhook=url, webhook_secret=SECRET)
        served.node.engine.start("errand", {"ok": False}, saga_id="s-1").result(20)
        server.wait_for_calls(3)
        served.node.engine.start("errand", {"ok": True}, saga_id="s-2").result(20)
        server.wait_for_calls(4)
        page = served.client.get("/metrics").text
    assert {call.path for call in server.calls} == {"/hook?token=t0ken"}
    last = json.loads(server.calls[-1].body)
    assert (last["type"], last["subject"], last["saga"]) == ("saga_es.saga.SagaCompleted", "s-2", "errand")
    assert len({call.headers["webhook-id"] for call in server.calls[:3]}) == 1
    for call in server.calls:
        id_, at = call.headers["webhook-id"], int(call.headers["webhook-timestamp"])
        assert json.loads(call.body)["id"] == id_
        assert abs(at - datetime.now(UTC).timestamp()) < 60
        assert call.headers["webhook-signature"] == signature(key_of(SECRET), id_, at, call.body)
    assert "saga_es_publisher_lag_events{" in page
    assert "t0ken" not in page


def test_a_hook_that_cannot_work_is_refused_at_the_start(tmp_path: Path) -> None:
    """With what to do about it."""
    for given, words in (
        ({"webhook": "https://x.example"}, "SAGA_ES_WEBHOOK_SECRET: a webhook is signed; set it to whsec_"),
        ({"webhook": "ftp://x.example", "webhook_secret": SECRET}, "write http://host:port/path"),
        ({"webhook": "https://ada:pw@x.example", "webhook_secret": SECRET}, "a user or a password"),
        ({"webhook": "https://x.example", "webhook_secret": "hunter2"}, "openssl rand"),
    ):
        with pytest.raises(SettingsError, match=words.replace("(", r"\(")) as refused:
            Settings.load(given, {})
        assert "hunter2" not in str(refused.value)

    async def hear(recorded: Recorded) -> None: ...

    settings = Settings.load({"database_url": f"sqlite:///{tmp_path / 'saga.db'}"}, {})
    with pytest.raises(DefinitionError, match="is an `async def`; write a `def`"):
        Node(settings, App(on_event=hear))
    with pytest.raises(DefinitionError, match="2 publishers have this name"):
        Node(settings, App(on_event=[print, print]))
