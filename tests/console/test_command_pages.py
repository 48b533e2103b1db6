"""Commands from the console: what is offered, what comes of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from saga_es.console import guard
from saga_es.console.guard import COOKIE
from saga_es.store.tables import saga_checkpoints
from saga_es.store.views import checkpoints
from tests.api.conftest import OpenNode, Served
from tests.api.test_saga_reading import UNKNOWN
from tests.console.conftest import with_console
from tests.support.journeys_served import app_of, begin, begun, is_now, journey, outing, stuck, when
from tests.support.pages import Page, page_of, token_of

BY_ANN = {"actor": "ann", "reason": "she says so"}


def path_of(saga_id: str, name: str) -> str:
    return f"/console/sagas/{saga_id}/{name}"


def give(served: Served, saga_id: str, name: str, **form: Any) -> TestResponse:
    """What answers a form that was opened and sent."""
    path = path_of(saga_id, name)
    token = token_of(served.client, path)
    return served.client.post(path, data={**BY_ANN, "csrf": token, **form})


def given(served: Served, saga_id: str, name: str, **form: Any) -> Page:
    """The page of the saga after a command that it follows."""
    answer = give(served, saga_id, name, **form)
    assert answer.status_code == 303, answer.text[-3000:]
    page = page_of(served.client.get(answer.location))
    assert "Written." in page.text
    return page


def offered(served: Served, saga_id: str) -> set[str]:
    links = page_of(served.client.get(f"/console/sagas/{saga_id}")).all("a")
    start = path_of(saga_id, "")
    return {link["href"].removeprefix(start) for link in links if link["href"].startswith(start)}


# ── What is offered ──────────────────────────────────────────────────────────────────────────────────────


def test_only_what_a_saga_can_follow_now_is_offered(served: Served) -> None:
    """And the page says why the others cannot be followed."""
    waiting, failed = begun(served), stuck(served)
    assert offered(served, waiting) == {"pause", "cancel", "signal", "fail"}
    assert offered(served, failed) == {"retry", "skip", "replace-input", "resolve"}
    given(served, waiting, "pause")
    assert offered(served, waiting) == {"resume", "cancel", "signal", "fail"}
    page = page_of(served.client.get(f"/console/sagas/{waiting}"))
    assert "it is paused, by ann: she says so" in page.text


def test_the_page_of_a_cancel_shows_what_would_be_undone(served: Served) -> None:
    """And the same as curl and as command line."""
    saga_id = begun(served)
    page = page_of(served.client.get(path_of(saga_id, "cancel")))
    assert "seat The seat done" in page.text
    assert f"saga-es cancel {saga_id} --reason" in page.text
    assert f"/api/saga/{saga_id}/cancel" in page.text
    assert served.node.engine.status(saga_id).version == 4, "nothing was recorded"


# ── What comes of it ─────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_is_cancelled(served: Served) -> None:
    """Who did it, and why, stands in the log."""
    saga_id = begun(served)
    page = given(served, saga_id, "cancel")
    assert "The saga is cancelled by ann: she says so" in page.text
    when(served.client, saga_id, is_now("COMPENSATED"))


def test_a_saga_is_paused_and_resumed(served: Served) -> None:
    """Without a name the log says anonymous."""
    saga_id = begun(served)
    assert "paused by anonymous: she says so" in given(served, saga_id, "pause", actor=" ").text
    assert "resumed by ann" in given(served, saga_id, "resume").text


def test_a_saga_is_given_up(served: Served) -> None:
    """It stays as it stands, and can be taken up again; one that has ended cannot be given up."""
    saga_id = begun(served)
    page = page_of(served.client.get(path_of(saga_id, "fail")))
    assert (f"saga-es fail {saga_id} --reason" in page.text, f"/api/saga/{saga_id}/fail" in page.text) == (True, True)
    assert "given up by ann: she says so" in given(served, saga_id, "fail").text
    assert when(served.client, saga_id, is_now("FAILED"))["steps"][0]["status"] == "COMPLETED"
    page_of(served.client.get(path_of(saga_id, "fail")), 409)
    assert "retry" in offered(served, saga_id)


def test_a_signal_is_sent(served: Served) -> None:
    """Its payload is JSON, and the same key twice is one signal."""
    saga_id = begun(served)
    given(served, saga_id, "signal", step="approval", input='{"by": "kim"}', key="k")
    ended = when(served.client, saga_id, is_now("COMPLETED"))
    assert ended["steps"][1]["result"] == {"by": "kim"}


def test_what_waits_is_retried_now(served: Served) -> None:
    """Instead of in an hour."""
    saga_id = begin(served, busy=True)
    when(served.client, saga_id, lambda story: story["steps"][0]["retry_at"] is not None)
    given(served, saga_id, "retry")
    when(served.client, saga_id, lambda story: story["steps"][0]["attempts"] == 2)


def test_a_failed_saga_is_mended_in_each_way(served: Served) -> None:
    """Skipped, with another input, or by hand."""
    skipped, replaced, resolved = stuck(served), stuck(served), stuck(served)
    given(served, skipped, "skip", step="seat")
    page = page_of(served.client.get(path_of(replaced, "replace-input")))
    assert '"sold": true' in page.text, "the form begins with the input that the step has"
    given(served, replaced, "replace-input", step="seat", input='{"sold": false}')
    for saga_id in (skipped, replaced):
        when(served.client, saga_id, is_now("COMPENSATED"))
    given(served, resolved, "resolve", status="COMPLETED")
    assert served.node.engine.status(resolved).status == "COMPLETED"


# ── What is refused ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["retry", "resume", "skip", "replace-input", "resolve"])
def test_a_command_that_cannot_be_followed_has_no_form(served: Served, name: str) -> None:
    """The page says why, and what the saga can follow."""
    page = page_of(served.client.get(path_of(begun(served), name)), 409)
    assert not page.all("textarea", name="reason")
    assert "What it can follow" in page.text


def test_who_comes_second_is_told_who_came_first(served: Served) -> None:
    """The new state is shown, and the reason is kept."""
    saga_id = begun(served)
    token = token_of(served.client, path_of(saga_id, "pause"))
    served.node.engine.pause(saga_id, reason="maintenance", actor="m.tanaka")
    form = {"csrf": token, "seen": "4", "reason": "I wanted it first"}
    page = page_of(served.client.post(path_of(saga_id, "pause"), data=form), 409)
    assert "The saga is paused by m.tanaka: maintenance" in page.text
    assert "I wanted it first" in page.text
    assert [link for link in page.all("a") if link["href"].endswith("/resume")]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("cancel", {"reason": ""}),
        ("cancel", {"reason": " \t"}),
        ("cancel", {"reason": "x" * 2001}),
        ("cancel", {"reason": "a\0b"}),
        ("cancel", {"actor": "x" * 201}),
        ("signal", {"step": "approval", "input": "{"}),
        ("signal", {"step": "approval", "input": "[" * 5000}),
        ("signal", {"step": "", "input": "1"}),
    ],
)
def test_a_form_that_cannot_be_read_comes_back_with_what_is_wrong(
    served: Served, name: str, form: dict[str, str]
) -> None:
    """Nothing is recorded, and what was typed is kept."""
    saga_id = begun(served)
    page = page_of(give(served, saga_id, name, **form), 422)
    assert page.all("form", action=path_of(saga_id, name))
    assert served.node.engine.status(saga_id).version == 4


@pytest.mark.parametrize("input_", ["", "[]", "1", "null", '{"a": NaN}', "{'a': 1}"])
def test_an_input_is_an_object(served: Served, input_: str) -> None:
    """In JSON."""
    saga_id = stuck(served)
    page_of(give(served, saga_id, "replace-input", step="seat", input=input_), 422)
    assert served.node.engine.status(saga_id).status == "FAILED"


def test_a_forged_form_is_refused(served: Served) -> None:
    """Without token, with another's, without cookie, from another origin or site: nothing is recorded."""
    saga_id = begun(served)
    path = path_of(saga_id, "cancel")
    token = token_of(served.client, path)
    form = {**BY_ANN, "csrf": token}
    stranger = served.app.test_client()
    token_of(stranger, path)
    refused = [
        served.client.post(path, data=BY_ANN),
        served.client.post(path, data={**form, "csrf": "0" * 64}),
        served.client.post(path, data={**form, "csrf": "ü"}),
        stranger.post(path, data=form),
        served.app.test_client().post(path, data=form),
        served.client.post(path, data=form, headers={"Origin": "https://evil.example"}),
        served.client.post(path, data=form, headers={"Origin": "null"}),
        served.client.post(path, data=form, headers={"Sec-Fetch-Site": "cross-site"}),
        served.client.post(path, data=form, headers={"Sec-Fetch-Site": "same-site"}),
        served.client.post(path, json=form),
    ]
    for answer in refused:
        page_of(answer, 403)
    assert served.node.engine.status(saga_id).version == 4
    allowed = served.client.post(
        path, data=form, headers={"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    )
    assert allowed.status_code == 303


def test_a_command_to_a_saga_that_there_is_not_is_a_page_that_says_so(served: Served) -> None:
    """404, for the form and for what was sent; a command that there is not has no page."""
    for name in ("cancel", "signal", "skip"):
        page_of(served.client.get(path_of(UNKNOWN, name)), 404)
    token = token_of(served.client, "/console/sagas")
    page_of(served.client.post(path_of(UNKNOWN, "cancel"), data={**BY_ANN, "csrf": token}), 404)
    page_of(served.client.get(path_of(UNKNOWN, "dance")), 404)


# ── Language and theme ───────────────────────────────────────────────────────────────────────────────────


def test_language_and_theme_are_remembered(served: Served) -> None:
    """The server writes them into the first byte; the way back leads to nobody else's pages."""
    token = token_of(served.client, "/console/sagas")
    answer = served.client.post(
        "/console/preferences", data={"csrf": token, "theme": "dark", "back": "/console/sagas?status=FAILED"}
    )
    assert (answer.status_code, answer.location) == (303, "/console/sagas?status=FAILED")
    assert page_of(served.client.get("/console/sagas")).all("html", data_theme="dark")
    for back in ("https://evil.example", "//evil.example", "/\\evil.example", "x", "/a\r\nSet-Cookie: x"):
        answer = served.client.post("/console/preferences", data={"csrf": token, "language": "ja", "back": back})
        assert answer.location == "/console/sagas"
    assert page_of(served.client.get("/console/sagas")).all("html", lang="ja")
    page_of(served.client.post("/console/preferences", data={"theme": "light"}), 403)


# ── Several processes ────────────────────────────────────────────────────────────────────────────────────


def test_a_form_is_accepted_by_every_process_of_the_database(
    served: Served, open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a SECRET_KEY, behind one address: the page comes from one process, and the form goes to another."""
    saga_id = begun(served)
    path = path_of(saga_id, "pause")
    token, cookie = token_of(served.client, path), served.client.get_cookie(COOKIE)
    assert cookie is not None
    inner = journey()
    other = with_console(open_node(app_of(inner, outing(inner))))
    monkeypatch.setattr(guard, "_OWN_KEY", b"that of the other process")
    other.client.set_cookie(COOKIE, cookie.value)
    assert other.client.post(path, data={**BY_ANN, "csrf": token}).status_code == 303
    assert other.client.post(path, data={**BY_ANN, "csrf": "0" * 64}).status_code == 403


def test_the_shared_key_is_no_view(served: Served) -> None:
    """It stands beside the checkpoints of views, and is not shown as one."""
    token_of(served.client, path_of(begun(served), "pause"))
    with served.node.database.reading() as connection:
        names = set(connection.scalars(sa.select(saga_checkpoints.c.name)))
        assert "shared:console" in names
        assert "shared:console" not in checkpoints.read(connection)
