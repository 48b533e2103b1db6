"""The saga that most people write first: dicts in memory, and `requests` to the services of its own server.

It is not durable, on purpose: `POST /api/saga/execute` is compared with it. It runs as
`python -m benchmarks.contenders.demo PORT`.
"""

from __future__ import annotations

import logging
import sys
import threading
import uuid
from typing import Any

import requests
from flask import Flask, Response, jsonify, request

SERVICES = {"event": "event_id", "event-details": "details_id", "venue": "venue_id", "ticket": "ticket_id"}

app = Flask(__name__)
base_url = ""
lock = threading.Lock()
records: dict[str, dict[str, Any]] = {service: {} for service in SERVICES}
transactions: dict[str, dict[str, Any]] = {}


@app.get("/")
def status() -> Response:
    """Answer that the server runs."""
    return jsonify(status="running")


@app.post("/api/<service>/register")
def register(service: str) -> tuple[Response, int]:
    """Keep a record in memory."""
    body = request.get_json()
    record_id = str(uuid.uuid4())
    with lock:
        records[service][record_id] = body
    return jsonify(success=True, message="registered", **{SERVICES[service]: record_id}), 201


@app.delete("/api/<service>/rollback/<record_id>")
def roll_back(service: str, record_id: str) -> Response:
    """Delete a record."""
    with lock:
        records[service].pop(record_id, None)
    return jsonify(success=True, message="rolled back")


@app.post("/api/saga/execute")
def execute() -> tuple[Response, int]:
    """Call the four services in turn. If one refuses, undo the calls before it."""
    given = request.get_json()
    transaction: dict[str, Any] = {"id": str(uuid.uuid4()), "status": "IN_PROGRESS", "results": {}}
    with lock:
        transactions[transaction["id"]] = transaction
    for service in SERVICES:
        body = {**given, **{k: v for result in transaction["results"].values() for k, v in result.items()}}
        answer = requests.post(f"{base_url}/api/{service}/register", json=body, timeout=10)
        if answer.status_code != 201:  # noqa: PLR2004 (Created)
            for done, result in reversed(transaction["results"].items()):
                requests.delete(f"{base_url}/api/{done}/rollback/{result[SERVICES[done]]}", timeout=10)
            transaction["status"] = "COMPENSATED"
            return jsonify(success=False, transaction_id=transaction["id"]), 409
        transaction["results"][service] = answer.json()
    transaction["status"] = "COMPLETED"
    return jsonify(success=True, transaction_id=transaction["id"], results=transaction["results"]), 200


if __name__ == "__main__":
    base_url = f"http://127.0.0.1:{sys.argv[1]}"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a log line for each request would make it slower
    app.run(port=int(sys.argv[1]), threaded=True)
