"""What must hold of every saga's stream, whatever happened to it: checked event by event, from the log alone.

The checker keeps books of its own and asks neither `decide` nor `evolve`: it is their judge. The simulator, the
tests on real databases and `saga-es verify` all use it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from saga_es.core.events import (
    ChildStarted,
    CompensationCompleted,
    CompensationFailed,
    CompensationSkipped,
    CompensationStarted,
    InputReplaced,
    ProbeAnswered,
    ProbeStarted,
    SagaAborted,
    SagaBegan,
    SagaCancelled,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaFailed,
    SagaPaused,
    SagaReopened,
    SagaResolved,
    SagaResumed,
    SagaStarted,
    SagaTakenOver,
    SignalReceived,
    StepCompleted,
    StepFailed,
    StepFannedOut,
    StepSkipped,
    StepStarted,
    WaitStarted,
)
from saga_es.core.plan import Plan, Signal, index_of, part_of, step_of


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


def violations(saga_id: str, plan: Plan, events: Iterable[tuple[int, SagaEvent]]) -> list[Violation]:
    """All rules that a stream breaks; none of a sound one.

    Args:
        saga_id: Whose stream it is.
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
    """What the books hold of one step or part."""

    def __init__(self) -> None:
        self.attempts = 0
        self.undone_attempts = 0
        self.out = False  # an intent to act has no outcome yet
        self.undoing = False
        self.probing = False
        self.waits = False  # to be tried again, or for what is to come
        self.done = False
        self.doubt = False
        self.effect = False
        self.restart = False  # the attempt that was out may be made once more: its worker is gone


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
        self.reopening = False  # a person changed something, and the next event says that it goes on
        self.signals: dict[str, int] = {}
        self.steps: dict[str, _Step] = {}
        self.parts: dict[str, int] = {}

    def see(self, event: SagaEvent) -> list[str]:
        """Enter an event; the rules it breaks."""
        if isinstance(event, SagaStarted) is not (self.version == 1):
            return ["a saga starts once, with its first event"]
        name = getattr(event, "step", None)
        if name is not None and all(step.name != step_of(name) for step in self.plan.steps):
            return [f"the plan has no step {name!r}"]
        broken = self._by_a_person(event) + self._after_the_end(event) + self._while_paused(event)
        match event:
            case StepStarted() | StepCompleted() | StepSkipped() | StepFailed() | WaitStarted() | ChildStarted():
                return broken + self._forward(event)
            case CompensationStarted() | CompensationCompleted() | CompensationFailed() | CompensationSkipped():
                return broken + self._back(event)
            case ProbeStarted() | ProbeAnswered():
                return broken + self._probe(event)
            case _:
                return broken + self._saga(event)

    # ── Rules about when ─────────────────────────────────────────────────────────────────────────────────

    def _by_a_person(self, event: SagaEvent) -> list[str]:
        """What a person may do is done to a saga that is FAILED, which goes on in the same append."""
        was_reopening, self.reopening = self.reopening, False
        if was_reopening and not isinstance(event, SagaReopened):
            return [f"{type(event).__name__} where the saga should be reopened"]
        match event:
            case StepSkipped(actor=None):
                return []
            case StepSkipped() | CompensationSkipped() | InputReplaced():
                self.reopening = True
            case SagaReopened("COMPENSATING") if self.ended == "COMPLETED":
                return []
            case SagaReopened() | SagaResolved():
                pass
            case _:
                return []
        is_now = self.ended or "not at its end"
        return [] if is_now == "FAILED" else [f"{type(event).__name__}, but the saga is {is_now}"]

    def _after_the_end(self, event: SagaEvent) -> list[str]:
        by_a_person = StepSkipped | CompensationSkipped | InputReplaced | SagaReopened | SagaResolved
        match event:
            case StepSkipped(actor=None) if self.ended is not None:
                return [f"StepSkipped after the end ({self.ended})"]
            case _ if self.ended is None or isinstance(event, by_a_person):
                return []
            case _:
                return [f"{type(event).__name__} after the end ({self.ended})"]

    def _while_paused(self, event: SagaEvent) -> list[str]:
        begins = isinstance(event, StepStarted | CompensationStarted | ProbeStarted)
        begins = begins or (isinstance(event, WaitStarted) and not self._step(event.step).out)
        return [f"{type(event).__name__} while the saga is paused"] if begins and self.paused else []

    # ── Rules about steps ────────────────────────────────────────────────────────────────────────────────

    def _forward(  # noqa: C901 (a table: one case an event)
        self, event: StepStarted | StepCompleted | StepSkipped | StepFailed | WaitStarted | ChildStarted
    ) -> list[str]:
        step = self._step(event.step)
        broken: list[str] = []
        match event:
            case StepStarted(name, attempt):
                broken = self._may_begin(name, step)
                again = step.restart and attempt == step.attempts
                if attempt != step.attempts + 1 and not again:
                    broken.append(f"attempt {attempt} of step {name!r} follows attempt {step.attempts}")
                step.attempts, step.out, step.waits, step.restart = attempt, True, False, False
            case WaitStarted(name):
                broken = [] if step.out else self._may_begin(name, step)
                broken += [f"step {name!r} waits twice"] if step.waits else []
                step.out, step.waits = False, True
            case ChildStarted(name):
                broken = [] if step.out else [f"step {name!r} runs a saga without having been called"]
            case StepCompleted(name):
                broken = [] if step.out or step.waits else [f"step {name!r} is done without an intent"]
                broken += self._use_signal(name)
                step.out, step.waits, step.done, step.effect = False, False, True, True
            case StepSkipped(name, actor):
                is_asked = step.out or actor is not None
                broken = (
                    [] if is_asked else [f"step {name!r} is skipped without having been asked whether it is wanted"]
                )
                step.out, step.waits, step.done, step.effect, step.doubt = False, False, True, False, False
                step.probing = False
            case StepFailed(name, attempt, failure, retry_at=retry_at):
                is_wait = attempt == 0 or step.waits
                if not is_wait and (not step.out or attempt != step.attempts):
                    broken.append(f"attempt {attempt} of step {name!r} fails without an intent")
                step.doubt = step.doubt or (failure == "unknown" and self.plan.step(name).work is None)
                step.out, step.waits = False, retry_at is not None
                step.effect = step.effect or (step.doubt and retry_at is None)
        return broken

    def _use_signal(self, name: str) -> list[str]:
        if not isinstance(self.plan.step(name).work, Signal):
            return []
        there = self.signals.get(name, 0)
        self.signals[name] = max(0, there - 1)
        return [] if there else [f"step {name!r} is done without its signal"]

    def _may_begin(self, name: str, step: _Step) -> list[str]:
        broken = self._why_no_part(name)
        if not self.began:
            broken.append(f"step {name!r} goes forward before the saga began")
        if self.aborted:
            broken.append(f"step {name!r} goes forward after the saga aborted")
        if step.done or (step.out and not step.restart):
            broken.append(f"step {name!r} begins, but is {'done' if step.done else 'under way'}")
        early = [other for other in self.plan.after(step_of(name)) if not self._is_done(other)]
        if early:
            broken.append(f"step {name!r} begins before {', '.join(early)}")
        return broken

    def _why_no_part(self, name: str) -> list[str]:
        planned, index = self.plan.step(name), index_of(name)
        if (planned.over is None) is not (index is None):
            return [f"step {name!r} is not of the plan: {planned.name!r} is done over {planned.over or 'no list'}"]
        if index is None:
            return []
        size = self.parts.get(planned.name, 0)
        out = sum(step.out for other, step in self.steps.items() if step_of(other) == planned.name and other != name)
        broken = [f"step {name!r} is none of {size} parts"] if index >= size else []
        return (
            [*broken, f"step {name!r} is one more than {planned.at_once} at once"] if out >= planned.at_once else broken
        )

    def _back(
        self, event: CompensationStarted | CompensationCompleted | CompensationFailed | CompensationSkipped
    ) -> list[str]:
        step = self._step(event.step)
        broken: list[str] = []
        match event:
            case CompensationStarted(name, attempt):
                broken = self._may_undo(name, step)
                if attempt not in (step.undone_attempts + 1, 1 if not step.undone_attempts else -1):
                    broken.append(f"attempt {attempt} to undo step {name!r} follows attempt {step.undone_attempts}")
                step.undone_attempts, step.undoing = attempt, True
            case CompensationCompleted(name):
                broken = [] if step.undoing else [f"step {name!r} is undone without an intent"]
                step.undoing, step.effect = False, False
            case CompensationFailed(name, attempt):
                if not step.undoing or attempt != step.undone_attempts:
                    broken = [f"attempt {attempt} to undo step {name!r} fails without an intent"]
                step.undoing = False
            case CompensationSkipped():
                step.undoing, step.effect = False, False
        return broken

    def _may_undo(self, name: str, step: _Step) -> list[str]:
        broken = []
        if not self.aborted:
            broken.append(f"step {name!r} is undone, but the saga goes forward")
        if self.plan.step(name).compensation is None:
            broken.append(f"step {name!r} is undone, but has no compensation")
        if not step.effect:
            broken.append(f"step {name!r} is undone, but has no effect that stands")
        if any(other.out for other in self.steps.values()):
            broken.append(f"step {name!r} is undone while an action is out")
        behind = self.plan.behind(step_of(name))
        late = [other for other in self._standing() if step_of(other) in behind]
        if late:
            broken.append(f"step {name!r} is undone before {', '.join(late)}, which came after it")
        return broken

    def _probe(self, event: ProbeStarted | ProbeAnswered) -> list[str]:
        step = self._step(event.step)
        if isinstance(event, ProbeStarted):
            step.probing = True
            return [] if step.doubt else [f"step {event.step!r} is asked about, but is not in doubt"]
        broken = [] if step.probing else [f"a probe of step {event.step!r} is answered that nobody sent"]
        step.probing = False
        if event.happened:
            step.done = step.done or not self.aborted or step.out or step.waits
            step.out, step.waits, step.doubt, step.effect = False, False, False, True
        elif event.happened is False:
            step.doubt = step.effect = False
        if not event.happened and step.out:  # it was interrupted, and is made again, or given up
            step.out, step.waits = False, True
        return broken

    # ── Rules about the saga ─────────────────────────────────────────────────────────────────────────────

    def _saga(self, event: SagaEvent) -> list[str]:  # noqa: C901, PLR0911, PLR0912 (a table: one case an event)
        match event:
            case SagaStarted(worker=worker, starts_at=starts_at):
                self.owner = worker
                self.began = worker is not None and starts_at is None
            case SagaBegan():
                broken = ["the saga begins twice"] if self.began else []
                self.began = True
                return broken
            case SignalReceived(name):
                self.signals[name] = self.signals.get(name, 0) + 1
            case SagaTakenOver(worker, previous):
                was, self.owner = self.owner, worker
                self._interrupt()
                return [f"it is taken from {previous}, but belongs to {was}"] if previous != was else []
            case SagaAborted():
                return self._abort()
            case SagaCancelled():
                self.paused = False
                return self._abort()
            case StepFannedOut(name, size):
                broken = [f"step {name!r} is fanned out twice"] if name in self.parts else []
                self.parts[name] = size
                return broken
            case SagaPaused():
                self.paused = True
            case SagaResumed():
                self.paused = False
            case SagaReopened(status):
                self.ended, self.owner, self.paused, self.began = None, None, False, True
                for step in self.steps.values():
                    step.restart = True
                return self._abort() if status == "COMPENSATING" and not self.aborted else []
            case SagaCompleted():
                return self._end("COMPLETED", self._why_not_complete())
            case SagaCompensated():
                return self._end("COMPENSATED", self._why_not_compensated())
            case SagaFailed():
                return self._end("FAILED", [])
            case SagaResolved(status):
                return self._end(status, [])
            case _:
                pass
        return []

    def _interrupt(self) -> None:
        for name, step in self.steps.items():
            if step.out and self.plan.step(name).work is None:
                step.doubt = step.restart = True

    def _abort(self) -> list[str]:
        broken = ["the saga aborts twice"] if self.aborted else []
        pivots = [step.name for step in self.plan.steps if step.kind == "pivot"]
        called = [name for name in pivots if self._step(name).out or self._is_done(name)]
        broken += [f"the saga aborts after its pivot {name!r} was called" for name in called]
        self.aborted = True
        for step in self.steps.values():
            if not step.probing:  # what is being asked about is answered first
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
        broken = [f"COMPENSATED, but {', '.join(standing)} stands"] if standing else []
        out = [name for name, step in self.steps.items() if step.out or step.undoing or step.probing]
        broken += [f"COMPENSATED while {', '.join(out)} is out"] if out else []
        return broken if self.aborted else [*broken, "COMPENSATED, but the saga never aborted"]

    # ── Looking things up ────────────────────────────────────────────────────────────────────────────────

    def _step(self, name: str) -> _Step:
        return self.steps.setdefault(name, _Step())

    def _is_done(self, name: str) -> bool:
        if name in self.steps and self.steps[name].done:
            return True
        return name in self.parts and all(self._is_done(part_of(name, index)) for index in range(self.parts[name]))

    def _standing(self) -> list[str]:
        return [n for n, step in self.steps.items() if step.effect and self.plan.step(n).compensation is not None]
