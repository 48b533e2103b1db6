"""`saga-es doctor` before it hurts: sagas that need a person, the growth of the log, participants, variables."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from saga_es import Participant, Saga
from saga_es.core import events as e
from saga_es.flask import SagaES
from saga_es.store.admin.doctor import examine
from saga_es.store.admin.growth import Growth, judge, measure
from saga_es.store.drivers.finding import Finding
from saga_es.store.drivers.size import LogSize
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from tests.conftest import Store, note_draft
from tests.e2e.conftest import run_cli
from tests.support.databases import fresh_database

LATER = timedelta(days=1)


def now_of(store: Store) -> datetime:
    return datetime.fromtimestamp(store.workers.now_s(), UTC)


def findings_of(store: Store, subject: str) -> list[Finding]:
    found = examine(store.database, store.workers, store.log, store.workers.now_s())
    return [finding for finding in found if finding.subject == subject]


def append(store: Store, saga_id: str, *minutes_and_events: tuple[float, Any]) -> None:
    """Append events to a saga that starts with them, each so many minutes ago."""
    now = now_of(store)
    for version, (minutes, event) in enumerate(minutes_and_events):
        store.write(Draft(saga_id, SAGA, version, (event,), now - timedelta(minutes=minutes)))


def started() -> e.SagaStarted:
    return e.SagaStarted("trip", "plan-1", {}, "w-1")


def step_failed(attempt: int, error: str, *, again: bool = True) -> e.StepFailed:
    at = datetime.now(UTC) + LATER if again else None
    return e.StepFailed("hotel", attempt, "unavailable", error, retry_at=at)


# ── FAILED ───────────────────────────────────────────────────────────────────────────────────────────────


def test_failed_sagas_are_told_with_the_oldest_and_their_reasons(store: Store) -> None:
    """How many, for how long, three of them with their last error, and the command that helps."""
    assert findings_of(store, "failed sagas") == [Finding("failed sagas", "ok", "no saga is FAILED")]
    for number in range(5):
        minutes = 600 - 60 * number
        append(store, f"s-{number}", (700, started()), (minutes, e.SagaFailed(f"undo of 'hotel': HTTP 50{number}")))
    append(store, "s-well", (700, started()), (600, e.SagaCompleted()))
    total, *named = findings_of(store, "failed sagas")
    assert total.verdict == "warning"
    assert total.found.startswith("5 FAILED, the oldest for 10 h: ")
    assert "saga-es list --status FAILED" in total.found
    assert [finding.found for finding in named] == [
        "s-0 (trip), for 10 h: undo of 'hotel': HTTP 500",
        "s-1 (trip), for 9 h: undo of 'hotel': HTTP 501",
        "s-2 (trip), for 8 h: undo of 'hotel': HTTP 502",
    ]


# ── Retried for long ─────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_that_retries_for_long_is_told_with_its_last_error(store: Store) -> None:
    """From the first failure after which no attempt succeeded; ten minutes are long."""
    assert [finding.verdict for finding in findings_of(store, "retries")] == ["ok"]
    append(
        store, "s-long",
        (90, started()), (89, e.StepStarted("hotel", 1)), (75, step_failed(1, "connection refused")),
        (5, e.StepStarted("hotel", 2)), (1, step_failed(2, "HTTP 503: closed")),
    )  # fmt: skip
    append(store, "s-young", (90, started()), (89, e.StepStarted("hotel", 1)), (9, step_failed(1, "HTTP 503")))
    total, named = findings_of(store, "retries")
    assert total.verdict == "warning"
    assert total.found.startswith("1 sagas retry a step for more than 10 min: ")
    assert "saga-es explain ID" in total.found
    assert named.found == "s-long (trip): 'hotel' failed 2 times in 75 min, at last: HTTP 503: closed"


def test_a_compensation_that_is_retried_for_long_is_told(store: Store) -> None:
    """What its action did before the saga aborted does not count."""
    undo = e.CompensationFailed("hotel", 1, "unknown", "timed out", retry_at=datetime.now(UTC) + LATER)
    append(
        store, "s-undo",
        (300, started()), (299, e.StepStarted("hotel", 1)), (280, step_failed(1, "no answer")),
        (200, e.SagaAborted("hotel", "no answer")), (199, e.CompensationStarted("hotel", 1)), (150, undo),
    )  # fmt: skip
    _, named = findings_of(store, "retries")
    assert named.found == "s-undo (trip): 'hotel' failed 1 times in 2.5 h, at last: timed out"


OVER = [
    e.StepCompleted("hotel"),
    e.StepSkipped("hotel", "ada", "closed for ever"),
    e.ProbeAnswered("hotel", happened=True),
    e.SagaAborted("hotel", "given up"),
    e.SagaCancelled("ada", "no trip"),
    e.SagaPaused("ada", "let me look"),
    e.SagaFailed("given up"),
    step_failed(2, "given up", again=False),
]


@pytest.mark.parametrize("event", OVER, ids=[f"{number}-{type(event).__name__}" for number, event in enumerate(OVER)])
def test_what_has_failed_once_and_is_retried_no_more_is_no_retry(store: Store, event: Any) -> None:
    """It succeeded, it was given up, or a person took over."""
    append(store, "s-1", (90, started()), (89, e.StepStarted("hotel", 1)), (75, step_failed(1, "away")), (60, event))
    assert [finding.verdict for finding in findings_of(store, "retries")] == ["ok"]


# ── Growth ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_growth_is_that_of_the_last_week(store: Store) -> None:
    """Two hundred events of a month ago do not count, fourteen of this week are two a day."""
    assert findings_of(store, "growth") == [Finding("growth", "ok", "the log is empty")]
    now = now_of(store)
    for number, (days, count) in enumerate([(30, 150), (8, 50), (6, 3), (5, 4), (0, 7)]):
        draft = note_draft(f"n-{number}", *range(count))
        at = now - timedelta(days=days, minutes=1)
        store.write(Draft(draft.stream_id, draft.category, 0, draft.events, at))
    with store.database.reading() as connection:
        found = measure(connection, now)
    assert found is not None
    assert (found.lately, found.window_s) == (14, 7 * 86_400)
    assert found.events_a_day == 2
    assert found.size.log_bytes > 0
    (told,) = findings_of(store, "growth")
    assert "and grew in the last 7 days by 2 events a day, or " in told.found
    if store.database.driver.name == "sqlite":  # the others do not say what is free on their disks
        assert str(Path(store.database.url.database or "").parent) in told.found
        assert "at this rate" in told.found
    else:
        assert "does not say what is free" in told.found


def test_a_young_log_says_nothing_about_a_day(store: Store) -> None:
    """Of minutes no rate is told."""
    draft = note_draft("n-1", "a", "b")
    store.write(Draft("n-1", draft.category, 0, draft.events, now_of(store) - timedelta(minutes=5)))
    (told,) = findings_of(store, "growth")
    assert told.verdict == "ok"
    assert told.found.startswith("the log has 2 events in ")
    assert told.found.endswith("too young for a rate")


@pytest.mark.parametrize(
    ("free", "verdict", "says"),
    [
        (29_000_000, "warning", "29 MB are free on the disk of /data: it is full in 29 days at this rate; archive"),
        (500_000, "warning", "500 kB are free on the disk of /data: it is full in 12 h at this rate; archive"),
        (0, "warning", "0 bytes are free on the disk of /data: it is full in 0 s at this rate; archive"),
        (300_000_000, "ok", "300 MB are free on the disk of /data: it is full in 300 days at this rate"),
    ],
)
def test_a_disk_that_is_full_soon_is_a_warning(free: int, verdict: str, says: str) -> None:
    """A megabyte a day; a month is soon."""
    size = LogSize(20_000_000, free_bytes=free, disk="the disk of /data")
    found = judge(Growth(size, events=20_000, lately=7_000, window_s=7 * 86_400))
    assert found.verdict == verdict
    assert "grew in the last 7 days by 1000 events a day, or 1 MB; " in found.found
    assert says in found.found


# ── This process ─────────────────────────────────────────────────────────────────────────────────────────

APP = """
from saga_es import App, Participant, Saga
hotel, bank = Participant("grand-hotel"), Participant("bank")
trip = Saga("trip")
trip.request("room", hotel.post("/rooms"), compensation=hotel.delete("/rooms/{room[id]}"))
trip.request("money", bank.post("/debits"), compensation=bank.post("/credits"))
app = App(sagas=[trip])
"""


def test_participants_and_variables_are_examined_in_this_process(tmp_path: Path) -> None:
    """Each request that has nowhere to go, and each variable that is no setting, with the name that was meant."""
    (tmp_path / "trips.py").write_text(APP)
    with fresh_database("sqlite", tmp_path, None) as url:
        common = {"SAGA_ES_APP": "trips", "SAGA_ES_DATABASE_URL": url, "SAGA_ES_PARTICIPANT_BANK": "http://bank"}
        assert run_cli("db", "upgrade", cwd=tmp_path, settings=common).returncode == 0
        slips = {"SAGA_ES_PARTICIPANT_GRANDHOTEL": "http://hotel", "SAGA_ES_CALL_THREDS": "64"}
        done = run_cli("doctor", "--json", cwd=tmp_path, settings={**common, **slips})
        assert done.returncode == 0, done.stderr
        told = [
            (finding["verdict"], finding["found"])
            for finding in json.loads(done.stdout)["findings"]
            if finding["subject"] in {"participants", "variables"}
        ]
        uncalled = "SAGA_ES_PARTICIPANT_GRANDHOTEL: no saga here calls such a participant"
        calls = "SAGA_ES_PARTICIPANT_GRAND_HOTEL: saga 'trip' calls the participant 'grand-hotel', and"
        assert [(verdict, found.partition(" the application")[0]) for verdict, found in told] == [
            ("warning", calls),
            ("warning", calls),
            ("warning", "SAGA_ES_CALL_THREDS: there is no such setting; did you mean SAGA_ES_CALL_THREADS?"),
            ("warning", f"{uncalled}; did you mean SAGA_ES_PARTICIPANT_GRAND_HOTEL?"),
        ]
        mended = {**common, "SAGA_ES_PARTICIPANT_GRAND_HOTEL": "http://hotel"}
        done = run_cli("doctor", cwd=tmp_path, settings=mended)
        assert "each of 2 has an address, or its routes in this process" in done.stdout
        assert "each SAGA_ES_ variable is a setting" in done.stdout


def test_the_doctor_of_a_flask_application_knows_its_routes(sqlite_url: str) -> None:
    """`flask saga doctor` names the requests for which the application has none, and no others."""
    app, trip, hotel = Flask("hotel"), Saga("trip"), Participant("hotel")
    trip.request("room", hotel.post("/rooms"), compensation=hotel.delete("/rooms/{action_key}"))
    SagaES(app, sagas=[trip], database_url=sqlite_url)
    app.add_url_rule("/rooms", view_func=dict, methods=["POST"])
    app.test_cli_runner().invoke(args=["saga", "db", "upgrade"])
    done = app.test_cli_runner().invoke(args=["saga", "doctor", "--json"])
    found = [one["found"] for one in json.loads(done.stdout)["findings"] if one["subject"] == "participants"]
    assert len(found) == 1
    assert "no route for DELETE /rooms/{action_key}" in found[0]


def test_serve_warns_of_a_variable_that_is_no_setting(start_server: Any) -> None:
    """Once, at its start, with the name that was meant; and serves."""
    server = start_server(settings={"SAGA_ES_LOG_LEVLE": "debug"})
    line = server.wait_for_line(lambda said: "SAGA_ES_LOG_LEVLE" in said)
    assert "did you mean SAGA_ES_LOG_LEVEL?" in line
