"""Measures the pages of the console with many sagas in the log: the time in the process, without a network."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Flask
from flask.testing import FlaskClient

from benchmarks.biglog import grow
from benchmarks.contenders.work import trip
from benchmarks.databases import fresh
from benchmarks.effort import Effort
from benchmarks.row import Row
from saga_es.flask import SagaES

PAGES = {
    "Sagas": "sagas",
    "Sagas, two statuses": "sagas?status=COMPLETED&status=FAILED",
    "Sagas, retrying": "sagas?is=retrying",
    "Sagas, failed in the last day": "sagas?status=FAILED&changed=24h",
    "Attention": "attention",
    "Definitions": "definitions",
    "a definition": "definitions/trip",
    "System": "system",
    "Log": "log",
}
TIMES = 40
OK = 200


def pages(effort: Effort) -> Iterator[Row]:
    """The pages of the console with a million sagas in the log: the p95 of each in the process."""
    with fresh("sqlite") as url:
        grow(url, effort.sagas)
        app = Flask("console")
        app.config["SAGA_ES_DATABASE_URL"] = url
        SagaES(app, sagas=[trip], console=True)
        client = app.test_client()
        try:
            took = {name: _took(client, f"/console/{path}") for name, path in PAGES.items()}
        finally:
            app.extensions["saga_es"].node.close()
    for name, times_ms in took.items():
        p95 = sorted(times_ms)[round(0.95 * TIMES) - 1]
        yield Row(
            what=f"{effort.sagas:,} sagas in the log, SQLite: the console's page {name}, p95 in the process",
            ours=f"{p95:.1f} ms",
            value=p95,
            target=50.0,
            better="most",
            unit="ms",
            figures={"pages_ms": times_ms},
        )


def _took(client: FlaskClient, path: str) -> list[float]:
    found: list[float] = []
    for _ in range(TIMES + 1):
        began = time.perf_counter()
        answer = client.get(path)
        found.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == OK, (path, answer.status_code)
    return found[1:]  # the first one reads the templates
