"""The laboratory: it runs a saga of yours in virtual time, kills it at every event, and loses every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any, TypeVar

import msgspec

from saga_es.core.commands import Command
from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.requests import Request
from saga_es.definition.saga import Saga, family
from saga_es.logs import logger, silence
from saga_es.runtime.calls.transport import Transport, WsgiApp, WsgiTransport
from saga_es.testing.faults import CallFault, Calm, Chaos, Faults, Script
from saga_es.testing.judge import faults_found
from saga_es.testing.world import Deployment, World

F = TypeVar("F", bound=Faults)

ANYBODY = (CallFault.REQUEST_LOST, CallFault.ANSWER_LOST, CallFault.BUSY, CallFault.REFUSED)
"""Faults that every step must survive."""

CAREFUL = (*ANYBODY, CallFault.SLOW, CallFault.DUPLICATED)
"""Faults that a participant survives only if it remembers keys, and compensations that arrive before their action."""


ROLLBACK_S = 6.0
"""How long a version that is deployed stays: longer than a worker needs to look for sagas of a worker that is gone."""


class Outcome(msgspec.Struct, frozen=True):
    """How a simulated run ended.

    Attributes:
        results: The results of the completed steps, by step.
        calls: The calls that arrived at participants, in order: `charge`, `undo charge`, `ask charge`.
        log: The whole log as text; the same run with the same salt gives the same bytes.
    """

    status: SagaStatus
    results: dict[str, Any]
    error: str | None
    calls: list[str]
    log: str


class Lab:
    """Runs one saga again and again, each time in a world of its own, and checks the promises.

    Steps that are functions are called unchanged, in this thread, many times. They change real things: give them a fake
    of your own, or a participant that honours the idempotency key.

    Args:
        saga: The definition.
        input: The input of each run.
        app: What answers the requests of steps: a WSGI application, such as a Flask application, or a transport for
            each participant, by name.
        commands: Commands and signals that are sent in each run, each so many seconds after the start.
        fresh: Called before each run; resets what the steps touch.
        check: Called after each run with its outcome; asserts what must hold for what the steps touched.
        salt: A text in the ids of its sagas, so that a participant that outlives this process takes none for a
            repetition. None: a new one for each laboratory. With the same salt, the same run gives the same log.

    Raises:
        ValueError: The saga calls a participant for which there is no transport.
    """

    def __init__(
        self,
        saga: Saga,
        input: dict[str, Any] | None = None,  # noqa: A002 (the field's word, and the step functions')
        *,
        app: WsgiApp | Mapping[str, Transport] | None = None,
        commands: Iterable[tuple[float, Command]] = (),
        fresh: Callable[[], object] = lambda: None,
        check: Callable[[Outcome], object] = lambda _: None,
        salt: str | None = None,
    ) -> None:
        self._saga = saga
        self._input = input or {}
        self._app = app
        self._commands = tuple(commands)
        self._fresh = fresh
        self._check = check
        self.runs = 0
        self._salt = token_hex(4) if salt is None else salt
        self._end: SagaStatus | None = None
        _transports([saga], app)

    def run(self, faults: Faults | None = None) -> Outcome:
        """Run the saga once.

        Args:
            faults: What goes wrong; None: nothing.

        Raises:
            AssertionError: A promise was broken; the message names it, and holds the log.
        """
        return self._run(faults or Calm(), f"run {self.runs}")

    def kill_at_every_event(self) -> list[Outcome]:
        """Run the saga once for each point at which its process can die, and let it die there.

        Raises:
            AssertionError: In one of the runs a promise was broken.
        """
        points = range(self._calm().points)
        return [self._run(Script(kill_at=[point]), f"killed at point {point}") for point in points]

    def deploy(self, *new: Saga) -> list[Outcome]:
        """Run the saga once for each point at which a deployment can replace its process, and deploy `new` there.

        A worker with the new definitions comes up in place of the one that died. Then the deployment is rolled back,
        and at last rolled out again, beside workers of the old version: so code that the new version lacks is waited
        for, and found. Each run must end like a run without deployments.

        Args:
            new: The definitions of the new version.

        Raises:
            AssertionError: In one of the runs a promise was broken, or the saga ended otherwise.
        """
        calm = self._calm()
        end = self._end
        old = [self._saga]
        steps = [(1.0, new, False), (ROLLBACK_S, old, False), (2 * ROLLBACK_S, new, True)]
        outcomes = []
        for point in range(calm.points):
            name = f"deployed at point {point}"
            outcome = self._run(Script(kill_at=[point]), name, steps)
            if outcome.status is not end:
                otherwise = f"{name}: {outcome.status} ({outcome.error}), and {end} without a deployment"
                raise AssertionError(f"{otherwise}\n{outcome.log}")
            outcomes.append(outcome)
        return outcomes

    def freeze_at_every_iteration(self) -> list[Outcome]:
        """Run the saga once for each iteration, and let its process stand still there until others take it for dead.

        Raises:
            AssertionError: In one of the runs a promise was broken.
        """
        iterations = range(self._calm().iterations)
        return [self._run(Script(freeze_at=[at]), f"frozen at iteration {at}") for at in iterations]

    def lose_every_reply_once(self) -> list[Outcome]:
        """Run the saga once for each of its calls, and lose the answer to that call.

        Raises:
            AssertionError: In one of the runs a promise was broken.
        """
        calls = range(self._calm().calls)
        return [self._run(Script(lose_reply=call), f"reply {call} lost") for call in calls]

    def chaos(
        self, seeds: Iterable[int] = range(100), rate: float = 0.1, calls: Sequence[CallFault] = ANYBODY
    ) -> list[Outcome]:
        """Run the saga once for each seed, with everything going wrong at random.

        Args:
            seeds: Each seed names a run; the same seed with the same salt gives the same run.
            rate: How likely a fault is at each point, 0 to 1.
            calls: The faults that calls may meet; `CAREFUL` for participants that honour their keys.

        Raises:
            AssertionError: In one of the runs a promise was broken; the message names the seed and the salt.
        """
        outcomes = [self._run(Chaos(seed, rate, calls), f"chaos with seed {seed}") for seed in seeds]
        if all(outcome.status is not SagaStatus.COMPLETED for outcome in outcomes):
            self._calm()
        return outcomes

    def _calm(self) -> Calm:
        """Run the saga without faults, and say if it does not complete even so: all runs might show nothing else."""
        calm = Calm()
        outcome = self._run(calm, f"run {self.runs}")
        is_first, self._end = self._end is None, outcome.status
        if is_first and self._end is not SagaStatus.COMPLETED:
            logger.warning("not even the run without faults completes", status=str(outcome.status), error=outcome.error)
        return calm

    def _run(self, faults: Faults, name: str, deployments: Sequence[Deployment] = ()) -> Outcome:
        # Each run has an id of its own: participants that outlive a run, or this process, would take the next run for a
        # repetition.
        self.runs += 1
        self._fresh()
        saga_id = f"{name.replace(' ', '-')}-{self._salt}-{self.runs}"
        with silence():
            deployed = [definition for _, definitions, _ in deployments for definition in definitions]
            world = World([self._saga], faults, _transports([self._saga, *deployed], self._app))
            world.deployments = list(deployments)
            world.start(self._saga, self._input, saga_id)
            for after_s, command in self._commands:
                world.ask(saga_id, command, after_s)
            world.run()
        broken = faults_found(world)
        again = f"again with salt={self._salt!r}"
        if broken:
            raise AssertionError("\n".join([f"{name}, {again}", *broken, world.store.text()]))
        state = world.state(saga_id)
        assert state is not None, "it was started"
        outcome = _outcome(world, state)
        try:
            self._check(outcome)
        except Exception as error:
            error.add_note("\n".join([f"{name}, after these calls: {', '.join(outcome.calls)}", again, outcome.log]))
            raise
        return outcome


def _outcome(world: World, state: SagaState) -> Outcome:
    words = {"action": "", "compensation": "undo ", "probe": "ask "}
    calls = [words[ran.direction] + ran.step for ran in world.network.history]
    return Outcome(state.status, state.results, state.error, calls, world.store.text())


def _transports(sagas: Iterable[Saga], app: WsgiApp | Mapping[str, Transport] | None) -> Mapping[str, Transport]:
    """What carries the calls to each participant that the sagas call.

    Raises:
        ValueError: There is none for one of them: each of its calls would fail, and nothing would be tried.
    """
    callees = (callee for saga in sagas for one in family([saga]) for callee in one.callees)
    called = {callee.participant for callee in callees if isinstance(callee, Request)}
    found = dict.fromkeys(called, WsgiTransport(app)) if callable(app) else app or {}
    if absent := sorted(called - set(found)):
        example = f"app={{{absent[0]!r}: transport}}"
        raise ValueError(
            f"no transport for the participants {', '.join(absent)}: give the lab their WSGI application, or {example}"
        )
    return found
