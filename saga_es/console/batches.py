"""Batches: what a command would hit, its confirmation, and its progress."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from shlex import quote
from typing import Any

from flask import Blueprint, Response, abort, redirect, request
from msgspec.structs import replace
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import acting, check_error_filter, scope, shown_error
from saga_es.api.batches import LONGEST_REASON, PACE, STOPS_AFTER, check_permission, seen_batch
from saga_es.api.responses import node
from saga_es.console.command_pages import given_actor
from saga_es.console.following import ACTIONS, SENTENCES, WITH_CARE, WRITES, BadForm
from saga_es.console.guard import Forged, tokens
from saga_es.console.queries import Asked, asked
from saga_es.console.shell import address, page
from saga_es.console.words import STATUS_WORDS
from saga_es.core.batches import COMMANDS, BatchStarted, command_of
from saga_es.errors import PayloadTooLarge, PayloadUnencodable
from saga_es.runtime.command_batches.batches import BatchRefused
from saga_es.runtime.command_batches.selection import Selection, select

TYPED_ABOVE = 100
"""For more sagas than this a person types their number."""


def add_to(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/attention/batch", "batch_form", show_form)
    blueprint.add_url_rule("/attention/batch", "start_batch", start, methods=["POST"])
    blueprint.add_url_rule("/batches/<string:batch_id>", "show_batch", show)
    blueprint.add_url_rule("/batches/<string:batch_id>", "stop_batch", stop, methods=["POST"])


class _Wanted:
    """What an address or a form asks for."""

    def __init__(self, given: MultiDict[str, str]) -> None:
        self.command = given.get("command", "")
        if self.command not in COMMANDS:
            abort(404, "A batch gives one of these commands: " + ", ".join(COMMANDS))
        check_permission(self.command)
        self.group = given.get("fingerprint") or None
        self.about = {name: text for name in ("step", "ends_as") if (text := given.get(name, "").strip())}
        self.asked: Asked = asked(given, datetime.now(UTC))
        check_error_filter(self.asked.wanted.error)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The same as parameters."""
        group = [("fingerprint", self.group)] if self.group else []
        return [("command", self.command), *group, *self.about.items(), *self.asked.given]

    def batch(self, actor: Mapping[str, str | None], reason: str) -> BatchStarted:
        """The batch, without its sagas."""
        kept: dict[str, Any] = {}
        for name, value in self.asked.given:
            kept.setdefault(name, []).append(value)
        about = {{"ends_as": "status"}.get(name, name): text for name, text in self.about.items()}
        by, of = str(actor["actor"]), actor.get("on_behalf_of")
        kept |= {"fingerprint": [self.group]} if self.group else {}
        return BatchStarted(
            *(self.command, (), kept, by, reason, PACE),
            about=about,
            stops_after=STOPS_AFTER,
            on_behalf_of=of,
            scope=scope(),
        )

    def selection(self, batch: BatchStarted) -> Selection:
        """The sagas that it would hit now."""
        here, command = node(), command_of(batch, "0" * 36)
        wanted, now = self.asked.wanted, datetime.now(UTC)
        return select(here.database, here.store, self.command, command, wanted, self.group, now)


@permits(Permission.READ)
def show_form() -> Response:
    """How many sagas a command would hit, with a sample, and the form that gives it."""
    wanted = _Wanted(request.args)
    return _form(wanted, wanted.selection(wanted.batch({"actor": "nobody"}, "why")), {})


@permits(Permission.READ)
def start() -> BaseResponse:
    """Start a batch as the form says, and go to its progress; or show the form again with what is wrong."""
    form, wanted = request.form.to_dict(), _Wanted(request.form)
    batch = wanted.batch({"actor": "nobody"}, "why")
    try:
        tokens().check(request)
        batch = wanted.batch(acting(given_actor(form)), _reason(form))
        found = wanted.selection(batch)
        if form.get("number", "").strip() != str(len(found.saga_ids)):
            why = f"it would be given to {len(found.saga_ids):,} sagas by now; look at them, and send it again"
            return _form(wanted, found, form, 409, why)
        batch_id = node().batches.start(replace(batch, saga_ids=tuple(found.saga_ids)))
    except Forged as error:
        return _form(wanted, wanted.selection(batch), form, 403, str(error))
    except (BadForm, PayloadTooLarge, PayloadUnencodable) as error:
        return _form(wanted, wanted.selection(batch), form, 422, str(error))
    except BatchRefused as error:
        return _form(wanted, wanted.selection(batch), form, 409, str(error))
    node().batch_runner.wake()
    return redirect(address("show_batch", batch_id=batch_id), HTTPStatus.SEE_OTHER)


def _reason(form: Mapping[str, str]) -> str:
    reason = form.get("reason", "").strip()
    if not reason or "\0" in reason or len(reason) > LONGEST_REASON:
        raise BadForm(f"reason: 1 to {LONGEST_REASON} characters, and no character 0")
    return reason


def _form(wanted: _Wanted, found: Selection, form: dict[str, str], status: int = 200, error: str = "") -> Response:
    return page(
        "batch_form.html",
        "attention",
        status,
        command=wanted.command,
        verb=ACTIONS[wanted.command],
        sentence=SENTENCES[wanted.command],
        writes=WRITES[wanted.command],
        careful=wanted.command in WITH_CARE,
        pairs=wanted.pairs,
        chips=[pair for pair in wanted.pairs if pair[0] != "command"],
        count=len(found.saga_ids),
        found=replace(found, sample=[replace(one, error=shown_error(one.error)) for one in found.sample]),
        must_type=len(found.saga_ids) > TYPED_ABOVE,
        form=form,
        error=error,
        words=STATUS_WORDS,
        pace=PACE,
        stops_after=STOPS_AFTER,
        same=_same(wanted, len(found.saga_ids)),
    )


_FLAGS = {"status": "--status", "name": "--name", "tag": "--tag", "error": "--error"}
_FLAGS |= {"since": "--newer-than", "until": "--older-than", "fingerprint": "--fingerprint", "step": "--step"}
_FLAGS |= {"ends_as": "--ends-as"}


def _same(wanted: _Wanted, count: int) -> str:
    """The same as a command line."""
    flags = [word for name, value in wanted.pairs if name in _FLAGS for word in (_FLAGS[name], quote(value))]
    return " ".join(["saga-es batch start", wanted.command, *flags, "--reason '…'", f"--sagas {count}"])


@permits(Permission.READ)
def show(batch_id: str) -> Response:
    """How far a batch is."""
    return _progress(batch_id)


@permits(Permission.READ)
def stop(batch_id: str) -> BaseResponse:
    """Stop a batch, and show it."""
    form = request.form.to_dict()
    check_permission(seen_batch(batch_id).started.command)
    try:
        tokens().check(request)
        node().batches.stop(batch_id, str(acting(given_actor(form))["actor"]), _reason(form))
    except Forged as error:
        return _progress(batch_id, 403, str(error))
    except BadForm as error:
        return _progress(batch_id, 422, str(error))
    except BatchRefused as error:
        return _progress(batch_id, 409, str(error))
    return redirect(address("show_batch", batch_id=batch_id), HTTPStatus.SEE_OTHER)


def _progress(batch_id: str, status: int = 200, error: str = "") -> Response:
    state = seen_batch(batch_id)
    return page(
        "batch.html",
        "attention",
        status,
        batch=node().batches.progress(batch_id),
        verb=ACTIONS[state.started.command],
        left_alone=list(state.left_alone.items())[:MOST_LEFT],
        sagas=state.started.saga_ids[:MOST_LEFT],
        error=error,
    )


MOST_LEFT = 100
