"""Replies of participants that took a call with 202: at the URL that the call named, to whichever process serves it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from saga_es import App, SagaStatus
from saga_es.access import Principal, Role
from saga_es.core.outcomes import Direction
from saga_es.errors import SettingsError
from saga_es.node.replies import replies_of
from saga_es.node.settings import Settings
from saga_es.runtime.calls.replies import ReplyUrls, Taken
from tests.api.conftest import OpenNode, Served, opened
from tests.api.test_access import app_with_auth
from tests.api.test_execute import body_of
from tests.api.test_problems import assert_problem
from tests.conftest import TIMEOUT_S
from tests.support import participants, taken
from tests.support.bearers import as_
from tests.support.participants import Act, Call, Says, by_method

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1yZXBsaWVzLTEyMzQ1Njc4"
BASE = "https://shop.example"
SETTINGS = {"callback_url": BASE, "callback_secret": SECRET, "grace_s": 0.0}
TAKEN = Says(202)


@pytest.fixture
def bank() -> Iterator[participants.Participant]:
    """A participant that takes each call, and never says where to look."""
    with participants.Participant(lambda _: TAKEN) as served:
        yield served


def paying(attempts: int = 3) -> App:
    """A saga that calls the bank, and a step after it."""
    saga = taken.paying(timeout_s=60.0, attempts=attempts)
    saga.step(compensation=None)(thank)
    return App(sagas=[saga])


def thank(pay: Any) -> dict[str, Any]:
    """What the step after it gets."""
    return {"paid": pay}


def path_in(call: Call) -> str:
    """Where the reply to a call goes, below the host."""
    url = call.headers["x-saga-reply-to"]
    assert url.startswith(f"{BASE}/api/saga/replies/")
    return urlsplit(url).path


def begun(served: Served, bank: participants.Participant, calls: int = 1) -> str:
    """A saga whose call the bank took; its id."""
    saga_id = served.node.engine.start("pays", {}).saga_id
    bank.wait_for_calls(calls)
    return saga_id


def reply(served: Served, call: Call, **body: Any) -> int:
    """The bank says what a call came to."""
    return served.client.post(path_in(call), json=body).status_code


def end_of(served: Served, saga_id: str) -> tuple[SagaStatus, dict[str, Any]]:
    """How a saga ended."""
    result = served.node.engine.start("pays", {}, saga_id=saga_id).result(TIMEOUT_S)
    return result.status, result.results


def types(served: Served, saga_id: str) -> list[str]:
    """The types of a saga's events."""
    return [event["type"] for event in body_of(served.client.get(f"/api/saga/{saga_id}/events"), 200)["events"]]


# ── What it says ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_reply_is_the_result_of_the_call(open_node: OpenNode, bank: participants.Participant) -> None:
    """Whoever has the URL needs no other credentials; the same reply again changes nothing."""
    served = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(served, bank)
    assert [reply(served, bank.calls[0], body={"room": 7}) for _ in range(2)] == [204, 204]
    assert end_of(served, saga_id) == (SagaStatus.COMPLETED, {"pay": {"room": 7}, "thank": {"paid": {"room": 7}}})
    assert reply(served, bank.calls[0], status=409) == 204
    assert types(served, saga_id).count("StepCompleted") == 2
    assert len(bank.calls) == 1


def test_a_reply_reaches_the_owner_from_any_process(open_node: OpenNode, bank: participants.Participant) -> None:
    """The one that serves the API records the outcome; the one that waits goes on, and gives its own wait up."""
    owner = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(owner, bank)
    other = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    assert reply(other, bank.calls[0], body=7) == 204
    assert end_of(owner, saga_id) == (SagaStatus.COMPLETED, {"pay": 7, "thank": {"paid": 7}})
    assert owner.node.engine.in_flight == 0
    assert len(bank.calls) == 1


@pytest.mark.parametrize("serves_elsewhere", [False, True])
def test_not_now_has_the_call_made_again(
    open_node: OpenNode, bank: participants.Participant, *, serves_elsewhere: bool
) -> None:
    """By the same table as an answer, also when another process takes the reply; the next attempt has its own URL."""
    owner = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(owner, bank)
    server = open_node(paying(), participants={"bank": bank.url}, **SETTINGS) if serves_elsewhere else owner
    assert reply(server, bank.calls[0], status=503, body={"detail": "closed"}) == 204
    bank.wait_for_calls(2)
    first, second = bank.calls
    assert first.key == second.key
    assert path_in(first) != path_in(second)
    assert reply(server, first, status=422) == 204  # an older refusal says nothing about the present attempt
    assert reply(server, first, body="late, and done") == 204  # what was done once is done
    assert end_of(owner, saga_id)[1]["pay"] == "late, and done"


def test_a_refusal_has_the_saga_undone_and_an_undo_is_replied_to_as_well(
    open_node: OpenNode, bank: participants.Participant
) -> None:
    """An unknown outcome is undone; the undo has a URL of its own."""
    served = open_node(paying(attempts=1), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(served, bank)
    assert reply(served, bank.calls[0], status=500) == 204
    bank.wait_for_calls(2)
    assert bank.calls[1].method == "DELETE"
    assert reply(served, bank.calls[0]) == 204  # of the action, which is over
    assert reply(served, bank.calls[1]) == 204
    assert end_of(served, saga_id)[0] is SagaStatus.COMPENSATED


def test_a_reply_may_come_before_the_answer(open_node: OpenNode, bank: participants.Participant) -> None:
    """A participant that is quick says what it did before it has said that it will."""
    served = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)

    def quick(call: Call) -> Act:
        assert served.client.post(path_in(call), json={"body": 7}).status_code == 204
        return TAKEN

    bank.script = by_method(POST=quick)
    saga_id = begun(served, bank)
    assert end_of(served, saga_id)[1]["pay"] == 7
    assert served.node.engine.in_flight == 0


def test_who_has_replied_is_not_asked(open_node: OpenNode, bank: participants.Participant) -> None:
    """Though it said where to look: the next saga is asked about many times, and the first not once more."""
    served = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)

    def take(_: Call) -> Act:
        if not (is_first := len(bank.calls) == 1):
            assert served.client.post(path_in(bank.calls[0]), json={"body": 7}).status_code == 204
        return Says(202, headers={"Location": "/first" if is_first else "/second", "Retry-After": "0"})

    bank.script = by_method(POST=take, GET=lambda _: Says(202, headers={"Retry-After": "0"}))
    first = begun(served, bank)
    bank.wait_for_calls(2)  # it was asked once
    second = begun(served, bank, 3)
    assert end_of(served, first)[1]["pay"] == 7
    so_far = len(bank.calls)
    bank.wait_for_calls(so_far + 5)
    assert {call.path for call in bank.calls[so_far + 1 :]} == {"/second"}
    assert reply(served, next(call for call in bank.calls[1:] if call.method == "POST"), body=8) == 204
    assert end_of(served, second)[1]["pay"] == 8


def test_a_reply_to_a_worker_that_is_gone_counts_for_the_next(
    open_node: OpenNode, bank: participants.Participant
) -> None:
    """The next one makes the call again, with its key, and the reply to the first ends it."""
    gone = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(gone, bank)
    gone.node.close()
    served = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    bank.wait_for_calls(2)
    assert reply(served, bank.calls[0], body=7) == 204
    assert end_of(served, saga_id)[1]["pay"] == 7
    assert len({call.key for call in bank.calls}) == 1


def test_a_reply_in_a_pause_is_kept(open_node: OpenNode, bank: participants.Participant) -> None:
    """The saga goes on with it when it is resumed, also when another process took it."""
    owner = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(owner, bank)
    other = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    owner.node.engine.pause(saga_id, reason="look", actor="Ada")
    assert reply(other, bank.calls[0], body=7) == 204
    owner.node.engine.resume(saga_id, reason="go on", actor="Ada")
    assert end_of(owner, saga_id)[1]["pay"] == 7
    assert owner.node.engine.in_flight == 0


def test_a_result_that_cannot_be_recorded_is_done_all_the_same(
    open_node: OpenNode, bank: participants.Participant
) -> None:
    """As with an answer: it is undone, and not made again."""
    served = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(served, bank)
    deep: list[Any] = []
    for _ in range(600):
        deep = [deep]
    assert reply(served, bank.calls[0], body=deep) == 204
    bank.wait_for_calls(2)
    assert bank.calls[1].method == "DELETE"
    assert reply(served, bank.calls[1]) == 204
    assert end_of(served, saga_id)[0] is SagaStatus.COMPENSATED
    assert "cannot be recorded" in str(served.node.engine.status(saga_id).steps[0].error)


def test_a_reply_that_is_too_large_is_refused_and_the_call_waits_on(
    open_node: OpenNode, bank: participants.Participant
) -> None:
    """The participant hears so, and may reply with less: a reference."""
    served = open_node(paying(), participants={"bank": bank.url}, payload_limit=2048, **SETTINGS)
    saga_id = begun(served, bank)
    assert reply(served, bank.calls[0], body="x" * 2048) == 413
    assert reply(served, bank.calls[0], body="see s3://bills/7") == 204
    assert end_of(served, saga_id)[1]["pay"] == "see s3://bills/7"


def test_many_replies_at_once_are_one(open_node: OpenNode, bank: participants.Participant) -> None:
    """Two processes, ten threads: the version of the saga keeps them apart."""
    nodes = [open_node(paying(), participants={"bank": bank.url}, **SETTINGS) for _ in range(2)]
    saga_id = begun(nodes[0], bank)
    codes: list[int] = []
    go = threading.Barrier(10)

    def send(number: int) -> None:
        client = nodes[number % 2].app.test_client()
        go.wait(TIMEOUT_S)
        codes.append(client.post(path_in(bank.calls[0]), json={"body": number}).status_code)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [204] * 10
    assert end_of(nodes[0], saga_id)[0] is SagaStatus.COMPLETED
    assert types(nodes[0], saga_id).count("StepCompleted") == 2


# ── Who may say it ───────────────────────────────────────────────────────────────────────────────────────


def test_a_url_that_was_made_for_no_call_is_nobodys(open_node: OpenNode, bank: participants.Participant) -> None:
    """Changed, cut, of another key, of another spelling: one answer, and the saga waits on."""
    served = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(served, bank)
    good = path_in(bank.calls[0])
    token = good.rpartition("/")[2]
    content, _, signature = token.partition(".")
    stranger = ReplyUrls(BASE, lambda: b"another key of at least 24 bytes").url_of(
        Taken(saga_id, "pay", Direction.ACTION, 1)
    )
    bad = [
        token[:-1],
        f"{token}=",
        f"{token}A",
        content,
        f"{content}.",
        f".{signature}",
        f"{content}.{signature[::-1]}",
        f"{content[:-2]}AA.{signature}",
        f"{content}.{signature}.{signature}",
        stranger.rpartition("/")[2],
        "x" * 3_000,
        "é",
        "%00",
        ".",
    ]
    answers = [served.client.post(f"/api/saga/replies/{one}", json={"body": 7}) for one in bad]
    assert {(answer.status_code, answer.data) for answer in answers} == {(404, answers[0].data)}
    assert_problem(answers[0], 404)
    assert types(served, saga_id) == ["SagaStarted", "StepStarted"]
    assert reply(served, bank.calls[0], body=7) == 204


@pytest.mark.parametrize(
    "body", [{"status": 202}, {"status": 302}, {"status": 99}, {"status": "x"}, {"retry_after": -1}]
)
def test_what_is_no_end_of_a_call_is_refused(
    open_node: OpenNode, bank: participants.Participant, body: dict[str, Any]
) -> None:
    """422, with the field; a form is refused like everywhere."""
    served = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    saga_id = begun(served, bank)
    assert_problem(served.client.post(path_in(bank.calls[0]), json=body), 422)
    assert_problem(served.client.post(path_in(bank.calls[0]), data={"status": 200}), 415)
    assert types(served, saga_id) == ["SagaStarted", "StepStarted"]


def test_where_callers_have_to_be_known_the_url_is_enough(tmp_path: Path, bank: participants.Participant) -> None:
    """Any other is answered like every stranger; a role does not open it either."""
    with ExitStack() as stack:
        app = app_with_auth(paying(), ada=Principal("ada", list(Role)))
        served = opened(stack, f"sqlite:///{tmp_path}/x.db", app, participants={"bank": bank.url}, **SETTINGS)
        begun(served, bank)
        good = path_in(bank.calls[0])
        assert_problem(served.client.post(f"{good}x", json={}), 401)
        assert_problem(served.client.post(f"{good}x", json={}, headers=as_("ada")), 403)
        assert served.client.post(good, json={"body": 7}).status_code == 204


def test_the_host_that_replies_are_sent_to_is_one_of_ours(open_node: OpenNode, bank: participants.Participant) -> None:
    """It need not be allowed a second time; no other host is."""
    served = open_node(paying(), participants={"bank": bank.url}, **SETTINGS)
    begun(served, bank)
    path = path_in(bank.calls[0])
    assert_problem(served.client.post(path, json={}, headers={"Host": "evil.example"}), 421)
    assert served.client.post(path, json={"body": 7}, headers={"Host": "shop.example"}).status_code == 204


# ── Settings ─────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_callback_url_no_reply_is_asked_for(open_node: OpenNode, bank: participants.Participant) -> None:
    """A participant that says neither where to look is not waited for: the call may have been done, and is undone."""
    bank.script = by_method(POST=lambda _: TAKEN, DELETE=lambda _: Says())
    served = open_node(paying(attempts=1), participants={"bank": bank.url})
    saga_id = begun(served, bank)
    assert end_of(served, saga_id)[0] is SagaStatus.COMPENSATED
    assert "SAGA_ES_CALLBACK_URL" in str(served.node.engine.status(saga_id).steps[0].error)
    assert "x-saga-reply-to" not in bank.calls[0].headers
    token = Taken(saga_id, "pay", Direction.ACTION, 1)
    path = urlsplit(ReplyUrls(BASE, lambda: b"a key of at least 24 bytes long").url_of(token)).path
    assert_problem(served.client.post(path, json={}), 404)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"callback_url": BASE}, "CALLBACK_SECRET: the URLs of replies are signed; "),
        ({"callback_url": BASE, "callback_secret": "short"}, "CALLBACK_SECRET"),
        ({"callback_url": BASE, "callback_secret": "env:SAGA_TEST_NOT_SET"}, "SAGA_TEST_NOT_SET is empty"),
        ({"callback_url": "shop.example", "callback_secret": SECRET}, "CALLBACK_URL: this is no base URL"),
        (
            {"callback_url": "https://ada:pw@shop.example", "callback_secret": SECRET},
            "CALLBACK_URL: the URL has a user",
        ),
        ({"callback_url": "http://shop.example", "callback_secret": SECRET}, "CALLBACK_URL: replies to shop.example"),
    ],
)
def test_settings_that_no_reply_could_come_by_are_refused(given: dict[str, str], says: str) -> None:
    """When the process starts, with the setting and the cure; a secret is not shown."""
    loaded = Settings.load(given, environ={})
    with pytest.raises(SettingsError, match=says) as caught:
        replies_of(loaded)
    assert SECRET not in repr(loaded) + str(caught.value)


def test_replies_may_come_in_plain_http_within_a_network_of_ones_own() -> None:
    """Or wherever a setting allows it."""
    private = Settings.load({"callback_url": "http://sagas:5000/x/", "callback_secret": SECRET}, environ={})
    urls = replies_of(private)
    assert urls is not None
    assert urls.url_of(Taken("s", "a", Direction.ACTION, 1)).startswith("http://sagas:5000/x/api/saga/replies/")
    allowed = {"callback_url": "http://shop.example", "callback_secret": SECRET, "insecure_http": True}
    assert replies_of(Settings.load(allowed, environ={})) is not None
