"""Commands to a saga: `saga-es cancel`, `pause`, `resume`, `retry`, `skip`, `replace-input`, `fail` and so on.

No engine runs here. The command is recorded in the saga's stream; the worker that owns the saga acts on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn

import click
import msgspec

from saga_es.cli import output
from saga_es.cli.actor import actor_option
from saga_es.cli.options import USAGE, as_json_option, fail, reading, settings_options
from saga_es.cli.remote import remote, remote_options
from saga_es.cli.terminal import say
from saga_es.core.commands import Cancel, Command, Fail, Pause, ReplaceInput, Resolve, Resume, Retry, SendSignal, Skip
from saga_es.core.operate import preview
from saga_es.core.state import SagaState, SagaStatus
from saga_es.node.explain import explained
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.intake.commands import admitted

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

_ID = click.argument("saga_id", metavar="ID")
_STEP = click.argument("step", metavar="STEP")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; the log keeps it for ever.")


def _commanding(*more: Callable[[Any], Any]) -> Decorator:
    """Add the arguments and options of every command to a saga, and these."""
    return settings_options(_ID, *more, _REASON, actor_option, remote_options)


@click.command(short_help="Send a saga a signal.")
@settings_options(
    _ID,
    click.argument("name", metavar="NAME"),
    click.option("--payload", metavar="JSON", help="The payload, which is the result of the step.  [default: null]"),
    click.option("--key", metavar="TEXT", help="The same key twice is one signal."),
    remote_options,
)
def signal(settings: Settings, saga_id: str, name: str, payload: str | None, key: str | None) -> None:
    """Send a saga the signal that its step NAME waits for; a signal that arrives early is kept."""
    sent = SendSignal(name, None if payload is None else _json("--payload", payload), key)
    _record(settings, saga_id, sent, f"the signal {name}")


@click.command(short_help="Abort a saga, and compensate what was done.")
@settings_options(
    _ID,
    click.option(
        "--preview", "is_preview", is_flag=True, help="Only print the steps that would be compensated, in order."
    ),
    click.option("--reason", metavar="TEXT", help="Why; the log keeps it for ever.  [required without --preview]"),
    actor_option,
    as_json_option,
    remote_options,
)
def cancel(settings: Settings, saga_id: str, is_preview: bool, reason: str | None, actor: str, as_json: bool) -> None:
    """Abort a saga: the steps that were done are compensated, last first."""
    if is_preview and (server := remote()) is not None:
        output.show_preview(saga_id, server.preview(saga_id), as_json=as_json)
        return
    if is_preview:
        with reading(settings) as node:
            output.show_preview(saga_id, preview(_found(node, saga_id)), as_json=as_json)
        return
    if reason is None:
        raise click.UsageError("Missing option '--reason'.")
    _record(settings, saga_id, Cancel(actor, reason), "the cancellation")


@click.command(short_help="Pause a saga: it begins nothing more until resumed.")
@_commanding()
def pause(settings: Settings, saga_id: str, reason: str, actor: str) -> None:
    """Pause a saga: it begins nothing more until it is resumed; the answers of calls in flight are recorded."""
    _record(settings, saga_id, Pause(actor, reason), "the pause")


@click.command(short_help="Resume a paused saga.")
@_commanding()
def resume(settings: Settings, saga_id: str, reason: str, actor: str) -> None:
    """Resume a paused saga."""
    _record(settings, saga_id, Resume(actor, reason), "the end of the pause")


@click.command(short_help="Retry at once.")
@_commanding()
def retry(settings: Settings, saga_id: str, reason: str, actor: str) -> None:
    """Retry at once what waits for a retry; in a FAILED saga, retry what was given up."""
    _record(settings, saga_id, Retry(actor, reason), "the retry")


@click.command(short_help="FAILED: skip a step, and go on.")
@_commanding(_STEP)
def skip(settings: Settings, saga_id: str, step: str, reason: str, actor: str) -> None:
    """In a FAILED saga, count STEP, or its compensation, as done, and go on."""
    _record(settings, saga_id, Skip(step, actor, reason), f"the skip of step {step}")


@click.command("replace-input", short_help="FAILED: give a step another input, and retry it.")
@_commanding(_STEP, click.option("--input", "input_", required=True, metavar="JSON", help="The new input: an object."))
def replace_input(settings: Settings, saga_id: str, step: str, input_: str, reason: str, actor: str) -> None:
    """In a FAILED saga, give STEP another input, and retry it."""
    given = _json("--input", input_)
    if not isinstance(given, dict):
        _unusable("--input", "it is not a JSON object")
    _record(settings, saga_id, ReplaceInput(step, given, actor, reason), f"the new input of step {step}")


@click.command("fail", short_help="Give a saga up as it stands: it is FAILED.")
@_commanding()
def give_up(settings: Settings, saga_id: str, reason: str, actor: str) -> None:
    """Give a saga up as it stands, such as one whose code is gone for good: it is FAILED, and nothing is undone.

    A person then decides with `skip`, `replace-input`, `retry` or `resolve`.
    """
    _record(settings, saga_id, Fail(actor, reason), "that the saga is given up")


@click.command(short_help="FAILED: end a saga that was set right by hand.")
@_commanding(
    click.option(
        "--status",
        type=click.Choice([SagaStatus.COMPLETED, SagaStatus.COMPENSATED], case_sensitive=False),
        help="How it ended.  [default: COMPENSATED when the saga had aborted, otherwise COMPLETED]",
    )
)
def resolve(
    settings: Settings, saga_id: str, status: Literal["COMPLETED", "COMPENSATED"] | None, reason: str, actor: str
) -> None:
    """End a FAILED saga that a person has set right by hand."""
    _record(settings, saga_id, Resolve(actor, reason, status), "the resolution")


# ── Common to the commands ───────────────────────────────────────────────────────────────────────────────


def _record(settings: Settings, saga_id: str, command: Command, what: str) -> None:
    if (server := remote()) is not None:
        say(f"Recorded {what}. {server.give(saga_id, command)}")
        return
    with reading(settings) as node:
        state = _found(node, saga_id)
        node.commands.record(saga_id, admitted(saga_id, command, node.store))
        is_repeated = isinstance(command, SendSignal) and command.key in state.signal_keys.get(command.signal, {})
        recorded = f"Recorded {what} before." if is_repeated else f"Recorded {what}."
        say(f"{recorded} {explained(node, saga_id).sentence}")


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
