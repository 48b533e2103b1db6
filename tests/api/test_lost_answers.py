"""The demo's services, when an answer or a call of a saga is lost on its way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saga_es.participant.records import Journal, RecordRegistered, RecordRolledBack, Records
from saga_es.store.log.entries import Recorded
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


class Racing:
    """A journal in which another call registers the record, between our reading of it and our append."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._registers = True

    def read(self, stream_id: str) -> list[Recorded]:
        """Read, and then let the other call come first, once."""
        found = self._journal.read(stream_id)
        if self._registers:
            self._registers = False
            Records(self._journal, "venue").register(stream_id, {"name": "Hall"})
        return found

    def append(self, stream_id: str, category: str, expected_version: int, events: Sequence[Any]) -> None:
        """Append at the version that was read."""
        self._journal.append(stream_id, category, expected_version, events)


def test_a_rollback_that_races_with_its_register_undoes_it(open_node: OpenNode) -> None:
    """It had found nothing to undo; when its tombstone is refused it looks again."""
    engine = open_node().node.engine
    Records(Racing(engine), "venue").roll_back("a-key", before_registered=True)
    assert [type(recorded.event) for recorded in engine.read("a-key")] == [RecordRegistered, RecordRolledBack]
