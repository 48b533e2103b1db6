"""The demo's services, when an answer or a call of a saga is lost on its way."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import OpenNode
from tests.api.test_execute import EXECUTE, body_of


def test_a_record_whose_register_answer_was_lost_is_rolled_back_by_its_key(open_node: OpenNode) -> None:
    """The service registered, nobody heard: the saga gives up, and no record is left behind."""
    served = open_node()

    def deaf(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/api/venue/register":
            return served.app.wsgi_app(environ, start_response)
        list(served.app.wsgi_app(environ, lambda *_: lambda _: None))
        raise ConnectionResetError("the line is dead")

    served.node.answer_calls_with(deaf)
    body = body_of(served.client.post(EXECUTE, json={"name": "x"}), 409)
    assert (body["status"], body["failed_step"]) == ("COMPENSATED", "venue")
    assert body_of(served.client.get("/api/venue/list"), 200)["venues"] == []
    assert body_of(served.client.get("/api/event/list"), 200)["events"] == []


def test_a_register_call_that_never_arrived_leaves_a_tombstone(open_node: OpenNode) -> None:
    """Rolled back without ever being seen: the late duplicate is refused with 409."""
    served = open_node()
    late: list[tuple[str, bytes]] = []

    def lossy(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/api/venue/register":
            late.append((environ["HTTP_IDEMPOTENCY_KEY"], environ["wsgi.input"].read()))
            raise ConnectionResetError("the line is dead")
        return served.app.wsgi_app(environ, start_response)

    served.node.answer_calls_with(lossy)
    body_of(served.client.post(EXECUTE, json={"name": "x"}), 409)
    key, content = late[0]
    headers = {"Idempotency-Key": key}
    arrived = served.client.post("/api/venue/register", data=content, content_type="application/json", headers=headers)
    body_of(arrived, 409)
    assert body_of(served.client.get("/api/venue/list"), 200)["venues"] == []
