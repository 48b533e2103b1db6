"""Every moment of a saga as the moment of a deployment, forward and back: no saga ends otherwise than without.

Here are all moments of two ways, and some of the others. `make torture` has every moment of every way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from saga_es import Participant, Saga, StepRejected
from saga_es.core.state import SagaStatus
from saga_es.testing import Lab, Ledger
from tests.simulation.deployments import WAYS, deploy, removed
from tests.simulation.every_way import SAGA_ID, Path, Shape, quiet, run
from tests.simulation.shapes import TWICE, act, linear


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


NAMED = [pytest.param(*way, id=f"{way[0].__name__} to {way[1].__name__}") for way in WAYS]


FEWER = 7
"""Of the points of a way, each so many are tried, unless all is well in it, or the last step alone is refused."""


def chosen_points(shape: Shape) -> Iterator[tuple[list[int], int]]:
    """Ways, and the points of each at which a deployment is tried; they begin with another one in each way."""
    for number, (way, every) in enumerate(chosen_ways(shape)):
        for point in range(number % every, way.points, every):
            yield way.taken, point


def chosen_ways(shape: Shape) -> Iterator[tuple[Path, int]]:
    """All is well; one call meets another outcome; the last step is refused, and one of what undoes does."""
    calm = _way(shape, [])
    yield calm, 1
    last = len(calm.left) - 1
    refused = _way(shape, [*calm.taken[:last], 1])
    yield refused, 1
    for way, places in ((calm, range(last + 1)), (refused, range(last + 1, len(refused.left)))):
        for place in places:
            for option in range(1, way.left[place]):
                yield _way(shape, [*way.taken[:place], option]), FEWER


def _way(shape: Shape, taken: list[int]) -> Path:
    way = Path(taken)
    run(shape, way)
    return way


@pytest.mark.parametrize(("old", "new"), NAMED)
def test_a_deployment_at_any_moment_changes_the_end_of_no_saga(old: Shape, new: Shape) -> None:
    """Each point as the moment at which a process dies, and a deployment follows."""
    ends: Counter[str] = Counter()
    for taken, point in chosen_points(old):
        world, wrong = deploy(old, new, taken, point)
        assert wrong == []
        ends[world.store.sagas[SAGA_ID]["status"]] += 1
    assert set(ends) == {"COMPLETED", "COMPENSATED"}


def test_a_lab_deploys_at_each_point_and_finds_each_end_as_it_was() -> None:
    """A step that the new version lacks is waited for, and done by the old version when it is back."""
    ledger = Ledger()
    lab = Lab(linear(ledger), fresh=ledger.clear)
    outcomes = lab.deploy(removed(ledger))
    assert {outcome.status for outcome in outcomes} == {SagaStatus.COMPLETED}
    assert len(outcomes) > 10
    assert any("SagaTakenOver" in outcome.log and "undo" not in outcome.calls for outcome in outcomes)


def test_a_lab_answers_the_requests_of_the_version_that_is_deployed() -> None:
    """They go to the application that the lab was given, also to participants that the old version does not call."""

    def answers(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"{}"]

    outcomes = Lab(asking("a", "b"), app=answers).deploy(asking("a", "x", "b"))
    assert {outcome.status for outcome in outcomes} == {SagaStatus.COMPLETED}
    assert any("x" in outcome.calls for outcome in outcomes)


def asking(*names: str) -> Saga:
    """Each step asks a participant of its own."""
    saga = Saga("asking")
    for name in names:
        saga.request(name, Participant(f"keeper of {name}").post(f"/{name}"), compensation=None, retry=TWICE)
    return saga


def test_a_lab_tells_a_deployment_that_changes_an_end() -> None:
    """The function has kept its name and its parameters, and does something else: no engine can see that."""
    ledger = Ledger()
    new = Saga("linear")
    for name in "abc":
        new.step(compensation=None, retry=TWICE)(_refusing(name))
    with pytest.raises(AssertionError, match="and COMPLETED without a deployment"):
        Lab(linear_uncompensated(ledger), fresh=ledger.clear).deploy(new)


def linear_uncompensated(ledger: Ledger) -> Saga:
    saga = Saga("linear")
    for name in "abc":
        saga.step(compensation=None, retry=TWICE)(act(ledger, name))
    return saga


def _refusing(name: str) -> Callable[..., Any]:
    def refuse(key: str) -> None:
        raise StepRejected(f"no {name} under {key}")

    refuse.__name__ = name
    return refuse
