"""Fifty secrets and more are planted wherever one can come in, and none is found where anything is kept or shown."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from saga_es import App, Participant, RetryPolicy, Saga, StepRejected, StepUnavailable
from saga_es.cli.options import show_bug
from saga_es.console import mount_console
from saga_es.errors import SettingsError, StoreUnavailable
from saga_es.logs.secrets import SECRET_HEADERS
from saga_es.node.examine import examine_process
from saga_es.node.logs import _Rendered
from saga_es.node.settings import Settings
from saga_es.store.database import Database
from tests.api.conftest import Served, opened
from tests.e2e.conftest import run_cli
from tests.support import participants
from tests.support.participants import Says
from tests.support.trips import until
from tests.unit.test_secrets import SECRET as KNOWN
from tests.unit.test_secrets import WITH_SECRETS

CANARY = "c4n4ry"
"""What each planted secret begins with; nothing else does."""

_planted: list[str] = []


def secret() -> str:
    """A secret that was not planted before."""
    _planted.append(f"{CANARY}{len(_planted):03d}Zx9")
    return _planted[-1]


ERRORS = [words.replace(KNOWN, secret()) for words in WITH_SECRETS]
"""What libraries say, each with a secret of its own."""

KINDS: tuple[Callable[[str], Exception], ...] = (StepRejected, StepUnavailable, RuntimeError, ConnectionError, KeyError)

REFUSED_URLS = [
    f"http://ada:{secret()}@bank",
    f"https://{secret()}@bank/x",
    f"http://bank/x?token={secret()}",
    f"http://bank/#{secret()}",
    f"{secret()}://bank",
    f"//ada:{secret()}@bank",
    f"http://ada:{secret()}@bank:port",
]
DATABASES = [
    f"postgresql://ada:{secret()}@127.0.0.1:1/x",
    f"postgresql://ada@127.0.0.1:1/x?password={secret()}",
    f"postgresql://ada:{secret()}@127.0.0.1:1,127.0.0.1:2/x",
    f"mysql://ada:{secret()}@127.0.0.1:1/x",
    f"mariadb://ada:{secret()}@127.0.0.1:1/x?ssl_key_password={secret()}",
    f"oracle://ada:{secret()}@127.0.0.1:1/x",
    f"postgresql://ada:{secret()}@db:port/x",
    f"postgresql://ada:{secret()}@db/x?no_such_option=1",
    f"mysql://ada:{secret()}@db/x?ssl_disabled={secret()}",
]
HEADERS = {name: f"Bearer {secret()}" for name in sorted(SECRET_HEADERS)}
ANSWERED = {**{name: secret() for name in sorted(SECRET_HEADERS)}, "Location": f"https://u:{secret()}@x/?t={secret()}"}


def leaks() -> Saga:
    """A saga whose step raises what its input names by number, of each kind in turn."""
    saga = Saga("leaks")

    @saga.step(compensation=None, retry=RetryPolicy(attempts=1))
    def say(input: dict[str, int]) -> None:  # noqa: A002 (the name a step asks for)
        number = input["number"]
        raise KINDS[number % len(KINDS)](ERRORS[number])

    return saga


def asks() -> Saga:
    """A saga that calls a participant."""
    saga = Saga("asks")
    pay = Participant("bank").post("/pay/{input[number]}")
    saga.request("pay", pay, compensation=None, retry=RetryPolicy(attempts=1))
    return saga


class Kept:
    """All that the process wrote and answered."""

    def __init__(self) -> None:
        self.lines = StringIO()
        self.shown: dict[str, str] = {}
        self.handlers = [logging.StreamHandler(self.lines) for _ in range(4)]
        for handler, form in zip(self.handlers, ("console", "logfmt", "json"), strict=False):
            handler.setFormatter(_Rendered(form))

    def show(self, where: str, what: object) -> None:
        """Keep what was shown somewhere."""
        self.shown[where] = str(what)


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What is logged, in each form, and as a host formats it."""
    found = Kept()
    ours = logging.getLogger("saga_es")
    for handler in found.handlers:
        ours.addHandler(handler)
    level, ours.level = ours.level, logging.DEBUG
    yield found
    for handler in found.handlers:
        ours.removeHandler(handler)
    ours.setLevel(level)


def test_no_secret_is_kept_or_shown(tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the database, the log lines, the metrics, pages and answers, nor in what objects say."""
    plant_settings(kept)
    plant_databases(kept)
    webhooks = f"http://127.0.0.1:1/{secret()} http://127.0.0.1:1/x?token={secret()}"
    signs = "whsec_" + "QUFB" * 10
    monkeypatch.setenv("SAGA_ES_PUBLISH", f"amqp://guest:{secret()}@mq/%2F?exchange=x")
    monkeypatch.setenv("SAGA_ES_WEBHOOK_SECERT", secret())
    with ExitStack() as stack:
        bank = stack.enter_context(participants.Participant(answer))
        app = App(name="canary", version="0", sagas=[leaks(), asks()])
        served = opened(
            stack,
            f"sqlite:///{tmp_path / 'canary.db'}",
            app,
            participants={"bank": bank.url},
            webhook=webhooks,
            webhook_secret=signs,
        )
        mount_console(served.app)
        served.app.add_url_rule("/fails", view_func=fails)
        kept.show("settings", [served.node.settings, served.node.database, served.node.store, served.node.transports])
        ids = run_sagas(served)
        ask_with_secrets(served, kept, ids)
        until(lambda: "a delivery failed" in kept.lines.getvalue())
        for finding in examine_process(served.node, os.environ):
            kept.show(f"doctor {finding.subject}", finding)
    kept.show("log lines", kept.lines.getvalue())
    for file in tmp_path.iterdir():
        kept.show(file.name, file.read_bytes().decode("latin-1"))
    assert len(_planted) > 100
    assert len(kept.shown) > 60
    assert "a step raised an exception" in kept.shown["log lines"]
    assert "StepFailed" in kept.shown["canary.db"]
    found = {where: [word for word in what.split() if CANARY in word] for where, what in kept.shown.items()}
    assert {where: words for where, words in found.items() if words} == {}
    assert not [where for where, what in kept.shown.items() if signs in what]


def plant_settings(kept: Kept) -> None:
    """URLs of participants that are refused, and what is said of them."""
    for number, url in enumerate(REFUSED_URLS):
        for setting in ({"participants": {"bank": url}}, {"webhook": url, "webhook_secret": secret()}):
            with pytest.raises(SettingsError) as caught:
                Settings.load(setting, environ={})
            kept.show(f"refused {number} {min(setting)}", caught.value)


def plant_databases(kept: Kept) -> None:
    """Databases that are away, or never were; and a mistake that nobody expected, with a URL in it."""
    for number, url in enumerate(DATABASES):
        try:
            database = Database(url)
        except SettingsError as error:
            kept.show(f"database {number}", error)
            continue
        kept.show(f"repr {number}", database)
        with pytest.raises(StoreUnavailable) as caught, database.reading():
            pass
        kept.show(f"database {number}", caught.value)
        database.close()
    written, sys.stderr = sys.stderr, StringIO()
    try:
        for words in ERRORS:
            show_bug(RuntimeError, RuntimeError(words), None)
        kept.show("tracebacks", sys.stderr.getvalue())
    finally:
        sys.stderr = written


def answer(call: participants.Call) -> Says:
    """Answers of a participant that repeats all that it knows."""
    number = int(call.path.rpartition("/")[2])
    status = (409, 503, 302, 500, 200)[number % 5]
    body: Any = {"detail": ERRORS[number % len(ERRORS)]} if status > 302 else b"no json"
    return Says(status, body, {**ANSWERED, "Retry-After": "1"})


def run_sagas(served: Served) -> list[str]:
    """A saga for each error, and for each answer."""
    handles = [served.node.engine.start("leaks", {"number": number}) for number in range(len(ERRORS))]
    handles += [served.node.engine.start("asks", {"number": number}) for number in range(20)]
    for handle in handles:
        assert handle.result(participants.TIMEOUT_S).status != "COMPLETED"
    return [handle.saga_id for handle in handles]


def fails() -> str:
    """Fail, in a route of the application."""
    raise RuntimeError("; ".join(ERRORS))


def ask_with_secrets(served: Served, kept: Kept, ids: list[str]) -> None:
    """Ask all pages, with every header that may hold a secret, and wrongly, too."""
    paths = ["/", "/docs/", "/openapi.json", "/metrics", "/readyz", "/livez", "/nothing", "/fails"]
    paths += [f"/api/saga/{path}" for path in ("list", "failures", "health", "list?limit=x", "status/x y")]
    paths += [f"/console/{page}" for page in ("sagas", "attention", "system", "log", "definitions", "sagas/x")]
    paths += [path for id_ in ids[::3] for path in (f"/api/saga/status/{id_}", f"/api/saga/{id_}/events")]
    paths += [f"/console/sagas/{id_}" for id_ in ids[::5]]
    for path in paths:
        with served.client.get(path, headers=HEADERS) as answered:
            kept.show(f"GET {path}", answered.get_data(as_text=True) + str(answered.headers))
    for content_type in ("application/json", "text/plain"):
        posted = served.client.post(f"/api/saga/{ids[0]}/cancel", data=b"{", content_type=content_type, headers=HEADERS)
        kept.show(f"POST {content_type}", posted.get_data(as_text=True))


def test_the_command_line_shows_no_secret_of_its_settings() -> None:
    """Not in its help, and not when the database is away."""
    settings = {"SAGA_ES_DATABASE_URL": f"postgresql://ada:{secret()}@127.0.0.1:1/x", "SAGA_ES_WEBHOOK": secret()}
    told = [run_cli("serve", "--help", settings=settings), run_cli("doctor", settings=settings)]
    told.append(run_cli("doctor", settings={**settings, "SAGA_ES_WEBHOOK": ""}))
    assert [done.returncode for done in told] == [0, 2, 8]
    assert not [done.args for done in told if CANARY in done.stdout + done.stderr]
