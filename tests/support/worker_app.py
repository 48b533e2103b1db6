"""Sagas for real worker processes, whose steps note each call in a file that all of them share."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import msgspec

from saga_es import App, RetryPolicy, Saga, StepRejected
from saga_es.store.process import Process

LEDGER = "TEST_LEDGER"
"""The variable that names the file."""

PATIENT = RetryPolicy(attempts=50, first_delay_s=0.05, cap_s=0.2)


class Noted(msgspec.Struct, frozen=True):
    """A call, as a participant sees it."""

    saga_id: str
    step: str
    key: str
    host: str
    pid: int
    at: float


def note(saga_id: str, step: str, key: str) -> None:
    """Note a call; a line is written whole or not at all."""
    line = Noted(saga_id, step, key, Process.this().host, os.getpid(), time.time())
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, msgspec.json.encode(line) + b"\n")
    finally:
        os.close(file)


def noted(ledger: Path) -> list[Noted]:
    """All calls so far."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [msgspec.convert(json.loads(line), Noted) for line in lines]


def _act(step: str, input_: dict[str, Any], saga_id: str, key: str) -> dict[str, Any]:
    note(saga_id, step, key)
    time.sleep(input_.get("takes_s", 0.0))
    if input_.get("stops_at") == step:
        signal.raise_signal(signal.SIGTERM)  # to this thread, which is not the main one
    if input_.get("fails_at") == step:
        raise StepRejected(f"{step} was asked to fail")
    return {"key": key}


order = Saga("order")


@order.step(retry=PATIENT)
def payment(input: dict[str, Any], saga_id: str, key: str) -> dict[str, Any]:  # noqa: A002 (what a step asks for)
    """The first step."""
    return _act("payment", input, saga_id, key)


@order.compensates(payment, retry=PATIENT)
def refund(saga_id: str, key: str) -> None:
    """Its compensation."""
    note(saga_id, "undo payment", key)


@order.step(retry=PATIENT)
def parcel(input: dict[str, Any], saga_id: str, key: str) -> dict[str, Any]:  # noqa: A002 (as above)
    """The second step."""
    return _act("parcel", input, saga_id, key)


@order.compensates(parcel, retry=PATIENT)
def unpack(saga_id: str, key: str) -> None:
    """Its compensation."""
    note(saga_id, "undo parcel", key)


@order.step(compensation=None, retry=PATIENT)
def letter(input: dict[str, Any], saga_id: str, key: str) -> dict[str, Any]:  # noqa: A002 (as above)
    """The last step."""
    return _act("letter", input, saga_id, key)


approval = Saga("approval")
approval.wait_for("answer", timeout_s=None)


@approval.step(compensation=None)
def thanks(saga_id: str, key: str) -> None:
    """What comes after the answer."""
    note(saga_id, "thanks", key)


pause = Saga("pause")
pause.delay("rest", 1.0)

app = App(name="workers", version="1", sagas=[order, approval, pause])
