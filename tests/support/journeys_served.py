"""A saga that people have a say in, for tests of orders and signals: a seat, an approval, a letter."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from time import monotonic, sleep
from typing import Any

from flask.testing import FlaskClient

from saga_es import App, RetryPolicy, Saga, StepRejected, StepUnavailable
from tests.api.conftest import Served
from tests.api.test_execute import status_of
from tests.support.participants import TIMEOUT_S

Input = dict[str, Any]
Story = dict[str, Any]
BY_ANN = {"actor": "ann", "reason": "she says so"}


def journey() -> Saga:
    """A new definition: `seat` (undone unless the input says it cannot be), `approval`, and `letter`.

    The seat is taken at the second attempt when the input says `busy`, with an hour between the two.
    """
    saga, asked = Saga("journey"), set[str]()

    @saga.step(title="The seat", retry=RetryPolicy(attempts=3, first_delay_s=3600, cap_s=3600, jitter=0))
    def seat(input: Input, key: str) -> str:  # noqa: A002 (the name a step asks for)
        if input.get("busy") and key not in asked:
            asked.add(key)
            raise StepUnavailable("nobody answers")
        return "14C"

    @saga.compensates(seat, retry=RetryPolicy(attempts=1))
    def free(input: Input) -> None:  # noqa: A002 (the name a step asks for)
        if input.get("sold"):
            raise StepRejected("it is sold")

    saga.wait_for("approval", timeout_s=None)

    @saga.step(compensation=None)
    def letter(approval: Any) -> Any:
        if approval == "refused":
            raise StepRejected("it was not approved")
        return approval

    return saga


def outing(inner: Saga) -> Saga:
    """A saga that invites each of `guests`, and runs another saga."""
    saga = Saga("outing")

    @saga.step(over="input[guests]", when=lambda item: item != "Bob", compensation=None)
    def invite(item: str) -> str:
        return f"Dear {item}"

    saga.child("journey", inner)
    return saga


def app_of(*sagas: Saga) -> App:
    """An application of these sagas, with nothing beside them."""
    return App(name="journeys", version="0", sagas=sagas)


def begin(served: Served, saga: str = "journey", **input_: Any) -> str:
    """Start a saga; its id."""
    return served.node.engine.start(saga, input_).saga_id


def when(client: FlaskClient, saga_id: str, holds: Callable[[Story], bool]) -> Story:
    """The saga's status, as soon as this holds of it."""
    deadline = monotonic() + TIMEOUT_S
    while not holds(story := status_of(client, saga_id)):
        assert monotonic() < deadline, story
        sleep(0.01)
    return story


def child_of(client: FlaskClient, saga_id: str) -> str:
    """The id of the saga that an outing runs, as soon as that one is in the log."""
    running = when(client, saga_id, lambda story: story["steps"][1]["child"] is not None)
    child: str = running["steps"][1]["child"]
    deadline = monotonic() + TIMEOUT_S
    while client.get(f"/api/saga/status/{child}").status_code != HTTPStatus.OK:
        assert monotonic() < deadline, running
        sleep(0.01)
    return child


def is_now(status: str) -> Callable[[Story], bool]:
    """Whether a saga has this status."""
    return lambda story: bool(story["status"] == status)


def at_step(name: str, status: str = "IN_PROGRESS") -> Callable[[Story], bool]:
    """Whether a step of a saga has this status."""
    return lambda story: any(step["step"] == name and step["status"] == status for step in story["steps"])


def begun(served: Served, **input_: Any) -> str:
    """A journey that waits for its approval."""
    saga_id = begin(served, **input_)
    when(served.client, saga_id, at_step("approval"))
    return saga_id


def stuck(served: Served) -> str:
    """A journey that is FAILED: it was not approved, and its seat cannot be freed."""
    saga_id = begun(served, sold=True)
    assert served.client.post(f"/api/saga/{saga_id}/signals/approval", json="refused").status_code == 202
    when(served.client, saga_id, is_now("FAILED"))
    return saga_id
