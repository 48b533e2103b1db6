"""The commands that a saga can follow now, and what the forms for them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec

from saga_es.core.commands import Cancel, Command, Fail, Pause, ReplaceInput, Resolve, Resume, Retry, SendSignal, Skip
from saga_es.core.operate import Undoing, preview, record, still_open
from saga_es.core.plan import Signal, step_of
from saga_es.core.state import SagaState, StepStatus
from saga_es.errors import CommandRefused

ACTIONS: Mapping[str, str] = {
    "retry": "Retry now",
    "resume": "Resume",
    "pause": "Pause",
    "signal": "Send signal",
    "cancel": "Cancel",
    "skip": "Skip a step",
    "replace-input": "Replace input",
    "fail": "Give up",
    "resolve": "Resolve",
}
"""The commands by the names of the API, with the words of their buttons."""

SENTENCES: Mapping[str, str] = {
    "retry": "What waits for its next try is tried at once; in a failed saga, what was given up is tried again.",
    "resume": "The pause ends, and the saga goes on.",
    "pause": "The saga begins nothing more until somebody resumes it. Answers of calls in flight are still recorded.",
    "signal": "The step of this name goes on with what you send. A signal that comes early is kept.",
    "cancel": "The saga aborts. What was done is undone, last first, in the order below.",
    "skip": "The step, or its compensation, counts as done, and the saga goes on. Nothing is called for it.",
    "replace-input": "The step gets another input from now on, and is tried again with it.",
    "fail": "The saga is FAILED as it stands: nothing is undone or called any more. A retry takes it up again.",
    "resolve": "The saga ends as you say. Do this once you have set right by hand what it left behind.",
}

WRITES: Mapping[str, str] = {
    "retry": "RetryOrdered, or SagaReopened",
    "resume": "SagaResumed",
    "pause": "SagaPaused",
    "signal": "SignalReceived",
    "cancel": "SagaCancelled",
    "skip": "StepSkipped or CompensationSkipped, and SagaReopened",
    "replace-input": "InputReplaced, and SagaReopened",
    "fail": "SagaFailed",
    "resolve": "SagaResolved",
}
"""The events that a command appends."""

WITH_CARE = {"skip", "resolve", "cancel", "fail"}
"""The commands whose buttons are red: they cannot be taken back, or leave undone what another command would undo."""


class BadForm(Exception):
    """A field of the form is missing or cannot be read; the words say which."""


class Offer(msgspec.Struct, frozen=True):
    """A command, and why it cannot be followed now (None: it can)."""

    name: str
    words: str
    refused: str | None


class Undone(msgspec.Struct, frozen=True):
    """What a cancel would undo: a step, or that many of its elements one after the other."""

    step: str
    title: str
    why: str
    times: int = 1


class Needs(msgspec.Struct, frozen=True):
    """What a form for a command shows beside the reason.

    Attributes:
        steps: The steps to choose from.
        inputs: The present input of each of these steps.
        signals: The signals to choose from.
        undoing: What a cancel would undo.
    """

    steps: list[str]
    inputs: dict[str, Any]
    signals: list[str]
    undoing: list[Undone]


def offers(state: SagaState, now: datetime) -> list[Offer]:
    """All commands, with why a saga in this state cannot follow them."""
    return [Offer(name, words, _refused(state, name, now)) for name, words in ACTIONS.items()]


def _refused(state: SagaState, name: str, now: datetime) -> str | None:
    """Asked of the function that decides it when the command comes."""
    refusals = []
    for command in _examples(state, name):
        try:
            record(state, command, now)
        except CommandRefused as refused:
            refusals.append(refused.why)
        else:
            return None
    return refusals[0] if refusals else "it waits for no signal" if name == "signal" else "no step blocks it"


def _examples(state: SagaState, name: str) -> list[Command]:
    steps = still_open(state) or [""]
    plain: dict[str, Callable[[str, str], Command]] = {
        "retry": Retry,
        "resume": Resume,
        "pause": Pause,
        "cancel": Cancel,
        "fail": Fail,
        "resolve": Resolve,
    }
    match name:
        case "skip":
            return [Skip(step, "", "") for step in steps]
        case "replace-input":
            return [ReplaceInput(step, {}, "", "") for step in steps]
        case "signal":
            return [SendSignal(signal) for signal in signals_of(state)]
        case _:
            return [plain[name]("", "")]


def signals_of(state: SagaState) -> list[str]:
    """The signals that a saga may still receive, those that it waits for first."""
    names = [step.name for step in state.plan.steps if isinstance(step.work, Signal)]
    waits = [name for name in names if state.step(name).wait]
    early = [name for name in names if state.step(name).status is StepStatus.PENDING]
    return [*waits, *early]


def needs(state: SagaState, name: str) -> Needs:
    """What the form for a command shows.

    Raises:
        CommandRefused: The saga cannot be cancelled now.
    """
    steps = still_open(state) if name in {"skip", "replace-input"} else []
    return Needs(
        steps=steps,
        inputs={step: state.known_to(step)["input"] for step in steps},
        signals=signals_of(state) if name == "signal" else [],
        undoing=_together(preview(state)) if name == "cancel" else [],
    )


MOST_ALONE = 8
"""More elements of one step in a row are named together."""


def _together(undoing: list[Undoing]) -> list[Undone]:
    found: list[Undone] = []
    for (step, title, why), group in groupby(undoing, lambda item: (step_of(item.step), item.title, item.why)):
        items = list(group)
        if len(items) > MOST_ALONE:
            found.append(Undone(step, title, why, len(items)))
        else:
            found += [Undone(item.step, title, why) for item in items]
    return found


def command_of(name: str, form: Mapping[str, str], actor: str) -> Command:  # noqa: C901, PLR0911 (a table: one case a command)
    """The command that a form asks for.

    Raises:
        BadForm: A field is missing or cannot be read.
    """
    if name == "signal":
        return SendSignal(_field(form, "step"), _json(form.get("input") or "null"), form.get("key") or None)
    reason = _field(form, "reason")
    match name:
        case "retry":
            return Retry(actor, reason)
        case "resume":
            return Resume(actor, reason)
        case "pause":
            return Pause(actor, reason)
        case "cancel":
            return Cancel(actor, reason)
        case "fail":
            return Fail(actor, reason)
        case "skip":
            return Skip(_field(form, "step"), actor, reason)
        case "replace-input":
            return ReplaceInput(_field(form, "step"), _object(form.get("input", "")), actor, reason)
        case _:
            status = form.get("status") or None
            if status not in {None, "COMPLETED", "COMPENSATED"}:
                raise BadForm(f"status: {status!a:.40} is no end; choose COMPLETED or COMPENSATED")
            return Resolve(actor, reason, status)  # type: ignore[arg-type]  # it was just checked


def _field(form: Mapping[str, str], name: str) -> str:
    text = form.get(name, "").strip()
    if not text:
        raise BadForm(f"{name}: it is required")
    if "\0" in text or len(text) > LONGEST_FIELD:
        raise BadForm(f"{name}: at most {LONGEST_FIELD} characters, and no character 0")
    return text


LONGEST_FIELD = 2000


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
        raise BadForm(f"input: this is not JSON: {error}") from error


def _object(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise BadForm("input: write a JSON object, such as {}")
    return value
