"""Commands to a saga: `saga-es cancel`, `pause`, `resume`, `retry`, `skip`, `replace-input`, `fail` and so on.

No engine runs here. The command is recorded in the saga's stream; the worker that owns the saga acts on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import click
import msgspec

from saga_es.cli import output
from saga_es.cli.actor import actor_option
from saga_es.cli.options import FAILURE, USAGE, as_json_option, fail, reading, settings_options
from saga_es.cli.remote import Refused, remote, remote_options
from saga_es.cli.terminal import errors, say
from saga_es.core.commands import Cancel, Command, Fail, Pause, ReplaceInput, Resolve, Resume, Retry, SendSignal, Skip
from saga_es.core.describe import plain
from saga_es.core.operate import preview
from saga_es.core.state import SagaState, SagaStatus
from saga_es.errors import SagaError, StoreUnavailable
from saga_es.node.explain import explained
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.intake.commands import admitted

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

_IDS = click.argument("saga_ids", metavar="ID...", nargs=-1, required=True)
_STEP = click.argument("step", metavar="STEP")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; the log keeps it for ever.")


def _commanding(*more: Callable[[Any], Any]) -> Decorator:
    """Add the arguments and options of every command to a saga, and these."""
    return settings_options(_IDS, *more, _REASON, actor_option, remote_options)


@click.command(short_help="Send a saga a signal.")
@settings_options(
    _IDS,
    click.argument("name", metavar="NAME"),
    click.option("--payload", metavar="JSON", help="The payload, which is the result of the step.  [default: null]"),
    click.option("--key", metavar="TEXT", help="The same key twice is one signal."),
    remote_options,
)
def signal(settings: Settings, saga_ids: tuple[str, ...], name: str, payload: str | None, key: str | None) -> None:
    """Send a saga the signal that its step NAME waits for; a signal that arrives early is kept."""
    sent = SendSignal(name, None if payload is None else _json("--payload", payload), key)
    _record(settings, saga_ids, sent, f"the signal {name}")


@click.command(short_help="Abort a saga, and compensate what was done.")
@settings_options(
    _IDS,
    click.option(
        "--preview", "is_preview", is_flag=True, help="Only print the steps that would be compensated, in order."
    ),
    click.option("--reason", metavar="TEXT", help="Why; the log keeps it for ever.  [required without --preview]"),
    actor_option,
    as_json_option,
    remote_options,
)
def cancel(
    settings: Settings, saga_ids: tuple[str, ...], is_preview: bool, reason: str | None, actor: str, as_json: bool
) -> None:
    """Abort a saga: the steps that were done are compensated, last first."""
    saga_id, *others = saga_ids
    if is_preview and others:
        fail("--preview: one saga at a time", USAGE)
    if is_preview and (server := remote()) is not None:
        output.show_preview(saga_id, server.preview(saga_id), as_json=as_json)
        return
    if is_preview:
        with reading(settings) as node:
            output.show_preview(saga_id, preview(_found(node, saga_id)), as_json=as_json)
        return
    if reason is None:
        raise click.UsageError("Missing option '--reason'.")
    _record(settings, saga_ids, Cancel(actor, reason), "the cancellation")


@click.command(short_help="Pause a saga: it begins nothing more until resumed.")
@_commanding()
def pause(settings: Settings, saga_ids: tuple[str, ...], reason: str, actor: str) -> None:
    """Pause a saga: it begins nothing more until it is resumed; the answers of calls in flight are recorded."""
    _record(settings, saga_ids, Pause(actor, reason), "the pause")


@click.command(short_help="Resume a paused saga.")
@_commanding()
def resume(settings: Settings, saga_ids: tuple[str, ...], reason: str, actor: str) -> None:
    """Resume a paused saga."""
    _record(settings, saga_ids, Resume(actor, reason), "the end of the pause")


@click.command(short_help="Retry at once.")
@_commanding()
def retry(settings: Settings, saga_ids: tuple[str, ...], reason: str, actor: str) -> None:
    """Retry at once what waits for a retry; in a FAILED saga, retry what was given up."""
    _record(settings, saga_ids, Retry(actor, reason), "the retry")


@click.command(short_help="FAILED: skip a step, and go on.")
@_commanding(_STEP)
def skip(settings: Settings, saga_ids: tuple[str, ...], step: str, reason: str, actor: str) -> None:
    """In a FAILED saga, count STEP, or its compensation, as done, and go on."""
    _record(settings, saga_ids, Skip(step, actor, reason), f"the skip of step {step}")


@click.command("replace-input", short_help="FAILED: give a step another input, and retry it.")
@_commanding(_STEP, click.option("--input", "input_", required=True, metavar="JSON", help="The new input: an object."))
def replace_input(
    settings: Settings, saga_ids: tuple[str, ...], step: str, input_: str, reason: str, actor: str
) -> None:
    """In a FAILED saga, give STEP another input, and retry it."""
    given = _json("--input", input_)
    if not isinstance(given, dict):
        _unusable("--input", "it is not a JSON object")
    _record(settings, saga_ids, ReplaceInput(step, given, actor, reason), f"the new input of step {step}")


@click.command("fail", short_help="Give a saga up as it stands: it is FAILED.")
@_commanding()
def give_up(settings: Settings, saga_ids: tuple[str, ...], reason: str, actor: str) -> None:
    """Give a saga up as it stands, such as one whose code is gone for good: it is FAILED, and nothing is undone.

    A person then decides with `skip`, `replace-input`, `retry` or `resolve`.
    """
    _record(settings, saga_ids, Fail(actor, reason), "that the saga is given up")


@click.command(short_help="FAILED: end a saga that was set right by hand.")
@_commanding(
    click.option(
        "--status",
        type=click.Choice([SagaStatus.COMPLETED, SagaStatus.COMPENSATED], case_sensitive=False),
        help="How it ended.  [default: COMPENSATED when the saga had aborted, otherwise COMPLETED]",
    )
)
def resolve(
    settings: Settings,
    saga_ids: tuple[str, ...],
    status: Literal["COMPLETED", "COMPENSATED"] | None,
    reason: str,
    actor: str,
) -> None:
    """End a FAILED saga that a person has set right by hand."""
    _record(settings, saga_ids, Resolve(actor, reason, status), "the resolution")


# ── Common to the commands ───────────────────────────────────────────────────────────────────────────────


def _record(settings: Settings, given: tuple[str, ...], command: Command, what: str) -> None:
    """Record a command for each saga, in one process; what cannot be recorded for one stops no other."""
    saga_ids = _ids(given)
    if (server := remote()) is not None:
        _each(saga_ids, lambda saga_id: f"Recorded {what}. {server.give(saga_id, command)}")
        return
    with reading(settings) as node:
        _each(saga_ids, lambda saga_id: _recorded(node, saga_id, command, what))


def _recorded(node: Node, saga_id: str, command: Command, what: str) -> str:
    state = _found(node, saga_id)
    node.commands.record(saga_id, admitted(saga_id, command, node.store))
    is_repeated = isinstance(command, SendSignal) and command.key in state.signal_keys.get(command.signal, {})
    recorded = f"Recorded {what} before." if is_repeated else f"Recorded {what}."
    return f"{recorded} {explained(node, saga_id).sentence}"


def _ids(given: tuple[str, ...]) -> list[str]:
    """The ids of the arguments, each once; `-` stands for the words on stdin."""
    words = [word for text in given for word in (sys.stdin.read().split() if text == "-" else [text])]
    if not words:
        fail("stdin: there is no id on it", USAGE)
    return list(dict.fromkeys(words))


def _each(saga_ids: list[str], record: Callable[[str], str]) -> None:
    if len(saga_ids) == 1:
        say(record(saga_ids[0]))
        return
    refused = 0
    for saga_id in saga_ids:
        try:
            say(f"{saga_id}: {record(saga_id)}")
        except StoreUnavailable:
            raise
        except (SagaError, Refused) as error:
            refused += 1
            errors.print(f"{plain(saga_id)}: {plain(str(error))}", soft_wrap=True)
    if refused:
        fail(f"{refused} of {len(saga_ids)} sagas were left as they are", FAILURE)


def _found(node: Node, saga_id: str) -> SagaState:
    state = node.store.sagas.find(saga_id)
    if state is None:
        raise node.store.sagas.absent(saga_id)
    return state


def _json(option: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
        _unusable(option, f"it is not JSON: {error}")


def _unusable(option: str, why: str) -> NoReturn:
    fail(f"{option}: {why}", USAGE)
