"""A real server process: it serves, it is killed and loses nothing, it stops when asked to."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path
from time import monotonic

import pytest
import requests
import sqlalchemy as sa

from tests.e2e.conftest import TIMEOUT_S, Server, StartServer, environment
from tests.support import processes
from tests.support.databases import fresh_database
from tests.support.participants import Act, Call, Hangs, Participant, Says
from tests.support.relay import Relay

EXECUTE = "/api/saga/execute"
LISTS = {"events": "event", "event_details": "event-details", "venues": "venue", "tickets": "ticket"}


def counts(server: Server) -> list[int]:
    """How many records each of the four services has."""
    return [len(server.get(f"/api/{path}/list")[plural]) for plural, path in LISTS.items()]


def everything(server: Server) -> dict[str, object]:
    """All that can be read there."""
    sagas = server.get("/api/saga/list")
    events = [server.get(f"/api/saga/{saga['transaction_id']}/events") for saga in sagas["transactions"]]
    return {"status": server.get("/demo/database-status"), "sagas": sagas, "events": events}


# ── Serving ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_scenarios_of_the_demo_work_on_a_real_server(start_server: StartServer) -> None:
    """A saga completes, one fails at each step and is rolled back, and the health of all parts is good."""
    server = start_server()
    completed = server.post(EXECUTE, {"name": "Concert"})
    assert (completed.status_code, completed.json()["status"]) == (200, "COMPLETED")
    for step in ("event", "event_details", "venue", "ticket"):
        failed = server.post(EXECUTE, {"name": "Concert", "fail_at_step": step})
        assert (failed.status_code, failed.json()["failed_step"]) == (409, step)
        assert failed.json()["rollback_completed"] is True
    assert counts(server) == [1, 1, 1, 1]
    assert server.get("/demo/health-check-all")["overall_status"] == "healthy"
    assert server.post("/demo/create-event-complete").json()["result"]["success"] is True
    assert server.post("/demo/simulate-failure").json()["result"]["success"] is False
    assert len(server.get("/api/saga/list")["transactions"]) == 7


def test_errors_of_a_real_server_are_problems_too(start_server: StartServer) -> None:
    """What is unknown, malformed or too large is answered as a problem document over the wire."""
    server = start_server(settings={"SAGA_ES_PAYLOAD_LIMIT": "2000"})
    with requests.Session() as session:
        json = {"Content-Type": "application/json"}
        answers = [
            session.get(server.url + "/nowhere", timeout=TIMEOUT_S),
            session.post(server.url + EXECUTE, data=b"{", headers=json, timeout=TIMEOUT_S),
            session.post(server.url + EXECUTE, data=b"x" * 5000, headers=json, timeout=TIMEOUT_S),
            session.post(server.url + EXECUTE, data=iter([b"name=x"]), timeout=TIMEOUT_S),
        ]
    assert [answer.status_code for answer in answers] == [404, 400, 413, 415]
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert "2000" in answers[2].json()["detail"]


def test_behind_a_proxy_with_a_prefix_a_location_begins_with_it(start_server: StartServer) -> None:
    """As far as the server was told to trust proxies."""
    for proxies, prefix in (("1", "/shop"), ("0", "")):
        server = start_server(settings={"SAGA_ES_TRUSTED_PROXIES": proxies})
        answer = server.post(EXECUTE, {"name": "Concert"}, Prefer="respond-async", X_Forwarded_Prefix="/shop")
        assert answer.headers["Location"].startswith(f"{prefix}/api/saga/status/")


def test_serving_only_some_parts_serves_just_those(start_server: StartServer) -> None:
    """`--only venue`: its routes and the root are there, the others are not."""
    server = start_server("--only", "venue")
    assert server.get("/api/venue/list")["venues"] == []
    assert server.get("/")["status"]
    for path in ("/api/event/list", "/api/saga/list", "/demo/"):
        assert requests.get(server.url + path, timeout=TIMEOUT_S).status_code == 404


# ── Killed ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_killed_and_started_again_shows_the_same(start_server: StartServer) -> None:
    """After kill -9 every list, status and event is there again, byte for byte."""
    server = start_server()
    for _ in range(3):
        assert server.post(EXECUTE, {"name": "Concert"}).status_code == 200
        assert server.post(EXECUTE, {"name": "Concert", "fail_at_step": "ticket"}).status_code == 409
    before = everything(server)
    server.kill()

    assert everything(start_server()) == before


def test_a_key_used_before_a_kill_is_known_after_it(start_server: StartServer) -> None:
    """The log itself remembers the keys: the same answer, and no second saga."""
    first = (server := start_server()).post(EXECUTE, {"name": "Concert"}, Idempotency_Key="k")
    server.kill()
    server = start_server()
    again = server.post(EXECUTE, {"name": "Concert"}, Idempotency_Key="k")
    assert (again.status_code, again.content) == (200, first.content)
    assert server.post(EXECUTE, {"name": "Other"}, Idempotency_Key="k").status_code == 422
    assert counts(server) == [1, 1, 1, 1]


class Gate:
    """Stands between the saga and a real service: a call takes effect there, but its answer is held back, once."""

    def __init__(self, service: Server, method: str) -> None:
        self._service = service
        self._method = method
        self.held = threading.Event()

    def __call__(self, call: Call) -> Act:
        """Pass it on; hold the first answer to the method back for ever."""
        wanted = {"idempotency-key", "x-saga-id", "x-saga-step", "content-type"}
        headers = {name: value for name, value in call.headers.items() if name in wanted}
        answer = requests.request(
            call.method, self._service.url + call.path, data=call.body, headers=headers, timeout=TIMEOUT_S
        )
        if call.method == self._method and not self.held.is_set():
            self.held.set()
            return Hangs()
        return Says(answer.status_code, answer.content)


@pytest.mark.parametrize(
    ("method", "fail_at_step", "ends", "left"),
    [("POST", None, "COMPLETED", [1, 1, 1, 1]), ("DELETE", "ticket", "COMPENSATED", [0, 0, 0, 0])],
    ids=["going forward", "compensating"],
)
def test_a_saga_killed_in_the_middle_goes_on_after_a_restart(
    start_server: StartServer, method: str, fail_at_step: str | None, ends: str, left: list[int]
) -> None:
    """Killed when a call has taken effect and its answer has not come: the saga ends, every effect once."""
    venue = start_server("--only", "venue")
    gate = Gate(venue, method)
    with Participant(gate) as between:
        settings = {"SAGA_ES_PARTICIPANT_VENUE": between.url}
        server = start_server(settings=settings)
        body = {"name": "Concert", "fail_at_step": fail_at_step}
        transaction_id = server.post(EXECUTE, body, Prefer="respond-async").json()["transaction_id"]
        assert gate.held.wait(TIMEOUT_S)
        server.kill()

        server = start_server(settings=settings)
        ended = server.wait_for_end(transaction_id)
        assert ended["status"] == ends
        assert counts(server) == left
        repeated = [call for call in between.calls if call.method == method]
        assert len(repeated) == 2
        assert len({call.key for call in repeated}) == 1
        types = [event["type"] for event in server.get(f"/api/saga/{transaction_id}/events")["events"]]
        assert types.count("SagaTakenOver") == 1
        assert types.count("StepCompleted") == (4 if fail_at_step is None else 3)


def test_interrupted_sagas_move_again_within_a_second_of_readiness(start_server: StartServer) -> None:
    """Ten sagas were waiting for an answer when the process was killed; soon after the restart all have ended."""
    with Participant(lambda _: Hangs()) as ticket:
        server = start_server(settings={"SAGA_ES_PARTICIPANT_TICKET": ticket.url})
        ids = [
            server.post(EXECUTE, {"name": f"Concert {number}"}, Prefer="respond-async").json()["transaction_id"]
            for number in range(10)
        ]
        ticket.wait_for_calls(10)
        server.kill()
        server = start_server()
        ready_at = monotonic()
        assert {server.wait_for_end(id_)["status"] for id_ in ids} == {"COMPLETED"}
        assert monotonic() - ready_at < 5, "a second is promised; the rest is for a busy machine"
        assert counts(server) == [10, 10, 10, 10]


# ── Asked to stop ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once_when_asked(start_server: StartServer, how: signal.Signals) -> None:
    """Exit code 0, no stack trace, well within the grace time."""
    server = start_server()
    assert server.post(EXECUTE, {"name": "Concert"}).status_code == 200
    server.ask_to_stop(how)
    assert server.exit_code(within_s=5) == 0
    assert "Traceback" not in "".join(server.said)


def test_a_server_says_that_it_is_stopping_and_how_long_that_may_take(start_server: StartServer) -> None:
    """Whoever waits for it can read why."""
    server = start_server()
    server.ask_to_stop()
    assert server.exit_code() == 0
    assert "stopping" in server.wait_for_line(lambda line: "grace_s" in line)


ASKED_WHILE_IT_LOGS = """
import io, signal, sys, threading
from types import SimpleNamespace
from saga_es.node.logs import configure_logs
from saga_es.node.shutdown import logger, stop_gracefully_when_asked

class Asked(io.StringIO):
    def write(self, text):
        if "a line" in text:
            signal.raise_signal(signal.SIGTERM)
        print(text, end="", flush=True)

sys.stderr = Asked()
configure_logs("info")
engine = SimpleNamespace(close=lambda grace_s: print("closed"))
settings = SimpleNamespace(grace_s=3)
stop_gracefully_when_asked(SimpleNamespace(settings=settings, engine=engine, closing=threading.Event()))
logger.info("a line")
"""


def test_a_process_that_is_asked_to_stop_while_it_writes_a_log_line_stops(tmp_path: Path) -> None:
    """The line that says so has to wait for the other to be done, and so must not be the handler's."""
    done = processes.run("-c", ASKED_WHILE_IT_LOGS, cwd=tmp_path, env=environment(), timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    said, closed = done.stdout.splitlines()
    assert "event=stopping grace_s=3" in said
    assert closed == "closed"


def test_a_server_with_a_call_under_way_stops_within_the_grace_time(start_server: StartServer) -> None:
    """A participant that hangs does not keep it; the saga is taken up by the next server."""
    with Participant(lambda _: Hangs()) as ticket:
        settings = {"SAGA_ES_PARTICIPANT_TICKET": ticket.url, "SAGA_ES_GRACE_S": "1"}
        server = start_server(settings=settings)
        body = server.post(EXECUTE, {"name": "Concert"}, Prefer="respond-async").json()
        ticket.wait_for_calls(1)
        asked_at = monotonic()
        server.ask_to_stop()
        assert server.exit_code() == 0
        assert monotonic() - asked_at < 4, "one second of grace, the rest is for a busy machine"

    assert start_server().wait_for_end(body["transaction_id"])["status"] == "COMPLETED"


def test_a_server_with_a_request_waiting_stops_within_the_grace_time(start_server: StartServer) -> None:
    """Somebody waits for an execute call whose participant hangs: the grace time holds all the same."""
    with Participant(lambda _: Hangs()) as ticket:
        settings = {"SAGA_ES_PARTICIPANT_TICKET": ticket.url, "SAGA_ES_GRACE_S": "1"}
        server = start_server(settings=settings)
        waiting = threading.Thread(target=_ask_and_expect_little, args=(server.url,))
        waiting.start()
        ticket.wait_for_calls(1)
        asked_at = monotonic()
        server.ask_to_stop()
        assert server.exit_code() == 0
        took_s = monotonic() - asked_at
        waiting.join()
        assert took_s < 4, f"it took {took_s:.1f} s; one second of grace, the rest is for a busy machine"


def test_a_call_that_ends_within_the_grace_time_is_recorded(start_server: StartServer) -> None:
    """Its answer came while the server was stopping: it is in the log, and not asked for again."""
    answer = threading.Event()
    with Participant(lambda _: Hangs(answer)) as ticket:
        settings = {"SAGA_ES_PARTICIPANT_TICKET": ticket.url, "SAGA_ES_GRACE_S": "10"}
        server = start_server(settings=settings)
        body = server.post(EXECUTE, {"name": "Concert"}, Prefer="respond-async").json()
        ticket.wait_for_calls(1)
        server.ask_to_stop()
        server.wait_until_refused()
        answer.set()
        assert server.exit_code() == 0
        assert start_server(settings=settings).wait_for_end(body["transaction_id"])["status"] == "COMPLETED"
        assert len(ticket.calls) == 1


def _ask_and_expect_little(url: str) -> None:
    try:
        requests.post(url + EXECUTE, json={"name": "Concert"}, timeout=TIMEOUT_S)
    except requests.RequestException:
        return  # the server went away, as it should


# ── Not startable ────────────────────────────────────────────────────────────────────────────────────────


def test_a_port_in_use_is_told_in_one_line_with_an_exit_code(start_server: StartServer) -> None:
    """The line names the address; there is no stack trace."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start_server("--port", str(port), waits=False)
        assert server.exit_code() == 1
    text = "".join(server.said)
    assert "Traceback" not in text
    assert [f"127.0.0.1:{port}" in line for line in server.said].count(True) == 1
    assert len(server.said) <= 2, text


def test_a_database_that_cannot_be_reached_is_told_with_exit_code_8(start_server: StartServer) -> None:
    """One line, and no server, when it is not to be waited for, or for too long."""
    away = "postgresql://nobody@127.0.0.1:1/none"
    server = start_server("--database-url", away, "--database-wait-s", "0", waits=False)
    assert server.exit_code() == 8
    assert "Traceback" not in "".join(server.said)
    assert len(server.said) == 1, server.said


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_database_that_is_away_at_the_start_is_waited_for(
    kind: str, start_server: StartServer, tmp_path: Path
) -> None:
    """It says so, and serves as soon as the database is there: it needs no supervisor for that."""
    with fresh_database(kind, tmp_path) as text:
        url = sa.make_url(text)
        with Relay(url.host or "127.0.0.1", url.port or 0) as relay:
            relay.cut()
            behind = url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
            server = start_server("--database-url", behind, waits=False)
            server.wait_for_line(lambda said: "the database is away, trying again" in said)
            relay.mend()
            server.ready()
            assert server.get("/api/saga/health")["active_transactions"] == 0
            server.close()


def test_a_file_that_cannot_be_opened_is_not_waited_for(start_server: StartServer, tmp_path: Path) -> None:
    """No time makes a folder that was misspelt."""
    server = start_server("--database-url", f"sqlite:///{tmp_path}/misspelt/saga.db", waits=False)
    assert server.exit_code() == 8
