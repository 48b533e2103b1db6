"""Describe every event of a saga in a sentence for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_never
from unicodedata import category

import msgspec

from saga_es.core import events as e

SHORT = 100
"""Characters of a result or an error that a line shows."""


CALLEES = {"action": "step", "compensation": "undoing step", "probe": "the probe of step"}
"""What a call of a step is called, by its direction."""


def describe(event: e.SagaEvent) -> str:
    """One event as a sentence."""
    named = getattr(event, "on_behalf_of", None)
    if named is None:
        return _described(event)
    return _described(msgspec.structs.replace(event, actor=f"{getattr(event, 'actor', None)} on behalf of {named}"))


def _described(event: e.SagaEvent) -> str:  # noqa: C901, PLR0911, PLR0912 (a table: one sentence an event)
    match event:
        case e.SagaStarted():
            return _started(event)
        case e.SagaTakenOver(worker, None):
            return f"{worker} took the saga."
        case e.SagaReleased(worker, reason):
            return f"{worker} let go of the saga, which waits for a worker with the code: {reason}"
        case e.SagaTakenOver(worker, previous):
            return f"{worker} took the saga over, because {previous} is gone."
        case e.SagaBegan():
            return "The saga goes forward."
        case e.StepStarted(step, 1):
            return f"Step {step} is called."
        case e.StepStarted(step, attempt):
            return f"Step {step} is called again: attempt {attempt}."
        case e.StepCompleted(step, result):
            return f"Step {step} is done: {shown(result)}"
        case e.StepSkipped(step, None):
            return f"Step {step} is skipped: its condition does not hold."
        case e.StepSkipped(step, actor, reason):
            return f"Step {step} is skipped by {actor}: {reason}"
        case e.StepFailed():
            return _failed(event)
        case e.StepProgressed(step, _, direction, details):
            return f"{CALLEES[direction].capitalize()} {step} goes on: {shown(details)}"
        case e.StepFannedOut(step, size):
            return f"Step {step} is done for each of {size} elements."
        case e.WaitStarted(step, None):
            return f"Step {step} waits, for as long as it takes."
        case e.WaitStarted(step, until):
            return f"Step {step} waits until {moment(until)}."
        case e.SignalReceived(signal, payload, actor=actor):
            return f"The signal {signal} arrived{f' from {actor}' if actor else ''}: {shown(payload)}"
        case e.ChildStarted(step, saga, saga_id):
            return f"Step {step} runs the saga {saga}, as {saga_id}."
        case e.ProbeStarted(step, attempt):
            return f"A probe asks whether attempt {attempt} of step {step} has happened."
        case e.ProbeAnswered():
            return _answered(event)
        case e.SagaAborted(None, error):
            return f"The saga aborts, because {error}; what was done is undone, last first."
        case e.SagaAborted(step):
            return f"The saga aborts because of step {step}: what was done is undone, last first."
        case e.SagaCancelled(actor, reason):
            return f"The saga is cancelled by {actor}: {reason}. What was done is undone, last first."
        case e.CompensationStarted(step, 1):
            return f"Step {step} is being undone."
        case e.CompensationStarted(step, attempt):
            return f"Step {step} is being undone again: attempt {attempt}."
        case e.CompensationCompleted(step):
            return f"Step {step} is undone."
        case e.CompensationFailed():
            return _undo_failed(event)
        case e.CompensationSkipped(step, actor, reason):
            return f"{actor} marks step {step} as undone: {reason}"
        case e.SagaPaused(actor, reason):
            return f"The saga is paused by {actor}: {reason}"
        case e.SagaResumed(actor, reason):
            return f"The saga is resumed by {actor}: {reason}"
        case e.RetryOrdered(actor, reason):
            return f"{actor} retried the saga at once: {reason}"
        case e.InputReplaced(step, input_, actor, reason):
            return f"{actor} gave step {step} another input: {reason}. It is {shown(input_)}"
        case e.SagaMigrated():
            return _migrated(event)
        case e.SagaReopened("COMPENSATING", actor, reason):
            return f"{actor} reopened the saga, which compensates: {reason}"
        case e.SagaReopened(_, actor, reason):
            return f"{actor} reopened the saga, which goes forward: {reason}"
        case e.SagaResolved(status, actor, reason):
            return f"{actor} resolved the saga by hand as {status}: {reason}"
        case e.SagaCompleted():
            return "The saga is complete: every step is done."
        case e.SagaCompensated():
            return "The saga is compensated: everything that was done is undone."
        case e.SagaFailed(reason):
            return f"The saga stopped and needs a person: {reason}"
        case _:
            assert_never(event)


def _started(started: e.SagaStarted) -> str:
    saga = f"The saga {started.saga}"
    if started.starts_at is not None:
        return f"{saga} was requested, and starts at {moment(started.starts_at)}."
    if started.worker is None:
        return f"{saga} was requested, and waits for a worker."
    parent = f", as a child of {started.parent}" if started.parent else ""
    return f"{saga} began on {started.worker}{parent}."


def _migrated(migrated: e.SagaMigrated) -> str:
    names = "".join(f" Step {was} is {now} from now on." for was, now in migrated.renamed.items())
    return f"{migrated.actor} migrated the saga to {migrated.plan_id}: {migrated.reason}.{names}"


def with_frame(error: str, frame: str | None) -> str:
    """An error, and where the application's code raised it."""
    return f"{error} ({frame})" if frame else error


def _failed(failed: e.StepFailed) -> str:
    why = with_frame(failed.error, failed.frame)
    if not failed.attempt:
        return f"Step {failed.step} failed for good: {why}"
    attempt = f"at attempt {failed.attempt} ({failed.failure})"
    if failed.retry_at is None:
        return f"Step {failed.step} failed for good {attempt}: {why}"
    follows = "a probe follows at" if failed.last else "next try at"
    return f"Step {failed.step} failed {attempt}, {follows} {moment(failed.retry_at)}: {why}"


def _undo_failed(failed: e.CompensationFailed) -> str:
    attempt, why = f"at attempt {failed.attempt} ({failed.failure})", with_frame(failed.error, failed.frame)
    if failed.retry_at is None:
        return f"Undoing step {failed.step} failed for good {attempt}: {why}"
    return f"Undoing step {failed.step} failed {attempt}, next try at {moment(failed.retry_at)}: {why}"


def _answered(answered: e.ProbeAnswered) -> str:
    match answered.happened:
        case True:
            return f"Step {answered.step} has happened: {shown(answered.result)}"
        case False:
            return f"Step {answered.step} has not happened, and never will: {answered.error}"
        case None:
            return f"It is unknown whether step {answered.step} has happened: {answered.error}"


def moment(time: datetime | None) -> str:
    """A time in UTC, to the millisecond; an empty string for None."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03}Z"


def shown(value: Any) -> str:
    """The start of a value's JSON."""
    return short(msgspec.json.encode(value).decode())


_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""The Unicode categories of what is not shown as itself: controls, bidirectional and zero-width marks, line and
paragraph separators, lone surrogates, private and unassigned code points."""


def is_plain(character: str) -> bool:
    """Whether a character is shown as itself, and does nothing else to a terminal or a reader."""
    return category(character) not in _HIDDEN


def plain(text: str) -> str:
    """An untrusted text made safe to show: what is not shown as itself is escaped, as in Python's own literals."""
    if text.isprintable():  # nearly always, and fast; blanks other than the space are not
        return text
    return "".join(character if is_plain(character) else _escaped(ord(character)) for character in text)


def _escaped(code: int) -> str:
    if code <= 0xFF:  # noqa: PLR2004 (what two digits hold)
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 (what four digits hold)


def short(text: str | None) -> str:
    """The first `SHORT` characters of a text; an empty string for None."""
    if not text:
        return ""
    text = plain(text)
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"
