"""What the killed processes do: a whole engine, sagas of four steps, and participants that remember.

A life is forked from a process that has imported everything, so that thousands of them fit into minutes; it shares
nothing with its parent but a pipe, on which it says what was acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import sqlalchemy as sa

from saga_es import App, RetryPolicy, Saga
from saga_es.commands import Cancel
from saga_es.core import events as e
from saga_es.core.state import UNFINISHED
from saga_es.errors import CommandRefused
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.database import Database
from saga_es.store.log.log import Log
from saga_es.store.views.saga_view import sagas
from tests.simulation.every_way import quiet
from tests.torture.ledger import BUSY, LOST, REFUSED, DurableLedger

ORDER = {"seat": (), "hotel": ("seat",), "car": ("seat",), "bill": ("hotel", "car")}
"""The steps, and which come before them: one, two at the same time, one more."""

SOON = RetryPolicy(attempts=50, first_delay_s=0.01, factor=1.5, cap_s=0.2)
MOST_AT_ONCE = 6
"""Sagas that one life has under way."""

SETTINGS = {
    "most_crashes": 1000,  # here all workers go, and no saga is to blame
    "lease_s": 400.0,  # a machine that is slow is not dead
}


class Life(msgspec.Struct, frozen=True):
    """What a process is to do.

    Attributes:
        url: The database.
        ledger: The participants' file.
        name: Begins the ids of the sagas that it starts.
        seed: For its dice.
        tidies: It starts no saga, and ends by itself when all have ended.
    """

    url: str
    ledger: str
    name: str
    seed: int
    tidies: bool = False


class Opened(msgspec.Struct, frozen=True):
    """It says: my engine runs."""


class Acknowledged(msgspec.Struct, frozen=True):
    """It says: this saga was started, or cancelled, and the engine has said so."""

    saga_id: str
    is_cancel: bool = False


Word = Opened | Acknowledged


def live(life: Life, pipe: Connection) -> None:
    """Run an engine, start sagas and cancel some, until a kill comes; a life that tidies ends by itself."""
    quiet()
    settings = Settings.load({"database_url": life.url, **SETTINGS}, environ={})
    ledger = DurableLedger(Path(life.ledger), lambda *intent: is_intended(node.store.log, *intent))
    node = Node(settings, journey_app(ledger))
    node.open()
    pipe.send(Opened())
    if life.tidies:
        wait_until(lambda: not unfinished(node.database))
        node.close()
    else:
        _start_sagas(life, node, pipe)


def _start_sagas(life: Life, node: Node, pipe: Connection) -> None:
    dice = Random(life.seed)
    for number in range(10_000):
        wait_until(lambda: node.engine.active < MOST_AT_ONCE)
        saga_id = f"{life.name}-{number}"
        node.engine.start("journey", some_input(dice), saga_id=saga_id)
        pipe.send(Acknowledged(saga_id))
        if dice.random() < 0.15:
            time.sleep(dice.uniform(0, 0.05))
            try:
                node.engine.submit(saga_id, Cancel("a traveller", "changed plans"))
            except CommandRefused:
                continue
            pipe.send(Acknowledged(saga_id, is_cancel=True))


def some_input(dice: Random) -> dict[str, Any]:
    """What goes wrong with a saga: calls that are busy at first, answers that are lost, perhaps a step that refuses."""
    mishaps = {step: dice.choice((None, None, BUSY, LOST)) for step in ORDER}
    if dice.random() < 0.5:
        mishaps[dice.choice([*ORDER])] = REFUSED
    return {"mishaps": mishaps, "undoing": {step: dice.choice((None, None, BUSY, LOST)) for step in ORDER}}


def journey_app(ledger: DurableLedger) -> App:
    """An application of one saga, whose participants write to the ledger."""
    saga = Saga("journey")
    for step, after in ORDER.items():
        saga.step(retry=SOON, after=after)(_action(ledger, step))
        saga.compensates(step, retry=SOON)(_compensation(ledger, step))
    return App(name="journeys", version="1", sagas=[saga])


def _action(ledger: DurableLedger, step: str) -> Callable[..., Any]:
    def act(input: dict[str, Any], saga_id: str, key: str) -> dict[str, Any]:  # noqa: A002 (the name a step asks for)
        return ledger.act(saga_id, step, key, input["mishaps"][step])

    act.__name__ = step
    return act


def _compensation(ledger: DurableLedger, step: str) -> Callable[..., None]:
    def undo(input: dict[str, Any], saga_id: str, key: str, action_key: str) -> None:  # noqa: A002 (as above)
        ledger.undo(saga_id, step, key, action_key, input["undoing"][step])

    return undo


def is_intended(log: Log, saga_id: str, step: str, direction: str) -> bool:
    """Whether the log holds an intent of this saga, for this step, in this direction."""
    kind = e.StepStarted if direction == "action" else e.CompensationStarted
    events = (recorded.event for recorded in log.read(saga_id))
    return any(isinstance(event, kind) and event.step == step for event in events)


def unfinished(database: Database) -> list[str]:
    """The sagas that have not ended, by the view."""
    wanted = sagas.c.status.in_([status.value for status in UNFINISHED])
    with database.reading() as connection:
        return list(connection.scalars(sa.select(sagas.c.saga_id).where(wanted)))


def wait_until(is_so: Callable[[], bool]) -> None:
    """Look every few milliseconds; a kill ends the wait, too."""
    while not is_so():
        time.sleep(0.004)
