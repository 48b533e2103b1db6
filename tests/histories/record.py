"""Record the history of the present schema: `python -m tests.histories.record`. Promise, when it is released.

Every kind of event is in it, from sagas that were really run. It refuses to write over a history that is there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any, get_args

import click
import msgspec

import services
from saga_es.api import create_flask_app
from saga_es.commands import Cancel, Pause, ReplaceInput, Resolve, Resume, Retry, Skip
from saga_es.core import events as e
from saga_es.core.facts import CodeMissing
from saga_es.core.state import SagaStatus
from saga_es.node.app import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.engine import Engine
from saga_es.runtime.inbox import FactArrived
from saga_es.store.archive.bundle import Writing
from saga_es.store.log.codec import SAGA
from saga_es.store.queries.past import story_at
from services import create_event
from tests.histories import sagas

FOLDER = Path(__file__).parent
WHO = "ada"


def app(version: int) -> App:
    """The demo, and the sagas of this folder."""
    return msgspec.structs.replace(services.app, sagas=[*services.app.sagas, *sagas.ALL, sagas.moved(version)])


@click.command(help=__doc__)
@click.option("--name", default="", help="What is added to the name of the schema, for one that has a history already.")
def main(name: str) -> None:
    """Run, and write."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load({"database_url": f"sqlite:///{folder}/history.db", "grace_s": 0.0}, environ={})
        for version, scene in enumerate((first, second), 1):
            node = Node(settings, app(version))
            node.answer_calls_with(create_flask_app(node).wsgi_app)
            node.open()
            scene(node.engine)
            _write(node, name) if scene is second else None
            node.close()


def first(engine: Engine) -> None:
    """Two sagas are under way when the worker goes."""
    engine.start("outing", {"wanted": False, "guests": ["Ann", "Bob"]}, saga_id="outing", tags={"shop": "Köln"})
    engine.start("slow", {}, saga_id="taken-over")
    engine.start("moved", {}, saga_id="migrated")
    _until(lambda: _status(engine, "migrated", "approval") == "IN_PROGRESS")
    _until(lambda: _status(engine, "outing", "approval") == "IN_PROGRESS")
    _until(lambda: _status(engine, "taken-over", "again") == "IN_PROGRESS")


def second(engine: Engine) -> None:
    """Another takes them over; all the rest."""
    engine.signal("outing", "approval", {"by": WHO}, key="once")
    engine.migrate("migrated", reason="we deliver now", actor=WHO)
    engine.signal("migrated", "approval", {"by": WHO})
    engine.submit("taken-over", Retry(WHO, "I cannot wait"))
    for saga_id in ("released", "given-up"):
        engine.start("moved", {}, saga_id=saga_id)
    _until(lambda: _status(engine, "released", "approval") == "IN_PROGRESS")
    _until(lambda: _status(engine, "given-up", "approval") == "IN_PROGRESS")
    engine._inbox.put(FactArrived("released", CodeMissing("the code of step 'deliver' is gone")))
    _until(lambda: any(isinstance(found.event, e.SagaReleased) for found in engine.read("released")))
    engine.signal("released", "approval", {"by": WHO})
    engine.fail("given-up", reason="its code is gone", actor=WHO)
    for key, body in (("done", {"name": "Concert"}), ("back", {"name": "Concert", "fail_at_step": "ticket"})):
        engine.start(create_event.saga, create_event.CreateEventSchema().load(body), saga_id=key)
    engine.start("trip", {}, saga_id="trip")
    engine.start("load", {}, saga_id="progressed")
    engine.start("letter", {"to": "Eva"}, saga_id="later", starts_at=datetime.now(UTC) + timedelta(seconds=0.2))
    engine.start("outing", {"wanted": True, "guests": []}, saga_id="cancelled")
    engine.submit("cancelled", Pause(WHO, "lunch"))
    engine.submit("cancelled", Resume(WHO, "back"))
    _until(lambda: _status(engine, "cancelled", "approval") == "IN_PROGRESS")
    engine.submit("cancelled", Cancel(WHO, "it rains"))
    for saga_id in ("skipped", "resolved", "reopened"):
        engine.start("stuck", {}, saga_id=saga_id)
        _ended(engine, saga_id, SagaStatus.FAILED)
    engine.submit("skipped", Skip("deposit", WHO, "paid back in cash"))
    engine.submit("resolved", Resolve(WHO, "all is well", "COMPENSATED"))
    engine.submit("reopened", Retry(WHO, "once more"))
    engine.start("pivoted", {"n": 1}, saga_id="replaced")
    engine.start("pivoted", {"n": 1}, saga_id="left out")
    for saga_id in ("replaced", "left out"):
        _ended(engine, saga_id, SagaStatus.FAILED)
    engine.submit("replaced", ReplaceInput("tell", {"name": "Eva"}, WHO, "a name was missing"))
    engine.submit("left out", Skip("tell", WHO, "she knows"))
    for saga_id in (
        "outing",
        "taken-over",
        "migrated",
        "released",
        "given-up",
        "done",
        "back",
        "trip",
        "progressed",
        "later",
        "cancelled",
        "skipped",
        "replaced",
    ):
        _ended(engine, saga_id)
    _until(lambda: len(engine.read("reopened")) > len(engine.read("resolved")))
    _ended(engine, "reopened", SagaStatus.FAILED)


def _write(node: Node, name: str) -> None:
    schema = node.store.log.codec.schema(SAGA)
    bundle = FOLDER / f"schema-{schema}{name}.ndjson"
    entries = node.store.log.entries()
    missing = {kind.__name__ for kind in get_args(e.SagaEvent)} - {entry.type for entry in entries}
    if missing:
        raise click.ClickException(f"no saga met {', '.join(sorted(missing))}")
    with bundle.open("xb") as file:
        writing = Writing(file, datetime.now(UTC))
        for stream_id in dict.fromkeys(entry.stream_id for entry in entries):
            writing.add(node.store.log.entries(stream_id))
        writing.end()
    saga_ids = dict.fromkeys(entry.stream_id for entry in entries if entry.category == SAGA)
    stories = [story_at(node.store.sagas, saga_id)[0] for saga_id in saga_ids]
    text = msgspec.json.format(msgspec.json.encode(stories), indent=1)
    bundle.with_suffix(".stories.json").write_bytes(text + b"\n")


def _status(engine: Engine, saga_id: str, step: str) -> Any:
    state = engine._store.sagas.find(saga_id)
    return state and state.step(step).status


def _ended(engine: Engine, saga_id: str, status: SagaStatus | None = None) -> None:
    ended = engine.follow(saga_id).result(30).status
    if status not in {None, ended}:
        raise click.ClickException(f"{saga_id} ended {ended}")


def _until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + 30
    while not holds():
        if monotonic() > deadline:
            raise click.ClickException("it takes too long")
        sleep(0.01)


if __name__ == "__main__":
    main()
