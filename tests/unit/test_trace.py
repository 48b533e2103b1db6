"""W3C Trace Context: which headers name a trace, and what is given on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from saga_es.core import events as e
from saga_es.core.trace import Trace, trace_of
from saga_es.store.log.codec import SAGA, Codec
from tests.support.processes import ROOT
from tests.support.versions import unpacked
from tests.unit.test_extras import run

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{ID}-{SPAN}-01"


def test_a_valid_header_is_kept_as_it_is() -> None:
    """With what tracing systems add to it, without blanks and empty members."""
    trace = trace_of({"traceparent": PARENT, "tracestate": "congo=t61rcWkgMzE, rojo@x=00f0 67 ,"})
    assert trace == Trace(PARENT, "congo=t61rcWkgMzE,rojo@x=00f0 67")
    assert (trace.trace_id, trace.span_id) == (ID, SPAN)
    assert trace.headers == {"traceparent": PARENT, "tracestate": "congo=t61rcWkgMzE,rojo@x=00f0 67"}
    assert trace_of({"traceparent": PARENT}) == Trace(PARENT)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "hello",
        PARENT.upper(),
        PARENT[:-1],
        f" {PARENT}",
        f"{PARENT}\n",
        f"{PARENT}-00",
        f"{PARENT},{PARENT}",
        f"ff-{ID}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"01-{ID}-{SPAN}-01x",
        f"01-{ID}-{SPAN}-01-{'x' * 255}",
        f"00-{ID}-{SPAN}-\u0661\u0661",
        7,
    ],
)
def test_a_header_that_is_not_valid_or_oversized_is_ignored(header: object) -> None:
    """Nothing of it is kept, and no error is made of it."""
    assert trace_of({"traceparent": header, "tracestate": "a=b"}) is None


@pytest.mark.parametrize("header", ["", ",", "a", "=b", "A=b", "a=b\n", "a=\x1b[2J", "a=b,c", "a=ü", "a=" + "x" * 513])
def test_a_state_that_is_not_valid_is_left_out(header: str) -> None:
    """The trace is right without it; so it is with more members than are allowed."""
    assert trace_of({"traceparent": PARENT, "tracestate": header}) == Trace(PARENT)
    assert trace_of({"traceparent": PARENT, "tracestate": ",".join(f"a{i}=b" for i in range(33))}) == Trace(PARENT)


def test_a_later_version_is_given_on_in_the_version_that_is_known() -> None:
    """Without what it appended, and without flags that mean nothing here."""
    assert trace_of({"traceparent": f"cc-{ID}-{SPAN}-ff-more"}) == Trace(f"00-{ID}-{SPAN}-03")
    assert trace_of({"traceparent": f"cc-{ID}-{SPAN}-00"}) == Trace(f"00-{ID}-{SPAN}-00")


def test_headers_are_any_mapping_with_get() -> None:
    """What frameworks have is none of `dict`."""

    @dataclass
    class Request:
        def get(self, name: str, /) -> str | None:
            return PARENT if name == "traceparent" else None

    assert trace_of(Request()) == Trace(PARENT)


OF_0_1_0 = """
import saga_es
from saga_es.store.codec import Codec
print(saga_es.__file__)
print(Codec().decode("saga", "SagaStarted", {text!r}, 1))
"""


def test_the_version_before_reads_a_saga_with_a_trace_and_passes_it_over(tmp_path: Path) -> None:
    """So workers of both share a database; an event without a trace is written as it ever was."""
    started = e.SagaStarted("order", "p-1", {"amount": 1}, "worker-1")
    text = Codec().encode(e.SagaStarted("order", "p-1", {"amount": 1}, "worker-1", trace=Trace(PARENT)))
    assert Codec().decode(SAGA, "SagaStarted", text, 1).trace == Trace(PARENT)
    assert "trace" not in Codec().encode(started)
    before = unpacked("0.1.0", tmp_path)
    program = f"import sys\nsys.path.insert(0, {str(before)!r})\n{OF_0_1_0.format(text=text)}"
    done = run(program, tmp_path)
    assert done.returncode == 0, done.stderr
    where, read = done.stdout.splitlines()
    assert Path(where).is_relative_to(before)
    assert not Path(where).is_relative_to(ROOT)
    assert read.startswith("SagaStarted(saga='order', plan_id='p-1', input={'amount': 1}, worker='worker-1'")
