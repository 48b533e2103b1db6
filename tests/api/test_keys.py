"""API keys on every database: shown once, known by their hash, scoped, exchanged, expired, revoked within seconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from saga_es import App
from saga_es.access import Principal, keys
from saga_es.access.keys import KEPT_S, MOST_KEPT, KeyRefused, Keys
from saga_es.cli import main
from saga_es.core.access import KeyCreated
from saga_es.errors import DefinitionError, NotFound
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.log.codec import ACCESS, of_application
from saga_es.store.log.entries import Recorded
from saga_es.store.tables import saga_events
from saga_es.store.views.comparing import compare
from saga_es.store.views.keys import key_view, saga_keys
from tests.api.conftest import OpenNode, Served
from tests.support.bearers import as_

SHOP = Principal("shop", ["service"], ["order"], "acme", via="key")
ANN = "cli:ann@desk"


@pytest.fixture
def served(open_node: OpenNode) -> Served:
    """A node that asks for API keys."""
    return open_node(App(), auth="keys")


def counted(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The streams that are read from now on."""
    reads: list[str] = []
    read = node.store.log.read

    def counting(stream_id: str) -> list[Recorded]:
        reads.append(stream_id)
        return read(stream_id)

    monkeypatch.setattr(node.store.log, "read", counting)
    return reads


def secret_of(text: str) -> str:
    """The secret of a key."""
    return text.split("_", 2)[2]


def test_a_key_is_good_for_its_role_and_nothing_else_is(served: Served) -> None:
    """Any other text is answered as none is: with one body."""
    made = served.node.keys.create(Principal("desk", ["viewer"]), ANN)
    client = served.client
    assert client.get("/api/saga/list", headers=as_(made.text)).status_code == 200
    assert client.get("/api/saga/list", headers={"Authorization": f"bearer  {made.text}"}).status_code == 200
    assert client.post("/api/saga/x/pause", json={"reason": "x"}, headers=as_(made.text)).status_code == 403
    id_, _, secret = made.text.removeprefix("sgk_").partition("_")
    other = served.node.keys.create(Principal("other", ["viewer"]), ANN).text
    wrong = [
        made.text[:-1],
        made.text + "A",
        made.text[:-1] + ("A" if made.text[-1] != "A" else "B"),
        f"sgk_{'0' * 16}_{secret}",
        f"sgk_{id_}_{secret_of(other)}",
        f"sgk_{id_}_",
        id_,
        secret,
        made.key_id,
        f"sgk_{id_}_{'ä' * 43}".encode().decode("latin-1"),
        "sgk_" + "a" * 100_000,
        "",
    ]
    answers = [client.get("/api/saga/list", headers=as_(text)) for text in wrong]
    answers += [client.get("/api/saga/list", headers={"Authorization": value}) for value in (made.text, "Basic x", "")]
    answers.append(client.get(f"/api/saga/list?key={made.text}"))
    assert {(answer.status_code, answer.data) for answer in answers} == {(401, answers[0].data)}


def test_a_key_is_shown_once(served: Served) -> None:
    """Log and view have the hash of its secret, at most; two keys have nothing in common."""
    made, other = (served.node.keys.create(SHOP, ANN) for _ in range(2))
    secret = secret_of(made.text)
    assert len(secret) == 43
    assert made.key_id != other.key_id
    with served.node.database.reading() as connection:
        kept = [*connection.execute(sa.select(saga_events)), *connection.execute(sa.select(saga_keys))]
    assert secret not in repr(kept)
    assert made.text not in repr(kept)
    (recorded,) = served.node.store.log.read(made.key_id)
    assert recorded.category == ACCESS
    assert isinstance(recorded.event, KeyCreated)
    assert recorded.event.sha256 in repr(kept)


def test_a_key_stands_for_its_principal(served: Served) -> None:
    """With its roles, its definitions and its tenant."""
    made = served.node.keys.create(SHOP, ANN)
    assert served.node.keys.principal(made.text) == SHOP


def test_a_key_that_was_revoked_is_good_for_seconds_at_most(
    served: Served, open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another process, until what it keeps is too old; in between the database is asked once."""
    now = 1000.0
    monkeypatch.setattr(keys, "monotonic_s", lambda: now)
    made = served.node.keys.create(SHOP, ANN)
    elsewhere = open_node(App(), auth="keys").node
    reads = counted(elsewhere, monkeypatch)
    assert elsewhere.keys.principal(made.text) == SHOP
    served.node.keys.revoke(made.key_id, ANN, "lost")
    served.node.keys.revoke(made.key_id, ANN, "lost, again")
    now += KEPT_S - 0.1
    for _ in range(10):
        elsewhere.keys.principal(made.text)
    assert reads == [made.key_id]
    now += 0.1
    assert elsewhere.keys.principal(made.text) is None
    (row,) = served.node.keys.rows()
    assert (row["state"], row["revoked_by"], row["reason"]) == ("revoked", ANN, "lost")


def test_strangers_push_out_no_key_that_is_kept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that they make up are not kept, and cost memory nothing."""
    made = served.node.keys.create(SHOP, ANN)
    assert served.node.keys.principal(made.text) == SHOP
    reads = counted(served.node, monkeypatch)
    for number in range(20):
        assert served.node.keys.principal(f"sgk_{number:016x}_{'a' * 43}") is None
    assert len(reads) == 20 < MOST_KEPT
    assert served.node.keys.principal(made.text) == SHOP
    assert len(reads) == 20


def test_a_key_ends_when_it_was_to_end(served: Served) -> None:
    """Also one that is kept."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    here = served.node
    some = Keys(here.database, here.store.log, here.store.writer, lambda: now)
    made = some.create(SHOP, ANN, timedelta(days=90))
    now += timedelta(days=90, microseconds=-1)
    assert some.principal(made.text) == SHOP
    assert some.rows()[0]["state"] == "valid"
    now += timedelta(microseconds=1)
    assert some.principal(made.text) is None
    assert some.rows()[0]["state"] == "expired"


def test_two_keys_of_a_principal_are_valid_while_they_are_exchanged(served: Served) -> None:
    """A third is refused until one of them is revoked; other principals have theirs, also those of other tenants."""
    first, second = (served.node.keys.create(SHOP, ANN) for _ in range(2))
    assert {served.node.keys.principal(made.text) for made in (first, second)} == {SHOP}
    with pytest.raises(KeyRefused, match=f"2 valid keys.*{first.key_id}"):
        served.node.keys.create(SHOP, ANN)
    served.node.keys.create(Principal("shop", ["service"]), ANN)
    served.node.keys.revoke(first.key_id, ANN, "exchanged")
    served.node.keys.create(SHOP, ANN)


def test_what_is_no_key_cannot_be_revoked(served: Served) -> None:
    """An id that nobody has, or that something else has."""
    for absent in ("key-0", "x", ""):
        with pytest.raises(NotFound):
            served.node.keys.revoke(absent, ANN, "why")


def test_the_list_of_keys_is_a_view(served: Served) -> None:
    """It equals the fold of the log, and can be made anew."""
    made = [served.node.keys.create(Principal(f"p{n}", ["auditor"], ["a"] if n else None), ANN) for n in range(3)]
    served.node.keys.revoke(made[1].key_id, ANN, "lost")
    (comparison,) = compare(served.node.database, served.node.store.log, [key_view], lambda *_: None)
    assert (comparison.rows, comparison.missing, comparison.surplus, comparison.different) == (3, 0, 0, 0)


def test_an_application_has_no_category_of_ours() -> None:
    """Its events would be read as ours."""
    for taken in ("access", "saga", "plan", "import"):
        with pytest.raises(DefinitionError, match=taken):
            of_application({taken: [KeyCreated]})


def test_keys_on_the_command_line(tmp_path: Path) -> None:
    """Made, listed, revoked; the key alone is on stdout, once."""
    url = f"sqlite:///{tmp_path}/saga.db"

    def run(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(main, ["--database-url", url, "--app", "tests.support.worker_app", *words])
        assert done.exit_code == code, done.output
        return done

    run("db", "upgrade")
    made = run("key", "create", "shop", "--role", "service", "--saga", "order", "--expires-in", "90d").stdout.strip()
    listed = json.loads(run("key", "list", "--json").stdout)["keys"]
    assert [(row["name"], row["roles"], row["sagas"], row["state"]) for row in listed] == [
        ("shop", ["service"], ["order"], "valid")
    ]
    assert listed[0]["created_by"].startswith("cli:")
    assert made.startswith("sgk_")
    assert made not in run("key", "list").stdout
    key_id = listed[0]["key_id"]
    run("key", "revoke", key_id, "--reason", "lost")
    assert json.loads(run("key", "list", "--json").stdout)["keys"][0]["state"] == "revoked"
    assert "--role" in run("key", "create", "shop", code=2).stderr
    run("key", "create", "shop", "--role", "root", code=2)
    run("key", "create", "a\nb", "--role", "viewer", code=2)
    run("key", "create", "a", "--role", "viewer", "--expires-in", "soon", code=2)
    run("key", "revoke", "key-unknown", "--reason", "x", code=3)
    node = Node(Settings.load({"database_url": url}, {}))
    assert node.keys.principal(made) is None
    node.database.close()
