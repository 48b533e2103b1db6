"""Kill -9 of the real server: real clients go on asking under their keys until they are answered."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from pathlib import Path
from random import Random
from typing import Any

import requests

import services
from saga_es.cli import main
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from tests.torture.forks import TIMEOUT_S, Fork
from tests.torture.reckoning import Found, broken_rules, interruptions, streams_of, wrong_views

STEPS = ("event", "event_details", "venue", "ticket")
LISTS = {"event": "events", "event-details": "event_details", "venue": "venues", "ticket": "tickets"}
CLIENTS = 4
FLAGS = ("--app", "services", "--log-level", "error", "--most-crashes", "1000")
"""Here all servers go, and no saga is to blame."""

Answers = dict[str, tuple[dict[str, Any], requests.Response]]
"""Of each key, the body and the answer."""

ANSWERED = {200: "COMPLETED", 409: "COMPENSATED"}


def serve(url: str, port: int, *arguments: str, **settings: str) -> None:
    """`saga-es serve`, in a process that has imported it already."""
    os.environ.update(settings)
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        main(["serve", "--database-url", url, "--port", str(port), *FLAGS, *arguments])


class ServedCampaign:
    """One server after the other on one database and port, and clients that do not give up.

    Args:
        url: The database, empty.
        seed: For the dice.
    """

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._seed = seed
        self._dice = Random(seed)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        self._base = f"http://127.0.0.1:{self._port}"
        self._enough = threading.Event()

    def run(self, kills: int, killed: Callable[[], object] = lambda: None) -> Found:
        """Kill so many servers, let the clients have their answers from the last, and look at everything."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._client, number) for number in range(CLIENTS)]
            try:
                server = self._born()
                for _ in range(kills):
                    if self._dice.random() < 0.8:
                        self._wait_until_it_answers()
                    time.sleep(self._dice.uniform(0, 0.5))
                    server = self._kill(server)
                    killed()
            finally:
                self._enough.set()
            try:
                answers = {key: answer for client in clients for key, answer in client.result(TIMEOUT_S).items()}
                faults = self._faults_over_http(answers)
                self._wait_for_the_rest()
            finally:
                server.kill()
        return self._reckon(faults)

    def _born(self) -> Fork:
        return Fork(serve, self._url, self._port)

    def _kill(self, server: Fork) -> Fork:
        """Kill something; the server that is up then."""
        server.kill()
        return self._born()

    def _wait_for_the_rest(self) -> None:
        """Whatever else has to come to its end, before the last server is killed."""

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while _asked("GET", self._base + "/api/saga/health") is None:
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.01)

    # ── Clients ──────────────────────────────────────────────────────────────────────────────────────────

    def _client(self, number: int) -> Answers:
        """Run one saga after the other, each until it is answered."""
        dice = Random(self._seed * 1000 + number)
        answers: Answers = {}
        while not self._enough.is_set():
            key = f"client-{number}-{len(answers)}"
            body = {"name": key, "fail_at_step": dice.choice([None, None, None, *STEPS])}
            answers[key] = body, self._insist(key, body)
        return answers

    def _insist(self, key: str, body: dict[str, Any]) -> requests.Response:
        since = time.monotonic()
        while True:
            answer = _asked("POST", self._base + "/api/saga/execute", json=body, headers={"Idempotency-Key": key})
            if answer is not None and answer.status_code not in (202, 503):
                return answer
            if not self._enough.is_set():  # as long as servers are killed, nobody is promised an answer
                since = time.monotonic()
            assert time.monotonic() - since < TIMEOUT_S, f"{key} is not answered: {answer and answer.text}"
            time.sleep(0.02)

    # ── The reckoning ────────────────────────────────────────────────────────────────────────────────────

    def _faults_over_http(self, answers: Answers) -> list[str]:
        faults = []
        for key, (body, answer) in answers.items():
            wanted = 409 if body["fail_at_step"] else 200
            if answer.status_code != wanted:
                faults.append(f"{key} was answered {answer.status_code}, not {wanted}: {answer.text}")
                continue
            status = requests.get(f"{self._base}/api/saga/status/{answer.json()['transaction_id']}", timeout=TIMEOUT_S)
            if status.json()["status"] != ANSWERED[wanted]:
                faults.append(f"{key} was answered {answer.json()['status']}, and is {status.text}")
            if self._insist(key, body).content != answer.content:
                faults.append(f"{key} is answered otherwise when it is asked again")
        standing = sum(answer.status_code == 200 for _, answer in answers.values())
        faults += [
            f"{standing} sagas completed, and there are {found} {part}"
            for part, found in self._records()
            if found != standing
        ]
        sagas = self._count("/api/saga/list", "transactions")
        return faults + ([] if sagas == len(answers) else [f"{len(answers)} keys made {sagas} sagas"])

    def _records(self) -> list[tuple[str, int]]:
        return [(plural, self._count(f"/api/{part}/list", plural)) for part, plural in LISTS.items()]

    def _count(self, path: str, plural: str) -> int:
        found, cursor = 0, None
        while True:
            page = requests.get(self._base + path, {"limit": 500, "cursor": cursor}, timeout=TIMEOUT_S).json()
            found, cursor = found + len(page[plural]), page["next_cursor"]
            if cursor is None:
                return found

    def _reckon(self, faults: list[str]) -> Found:
        """What the log and the views say, besides what was found already."""
        node = Node(Settings.load({"database_url": self._url}, environ={}), services.app)
        try:
            found = Found(faults=faults)
            for state, history in streams_of(node.store.log):
                found.ends[state.status] += 1
                found.interrupted.update(interruptions(history))
                found.faults += broken_rules(state, history)
            found.faults += wrong_views(node.store.log, services.app.views)
            return found
        finally:
            node.close()


def _asked(method: str, url: str, **options: Any) -> requests.Response | None:
    """The answer; None when none came."""
    try:
        return requests.request(method, url, timeout=TIMEOUT_S, **options)
    except requests.RequestException:
        return None
