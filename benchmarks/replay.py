"""Measures how fast views are rebuilt, and how long appends wait meanwhile: `python -m benchmarks.replay URL EVENTS`.

The database has to be empty. It is filled with events like those of the demo. Then a thread appends 1,000 events a
second while `saga-es replay` runs three times.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec

import services
from saga_es.core import events as e
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.participant.records import RecordRegistered
from saga_es.store.admin import migrate
from saga_es.store.log.entries import Draft
from saga_es.store.views.kinds import Views
from saga_es.store.writer import Writer

A_SECOND = 1000
AT_ONCE = 400
REPLAYS = 3
FIELDS: dict[str, dict[str, Any]] = {
    "event": {"name": "Concert", "description": "d" * 30, "date": "2030-01-01"},
    "event_details": {"detailed_description": "x" * 40, "duration": 120, "category": "general", "requirements": []},
    "venue": {"name": "Main Hall", "address": "1 Market Square", "capacity": 500, "facilities": []},
    "ticket": {"ticket_type": "standard", "price": 25.0, "quantity": 100},
}


def saga() -> list[Draft]:
    """A completed saga of ten events, and the four records that it registered."""
    at = datetime.now(UTC)
    ids = {step: str(uuid4()) for step in FIELDS}
    events: list[Any] = [e.SagaStarted("create-event", services.create_event.saga.plan_id, {"name": "Concert"}, "w-1")]
    for step, record_id in ids.items():
        events += [e.StepStarted(step, 1), e.StepCompleted(step, {"success": True, f"{step}_id": record_id})]
    links = {"event_id": ids["event"], "venue_id": ids["venue"]}
    own = {"event_details": {"event_id": ids["event"]}, "ticket": links}
    records = [
        Draft(ids[step], step, 0, (RecordRegistered({**fields, **own.get(step, {})}),), at)
        for step, fields in FIELDS.items()
    ]
    return [Draft(str(uuid4()), "saga", 0, (*events, e.SagaCompleted()), at), *records]


def fill(node: Node, many: int) -> None:
    """Append so many events, past the views: the replay makes them."""
    writer = Writer(node.database, node.store.log, Views([]))
    made = 0
    while made < many:
        batch = [writer.prepare(draft) for _ in range(AT_ONCE) for draft in saga()]
        writer.write(batch)
        made += sum(len(prepared.rows) for prepared in batch)


def load(node: Node, done: threading.Event, took_s: list[float]) -> None:
    """Append 1,000 events a second, and record how long each append took."""
    began, made = time.perf_counter(), 0
    while not done.wait(0.02):
        due = int((time.perf_counter() - began) * A_SECOND) - made
        registered = RecordRegistered(FIELDS["venue"])
        drafts = [Draft(str(uuid4()), "venue", 0, (registered,), datetime.now(UTC)) for _ in range(due)]
        if drafts:
            start = time.perf_counter()
            node.store.writer.write([node.store.writer.prepare(draft) for draft in drafts])
            took_s.append(time.perf_counter() - start)
            made += due


def main(url: str, many: int) -> None:
    """Fill the log, append under load, replay, and print the figures."""
    node = Node(Settings(database_url=url), services.app)
    migrate.upgrade(node.database, node.store.log, node.views)
    fill(node, many)
    done = threading.Event()
    took_s: list[float] = []
    loading = threading.Thread(target=load, args=(node, done, took_s))
    loading.start()
    for _ in range(REPLAYS):
        time.sleep(2)
        before = max(took_s)
        took_s.clear()
        command = [sys.executable, "-m", "saga_es", "replay", "--json"]
        found = subprocess.run(command, env={**os.environ, "SAGA_ES_DATABASE_URL": url}, stdout=-1, check=True)
        report = msgspec.json.decode(found.stdout)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        longest_ms, before_ms = max(took_s) * 1000, before * 1000
        print(  # noqa: T201
            f"{report['events']:,} events in {report['took_s']:.1f} s, at most {used.ru_maxrss // 1024} MB; "
            f"held for {report['held_s'] * 1000:.0f} ms; longest append {longest_ms:.0f} ms, before {before_ms:.0f} ms"
        )
    done.set()
    loading.join()
    node.database.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
