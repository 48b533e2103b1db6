"""An application that every version of saga_es can run: it is copied into a folder, and knows nothing of these tests.

Each call is noted in a file that all processes share, as `tests/support/worker_app.py` does.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from saga_es import App, RetryPolicy, Saga, StepRejected, StepUnavailable

LEDGER = Path("ledger")
PATIENT = RetryPolicy(attempts=50, first_delay_s=0.05, cap_s=0.2)


def note(saga_id: str, step: str, key: str) -> None:
    """Note a call; a line is written whole or not at all."""
    line = {"saga_id": saga_id, "step": step, "key": key, "host": "", "pid": os.getpid(), "at": time.time()}
    file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


order = Saga("order")


@order.step(retry=PATIENT)
def payment(saga_id: str, key: str) -> dict[str, Any]:
    """The first step takes long enough to be in flight when a process is killed."""
    note(saga_id, "payment", key)
    time.sleep(0.02)
    return {"paid": True}


@order.compensates(payment, retry=PATIENT)
def refund(saga_id: str, key: str) -> None:
    """Its compensation."""
    note(saga_id, "undo payment", key)


@order.step(retry=PATIENT)
def parcel(input: dict[str, Any], saga_id: str, key: str) -> None:  # noqa: A002 (what a step asks for)
    """The second step, which some sagas have to try again."""
    is_first = f'"step": "parcel", "key": "{key}"' not in LEDGER.read_text()
    note(saga_id, "parcel", key)
    if input["is_busy"] and is_first:
        raise StepUnavailable("not now")


@order.compensates(parcel, retry=PATIENT)
def unpack(saga_id: str, key: str) -> None:
    """Its compensation."""
    note(saga_id, "undo parcel", key)


@order.step(compensation=None, retry=PATIENT)
def letter(input: dict[str, Any], saga_id: str, key: str) -> None:  # noqa: A002 (as above)
    """The last step, which some sagas are refused."""
    note(saga_id, "letter", key)
    if input["is_refused"]:
        raise StepRejected("no letters today")


approval = Saga("approval")
approval.wait_for("answer", timeout_s=None)


@approval.step(compensation=None)
def thanks(saga_id: str, key: str) -> None:
    """What comes after the answer."""
    note(saga_id, "thanks", key)


pause = Saga("pause", deadline_s=3600)
pause.delay("rest", 0.5)


@pause.step(compensation=None)
def rise(saga_id: str, key: str) -> None:
    """What comes after the rest."""
    note(saga_id, "rise", key)


app = App(name="versions", version="1", sagas=[order, approval, pause])
