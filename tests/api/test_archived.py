"""Sagas that are not there as they were: archived ones, and those that a newer version has gone on with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.store.archive.archiving import Archiving
from saga_es.store.archive.families import Over, families_over
from saga_es.store.log.codec import SAGA, Codec
from saga_es.store.log.entries import Draft
from saga_es.store.log.log import Log
from saga_es.store.ports import Written
from saga_es.store.views.catch_up import CatchUp
from saga_es.store.views.figures import figures_view
from saga_es.store.views.kinds import Views
from saga_es.store.writer import Writer
from tests.api.conftest import OpenNode, Served
from tests.api.test_execute import EXECUTE, body_of

KEY = {"Idempotency-Key": "concert-1"}
CONCERT = {"name": "Concert"}


@pytest.fixture
def archived(open_node: OpenNode, tmp_path: Path) -> tuple[Served, str]:
    """A saga that ran under a key, and was archived."""
    served = open_node()
    saga_id = body_of(served.client.post(EXECUTE, json=CONCERT, headers=KEY), 200)["transaction_id"]
    over = Over(datetime.now(UTC) + timedelta(minutes=1), (SagaStatus.COMPLETED,))
    node = served.node
    CatchUp(node.database, node.store.log, figures_view()).to_the_end()
    archiving = Archiving(node.database, node.store.sagas, node.views, over, tmp_path)
    assert [*archiving.archive(families_over(node.database, over), datetime.now(UTC))][-1].sagas == 1
    return served, saga_id


def test_whatever_is_asked_of_an_archived_saga_is_answered_with_410_and_the_file(archived: tuple[Served, str]) -> None:
    """It is no longer in the list; the records that it made are still there."""
    served, saga_id = archived
    why = {"actor": "ada", "reason": "why not"}
    for method, path, body in (
        ("GET", f"/api/saga/status/{saga_id}", None),
        ("GET", f"/api/saga/{saga_id}/events", None),
        ("GET", f"/api/saga/{saga_id}/explain", None),
        ("GET", f"/api/saga/{saga_id}/orders/cancel", None),
        ("POST", f"/api/saga/{saga_id}/orders/retry", why),
        ("POST", f"/api/saga/{saga_id}/signals/approval", {}),
    ):
        problem = body_of(served.client.open(path, method=method, json=body), 410)
        assert "saga-archive-" in problem["detail"], path
    assert body_of(served.client.get("/api/saga/list"), 200)["transactions"] == []
    assert body_of(served.client.get("/demo/database-status"), 200)["summary"]["total_records"] == 4


def test_a_key_of_an_archived_saga_does_not_run_it_again(archived: tuple[Served, str]) -> None:
    """With the same body, with another one, and without waiting; another key is another saga."""
    served, _ = archived
    for body, headers in ((CONCERT, {}), ({"name": "Other"}, {}), (CONCERT, {"Prefer": "respond-async"})):
        assert "saga-archive-" in body_of(served.client.post(EXECUTE, json=body, headers=KEY | headers), 410)["detail"]
    assert body_of(served.client.get("/demo/database-status"), 200)["summary"]["total_records"] == 4
    body_of(served.client.post(EXECUTE, json=CONCERT, headers={"Idempotency-Key": "concert-2"}), 200)


class StepBlessed(msgspec.Struct, frozen=True):
    """An event of the future."""

    step: str


def test_the_status_of_a_saga_that_a_newer_version_went_on_with_says_what_it_cannot_read(open_node: OpenNode) -> None:
    """It is told as far as it is understood; its events are all shown; the other sagas are as ever."""
    served = open_node()
    ids = [body_of(served.client.post(EXECUTE, json=CONCERT), 200)["transaction_id"] for _ in range(2)]
    log = Log(served.node.database, Codec({SAGA: (*get_args(e.SagaEvent), StepBlessed)}))
    newer = Writer(served.node.database, log, Views([]))
    draft = Draft(ids[0], SAGA, 10, (StepBlessed("event"),), datetime.now(UTC))
    assert newer.write([newer.prepare(draft)]) == [Written()]

    told: list[dict[str, Any]] = [body_of(served.client.get(f"/api/saga/status/{id_}"), 200) for id_ in ids]
    assert [(story["status"], story["version"]) for story in told] == [("COMPLETED", 10), ("COMPLETED", 10)]
    (unread,) = told[0]["unreadable"]
    assert (unread["version"], unread["type"]) == (11, "StepBlessed")
    assert told[1]["unreadable"] == []
    events = body_of(served.client.get(f"/api/saga/{ids[0]}/events"), 200)["events"]
    assert (len(events), events[-1]["type"]) == (11, "StepBlessed")
    assert len(body_of(served.client.get("/api/saga/list"), 200)["transactions"]) == 2
