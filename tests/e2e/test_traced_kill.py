"""A process dies in the middle of a saga: another goes on with it, in the same trace."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT

PROGRAM = """
import os, signal, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from saga_es import Saga, open_engine

folder, dies = sys.argv[1], sys.argv[2] == "dies"
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.to_json(None) + "\\n")))
trace.set_tracer_provider(provider)
part, order = Saga("part"), Saga("order")
part.step(name="fetch", compensation=None)(lambda: None)

@order.step(compensation=None)
def pay():
    pass

order.child("parts", part)

@order.step(compensation=None)
def ship():
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)

with open_engine(f"sqlite:///{folder}/saga.db", order, traces=True) as engine:
    if dies:
        with trace.get_tracer("shop").start_as_current_span("a request"):
            engine.start(order, saga_id="s-1")
    engine.follow("s-1").result(60)
"""


def spans_of(folder: Path, how: str) -> tuple[int, dict[str, Any]]:
    """The exit code of a process, and the spans that it told of, by name."""
    command = [sys.executable, "-c", PROGRAM, str(folder), how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert told, done.stderr
    return done.returncode, {span["name"]: span for span in told}


def test_a_saga_whose_process_is_killed_goes_on_in_its_trace(tmp_path: Path) -> None:
    """One trace; what the next process does is below the span of the start, and linked to its takeover."""
    code, before = spans_of(tmp_path, "dies")
    assert code == -signal.SIGKILL
    code, after = spans_of(tmp_path, "lives")
    assert code == 0
    assert {"a request", "order start", "order pay", "part start", "part fetch"} <= before.keys()
    assert after.keys() == {"order take over", "order ship"}
    start, takeover, ship = before["order start"], after["order take over"], after["order ship"]
    (one,) = {span["context"]["trace_id"] for span in (*before.values(), *after.values())}
    assert start["parent_id"] == before["a request"]["context"]["span_id"]
    assert before["part fetch"]["parent_id"] == before["part start"]["context"]["span_id"]
    assert {span["parent_id"] for span in (before["order pay"], takeover, ship)} == {start["context"]["span_id"]}
    links = [[link["context"] for link in span["links"]] for span in (takeover, ship)]
    assert [[(link["trace_id"], link["span_id"]) for link in of] for of in links] == [
        [(one, start["context"]["span_id"])],
        [(one, takeover["context"]["span_id"])],
    ]


BLOCKED = """
import sys
sys.modules["opentelemetry"] = None
from saga_es import Saga, open_engine
from saga_es.errors import NotInstalled
order = Saga("order")
order.step(name="pay", compensation=None)(lambda: None)
with open_engine("sqlite:///saga.db", order) as engine:
    print(engine.start(order, trace={{"traceparent": {parent!r}}}).result(30).completed)
try:
    open_engine("sqlite:///saga.db", order, traces=True)
except NotInstalled as error:
    print(error)
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_without_traces_nothing_of_opentelemetry_is_loaded(tmp_path: Path, is_there: bool) -> None:  # noqa: FBT001 (a parameter)
    """And without the extra, the one who asks for spans is told how to get it."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    program = BLOCKED.format(parent=parent)
    if is_there:
        end = 'assert not [name for name in sys.modules if name.startswith("opentelemetry")]'
        program = program.replace('sys.modules["opentelemetry"] = None\n', "").partition("try:")[0] + end
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    expected = ["True"]
    if not is_there:
        expected.append(
            "opentelemetry-api is not installed: install saga-es[otel] for traces, or leave them off "
            "(pip install 'saga-es[otel]')"
        )
    assert (done.stdout.splitlines(), done.returncode) == (expected, 0), done.stderr
