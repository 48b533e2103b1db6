"""The rules that every saga's stream obeys, checked event by event, from the log alone.

The checker judges `decide` and `evolve`, so it uses neither: it keeps books of its own. The simulator, the tests on
real databases and `saga-es verify` use it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from saga_es.core import events as e
from saga_es.core.plan import Plan, Signal, element_of, index_of, step_of


class Violation(msgspec.Struct, frozen=True):
    """One rule that a stream breaks.

    Attributes:
        version: The event that breaks it.
    """

    saga_id: str
    version: int
    rule: str

    def __str__(self) -> str:
        return f"saga {self.saga_id} at version {self.version}: {self.rule}"


def violations(saga_id: str, plan: Plan, events: Iterable[tuple[int, e.SagaEvent]]) -> list[Violation]:
    """All rules that a stream breaks; a sound stream breaks none.

    Args:
        saga_id: The saga of the stream.
        plan: The plan that its first event names.
        events: The versions and events, in the order of versions.
    """
    books = _Books(plan)
    found: list[Violation] = []
    for version, event in events:
        rules = [f"version {books.version + 1} is missing"] if version != books.version + 1 else []
        books.version = version
        rules += books.see(event)
        found += [Violation(saga_id, version, rule) for rule in rules]
    return found


class _Step:
    """The books of one step or element."""

    def __init__(self) -> None:
        self.attempts = 0
        self.undone_attempts = 0
        self.in_flight = False  # an intent to act has no outcome yet
        self.undoing = False
        self.probing = False
        self.waits = False  # for a retry, a time, a signal or a child saga
        self.done = False
        self.doubt = False
        self.effect = False
        self.restart = False  # the attempt in flight may be made once more: its worker is gone


class _Books:
    """The books of one saga."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.version = 0
        self.owner: str | None = None
        self.aborted = False
        self.paused = False
        self.began = False
        self.ended: str | None = None
        self.reopening = False  # a person changed something; the next event must reopen the saga
        self.signals: dict[str, int] = {}
        self.steps: dict[str, _Step] = {}
        self.fan_outs: dict[str, int] = {}

    def see(self, event: e.SagaEvent) -> list[str]:
        """Enter an event, and return the rules that it breaks."""
        if isinstance(event, e.SagaStarted) is not (self.version == 1):
            return ["a saga starts once, with its first event"]
        name = getattr(event, "step", None)
        if name is not None and all(step.name != step_of(name) for step in self.plan.steps):
            return [f"the plan has no step {name!r}"]
        broken = self._by_a_person(event) + self._after_the_end(event) + self._while_paused(event)
        match event:
            case (
                e.StepStarted()
                | e.StepCompleted()
                | e.StepSkipped()
                | e.StepFailed()
                | e.WaitStarted()
                | e.ChildStarted()
            ):
                return broken + self._forward(event)
            case e.CompensationStarted() | e.CompensationCompleted() | e.CompensationFailed() | e.CompensationSkipped():
                return broken + self._back(event)
            case e.ProbeStarted() | e.ProbeAnswered():
                return broken + self._probe(event)
            case _:
                return broken + self._saga(event)

    # ── Rules about when ─────────────────────────────────────────────────────────────────────────────────

    def _by_a_person(self, event: e.SagaEvent) -> list[str]:
        """A person changes only a FAILED saga, which is reopened in the same append."""
        was_reopening, self.reopening = self.reopening, False
        if was_reopening and not isinstance(event, e.SagaReopened):
            return [f"{type(event).__name__} where the saga should be reopened"]
        match event:
            case e.StepSkipped(actor=None):
                return []
            case e.StepSkipped() | e.CompensationSkipped() | e.InputReplaced():
                self.reopening = True
            case e.SagaReopened("COMPENSATING") if self.ended == "COMPLETED":
                return []
            case e.SagaReopened() | e.SagaResolved():
                pass
            case _:
                return []
        is_now = self.ended or "not at its end"
        return [] if is_now == "FAILED" else [f"{type(event).__name__}, but the saga is {is_now}"]

    def _after_the_end(self, event: e.SagaEvent) -> list[str]:
        by_a_person = (
            e.StepSkipped | e.CompensationSkipped | e.InputReplaced | e.SagaMigrated | e.SagaReopened | e.SagaResolved
        )
        match event:
            case e.StepSkipped(actor=None) if self.ended is not None:
                return [f"StepSkipped after the end ({self.ended})"]
            case _ if self.ended is None or isinstance(event, by_a_person):
                return []
            case _:
                return [f"{type(event).__name__} after the end ({self.ended})"]

    def _while_paused(self, event: e.SagaEvent) -> list[str]:
        begins = isinstance(event, e.StepStarted | e.CompensationStarted | e.ProbeStarted)
        begins = begins or (isinstance(event, e.WaitStarted) and not self._step(event.step).in_flight)
        return [f"{type(event).__name__} while the saga is paused"] if begins and self.paused else []

    # ── Rules about steps ────────────────────────────────────────────────────────────────────────────────

    def _forward(  # noqa: C901 (a table: one case an event)
        self, event: e.StepStarted | e.StepCompleted | e.StepSkipped | e.StepFailed | e.WaitStarted | e.ChildStarted
    ) -> list[str]:
        step = self._step(event.step)
        broken: list[str] = []
        match event:
            case e.StepStarted(name, attempt):
                broken = self._may_begin(name, step)
                again = step.restart and attempt == step.attempts
                if attempt != step.attempts + 1 and not again:
                    broken.append(f"attempt {attempt} of step {name!r} follows attempt {step.attempts}")
                step.attempts, step.in_flight, step.waits, step.restart = attempt, True, False, False
            case e.WaitStarted(name):
                broken = [] if step.in_flight else self._may_begin(name, step)
                broken += [f"step {name!r} waits twice"] if step.waits else []
                step.in_flight, step.waits = False, True
            case e.ChildStarted(name):
                broken = [] if step.in_flight else [f"step {name!r} runs a saga without having been called"]
            case e.StepCompleted(name):
                broken = [] if step.in_flight or step.waits else [f"step {name!r} is done without an intent"]
                broken += self._use_signal(name)
                step.in_flight, step.waits, step.done, step.effect = False, False, True, True
            case e.StepSkipped(name, actor):
                may_skip = step.in_flight or actor is not None
                broken = [] if may_skip else [f"step {name!r} is skipped, but its condition was not evaluated"]
                step.in_flight, step.waits, step.done, step.effect, step.doubt = False, False, True, False, False
                step.probing = False
            case e.StepFailed(name, attempt, failure, retry_at=retry_at):
                is_wait = attempt == 0 or step.waits
                if not is_wait and (not step.in_flight or attempt != step.attempts):
                    broken.append(f"attempt {attempt} of step {name!r} fails without an intent")
                step.doubt = step.doubt or (failure == "unknown" and self.plan.step(name).work is None)
                step.in_flight, step.waits = False, retry_at is not None
                step.effect = step.effect or (step.doubt and retry_at is None)
        return broken

    def _use_signal(self, name: str) -> list[str]:
        if not isinstance(self.plan.step(name).work, Signal):
            return []
        there = self.signals.get(name, 0)
        self.signals[name] = max(0, there - 1)
        return [] if there else [f"step {name!r} is done without its signal"]

    def _may_begin(self, name: str, step: _Step) -> list[str]:
        broken = self._why_no_element(name)
        if not self.began:
            broken.append(f"step {name!r} goes forward before the saga began")
        if self.aborted:
            broken.append(f"step {name!r} goes forward after the saga aborted")
        if step.done or (step.in_flight and not step.restart):
            broken.append(f"step {name!r} begins, but is {'done' if step.done else 'under way'}")
        return broken + self._early(name)

    def _why_no_element(self, name: str) -> list[str]:
        planned, index = self.plan.step(name), index_of(name)
        if (planned.over is None) is not (index is None):
            return [f"step {name!r} does not fit the plan: {planned.name!r} is done over {planned.over or 'no list'}"]
        if index is None:
            return []
        size = self.fan_outs.get(planned.name, 0)
        others = [step for other, step in self.steps.items() if step_of(other) == planned.name and other != name]
        broken = [f"step {name!r} is not one of {size} elements"] if index >= size else []
        if sum(step.in_flight for step in others) >= planned.at_once:
            broken.append(f"step {name!r} is one more than {planned.at_once} at once")
        return broken

    def _back(
        self, event: e.CompensationStarted | e.CompensationCompleted | e.CompensationFailed | e.CompensationSkipped
    ) -> list[str]:
        step = self._step(event.step)
        broken: list[str] = []
        match event:
            case e.CompensationStarted(name, attempt):
                broken = self._may_undo(name, step)
                if attempt not in (step.undone_attempts + 1, 1 if not step.undone_attempts else -1):
                    broken.append(f"attempt {attempt} to undo step {name!r} follows attempt {step.undone_attempts}")
                step.undone_attempts, step.undoing = attempt, True
            case e.CompensationCompleted(name):
                broken = [] if step.undoing else [f"step {name!r} is undone without an intent"]
                step.undoing, step.effect = False, False
            case e.CompensationFailed(name, attempt):
                if not step.undoing or attempt != step.undone_attempts:
                    broken = [f"attempt {attempt} to undo step {name!r} fails without an intent"]
                step.undoing = False
            case e.CompensationSkipped():
                step.undoing, step.effect = False, False
        return broken

    def _may_undo(self, name: str, step: _Step) -> list[str]:
        broken = []
        if not self.aborted:
            broken.append(f"step {name!r} is undone, but the saga goes forward")
        if self.plan.step(name).compensation is None:
            broken.append(f"step {name!r} is undone, but has no compensation")
        if not step.effect:
            broken.append(f"step {name!r} is undone, but has no effect")
        if any(other.in_flight for other in self.steps.values()):
            broken.append(f"step {name!r} is undone while an action is in flight")
        behind = self.plan.behind(step_of(name))
        late = [other for other in self._standing() if step_of(other) in behind]
        if late:
            broken.append(f"step {name!r} is undone before {', '.join(late)}, which came after it")
        return broken

    def _probe(self, event: e.ProbeStarted | e.ProbeAnswered) -> list[str]:
        step = self._step(event.step)
        if isinstance(event, e.ProbeStarted):
            step.probing = True
            return [] if step.doubt else [f"step {event.step!r} is probed, but is not in doubt"]
        broken = [] if step.probing else [f"a probe of step {event.step!r} is answered without an intent"]
        step.probing = False
        if event.happened:
            step.done = step.done or not self.aborted or step.in_flight or step.waits
            step.in_flight, step.waits, step.doubt, step.effect = False, False, False, True
        elif event.happened is False:
            step.doubt = step.effect = False
        if not event.happened and step.in_flight:  # the call was interrupted, and is made again, or given up
            step.in_flight, step.waits = False, True
        return broken

    def _progress(self, said: e.StepProgressed) -> list[str]:
        step = self._step(said.step)
        under_way = {"action": step.in_flight, "compensation": step.undoing, "probe": step.probing}[said.direction]
        attempt = step.undone_attempts if said.direction == "compensation" else step.attempts
        what = f"attempt {said.attempt} of the {said.direction} of step {said.step!r}"
        return [] if under_way and attempt == said.attempt else [f"{what} goes on, but is not in flight"]

    # ── Rules about the saga ─────────────────────────────────────────────────────────────────────────────

    def _saga(self, event: e.SagaEvent) -> list[str]:  # noqa: C901, PLR0911, PLR0912 (a table: one case an event)
        match event:
            case e.SagaStarted(worker=worker, starts_at=starts_at):
                self.owner = worker
                self.began = worker is not None and starts_at is None
            case e.StepProgressed():
                return self._progress(event)
            case e.SagaBegan():
                broken = ["the saga begins twice"] if self.began else []
                self.began = True
                return broken
            case e.SignalReceived(name):
                self.signals[name] = self.signals.get(name, 0) + 1
            case e.SagaTakenOver(worker, previous):
                was, self.owner = self.owner, worker
                self._interrupt()
                return [f"the saga is taken over from {previous}, but its owner is {was}"] if previous != was else []
            case e.SagaReleased(worker):
                was, self.owner = self.owner, None
                return [f"{worker} lets go of the saga, but its owner is {was}"] if worker != was else []
            case e.SagaAborted():
                return self._abort()
            case e.SagaCancelled():
                self.paused = False
                return self._abort()
            case e.StepFannedOut(name, size):
                broken = [f"step {name!r} is fanned out twice"] if name in self.fan_outs else []
                self.fan_outs[name] = size
                return broken
            case e.SagaPaused():
                self.paused = True
            case e.SagaResumed():
                self.paused = False
            case e.SagaMigrated():
                return self._migrate(event)
            case e.SagaReopened(status):
                self.ended, self.owner, self.paused, self.began = None, None, False, True
                for step in self.steps.values():
                    step.restart = True
                return self._abort() if status == "COMPENSATING" and not self.aborted else []
            case e.SagaCompleted():
                return self._end("COMPLETED", self._why_not_complete())
            case e.SagaCompensated():
                return self._end("COMPENSATED", self._why_not_compensated())
            case e.SagaFailed():
                return self._end("FAILED", [])
            case e.SagaResolved(status):
                return self._end(status, [])
            case _:
                pass
        return []

    def _migrate(self, event: e.SagaMigrated) -> list[str]:
        """What has begun has a place in the new plan, behind steps that are done."""
        broken = ["the saga is migrated after it aborted"] if self.aborted else []
        broken += [f"the saga is migrated after the end ({self.ended})"] if self.ended == "COMPLETED" else []
        names = {step.name for step in event.plan.steps}
        began: dict[str, _Step] = {}
        for was, step in self.steps.items():
            now = event.renamed.get(step_of(was), step_of(was)) + was[len(step_of(was)) :]
            stands = step.effect and self.plan.step(was).compensation is not None
            if step_of(now) in names:
                began[now] = step
                lost = stands and event.plan.step(now).compensation is None
                broken += [f"the compensation of step {was!r} is lost in a migration"] if lost else []
            elif stands or step.in_flight or step.waits or step.probing:
                broken.append(f"step {was!r} is lost in a migration")
        sizes = {event.renamed.get(name, name): many for name, many in self.fan_outs.items()}
        self.fan_outs = {name: many for name, many in sizes.items() if name in names}
        self.signals = {event.renamed.get(name, name): many for name, many in self.signals.items()}
        self.plan, self.steps = event.plan, began
        begun = [name for name, step in began.items() if step.attempts or step.done or step.waits]
        return broken + [rule for name in begun for rule in self._early(name)]

    def _early(self, name: str) -> list[str]:
        early = [other for other in self.plan.after(step_of(name)) if not self._is_done(other)]
        return [f"step {name!r} begins before {', '.join(early)}"] if early else []

    def _interrupt(self) -> None:
        for name, step in self.steps.items():
            if step.in_flight and self.plan.step(name).work is None:
                step.doubt = step.restart = True

    def _abort(self) -> list[str]:
        broken = ["the saga aborts twice"] if self.aborted else []
        pivots = [step.name for step in self.plan.steps if step.kind == "pivot"]
        called = [name for name in pivots if self._step(name).in_flight or self._is_done(name)]
        broken += [f"the saga aborts after its pivot {name!r} was called" for name in called]
        self.aborted = True
        for step in self.steps.values():
            if not step.probing:  # the answer of a probe comes first
                step.effect = step.effect or (step.waits and step.doubt)
                step.waits = False
        return broken

    def _end(self, status: str, broken: list[str]) -> list[str]:
        self.ended = status
        return broken

    def _why_not_complete(self) -> list[str]:
        missing = [step.name for step in self.plan.steps if not self._is_done(step.name)]
        broken = [f"COMPLETED without {', '.join(missing)}"] if missing else []
        return [*broken, "COMPLETED after the saga aborted"] if self.aborted else broken

    def _why_not_compensated(self) -> list[str]:
        standing = self._standing()
        broken = [f"COMPENSATED, but {', '.join(standing)} is not undone"] if standing else []
        in_flight = [name for name, step in self.steps.items() if step.in_flight or step.undoing or step.probing]
        broken += [f"COMPENSATED while {', '.join(in_flight)} is in flight"] if in_flight else []
        return broken if self.aborted else [*broken, "COMPENSATED, but the saga never aborted"]

    # ── Look-ups ─────────────────────────────────────────────────────────────────────────────────────────

    def _step(self, name: str) -> _Step:
        return self.steps.setdefault(name, _Step())

    def _is_done(self, name: str) -> bool:
        if name in self.steps and self.steps[name].done:
            return True
        return name in self.fan_outs and all(
            self._is_done(element_of(name, index)) for index in range(self.fan_outs[name])
        )

    def _standing(self) -> list[str]:
        return [n for n, step in self.steps.items() if step.effect and self.plan.step(n).compensation is not None]
