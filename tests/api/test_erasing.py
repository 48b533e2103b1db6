"""A subject is erased over HTTP by an administrator of its tenant, and by nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from saga_es import App
from saga_es.access import Principal
from tests.api.conftest import Served, opened
from tests.api.test_access import app_with_auth
from tests.support.bearers import as_
from tests.support.encrypted import input_of, key_file, purchase

PEOPLE = {
    "ann": Principal("ann", ["admin"]),
    "kim": Principal("kim", ["operator", "resolver", "service", "auditor", "viewer"]),
    "ada": Principal("ada", ["admin"], tenant="acme"),
    "few": Principal("few", ["admin"], ["purchase"]),
}
WHOM = {"subject": "ada", "reason": "request 17"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A node that encrypts and asks who calls."""
    keys = str(key_file(tmp_path))
    with ExitStack() as stack:
        app = app_with_auth(App(sagas=[purchase()]), **PEOPLE)
        yield opened(stack, f"sqlite:///{tmp_path}/saga.db", app, encryption_key_file=keys)


def erased(served: Served, who: str) -> tuple[int, str]:
    answer = served.client.post("/api/saga/erase", json=WHOM, headers=as_(who))
    return answer.status_code, answer.text


def test_an_administrator_erases_a_subject_of_its_tenant(served: Served) -> None:
    """Not of another; not with bounds; the actor is who sent it; then everything shows that it is erased."""
    saga_id = served.node.engine.start("purchase", input_of(), by=PEOPLE["kim"].starter).saga_id
    seen = f"/api/saga/{saga_id}/events"
    assert input_of()["card"] in served.client.get(seen, headers=as_("kim")).text
    assert input_of()["card"] not in served.client.get(seen, headers=as_("ann")).text
    assert [erased(served, who)[0] for who in ("kim", "ada", "few")] == [403, 404, 403]
    assert input_of()["card"] in served.client.get(seen, headers=as_("kim")).text
    status, text = erased(served, "ann")
    assert (status, "key_id" in text) == (200, True)
    assert erased(served, "ann")[0] == 404
    for path in (seen, f"/api/saga/status/{saga_id}"):
        shown = served.client.get(path, headers=as_("kim")).text
        assert ("(erased)" in shown, input_of()["card"] in shown) == (True, False)
    (recorded,) = served.node.store.log.read(json.loads(text)["key_id"])
    assert (recorded.event.actor, recorded.event.reason) == ("ann", "request 17")
