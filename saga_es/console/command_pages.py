"""Commands: a page of its own for each, with a preview, a reason, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from shlex import quote
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from msgspec.structs import replace
from werkzeug.routing import BuildError
from werkzeug.wrappers import Response as BaseResponse

from saga_es.access.permissions import permits
from saga_es.api.access import acting, known_actor
from saga_es.api.responses import check_seen, node
from saga_es.console.following import (
    ACTIONS,
    SENTENCES,
    WITH_CARE,
    WRITES,
    BadForm,
    Needs,
    Offer,
    command_of,
    needs,
    offers,
)
from saga_es.console.guard import Forged, tokens
from saga_es.console.offering import COMMANDS, offered
from saga_es.console.shell import address, page
from saga_es.console.words import STATUS_WORDS
from saga_es.core.commands import Command, SendSignal
from saga_es.core.describe import describe
from saga_es.errors import CommandRefused, PayloadTooLarge, PayloadUnencodable
from saga_es.store.log.entries import Recorded
from saga_es.store.queries.past import Life, life_at


def add_to(blueprint: Blueprint) -> None:
    """Add the routes."""
    names = ",".join(f"'{name}'" for name in ACTIONS)
    path = f"/sagas/<string:saga_id>/<any({names}):name>"
    blueprint.add_url_rule(path, "command", show_form)
    blueprint.add_url_rule(path, "give", give, methods=["POST"])


@permits(COMMANDS)
def show_form(saga_id: str, name: str) -> Response:
    """The form of a command, with what it would do."""
    return _form(saga_id, name, {})


@permits(COMMANDS)
def give(saga_id: str, name: str) -> BaseResponse:
    """Give a command as the form says, and go to the saga; or show the form again with what is wrong."""
    form = request.form.to_dict()
    try:
        tokens().check(request)
        check_seen(saga_id)
        command = _command(name, form)
        node().engine.submit(saga_id, command)
    except Forged as error:
        return _form(saga_id, name, form, 403, error=f"The form was not accepted, and nothing was done: {error}")
    except (BadForm, PayloadUnencodable, PayloadTooLarge) as error:
        return _form(saga_id, name, form, 422, error=str(error))
    except CommandRefused as refused:
        return _form(saga_id, name, form, 409, refused=refused.why)
    version = life_at(node().store.sagas, saga_id).latest
    done = min(version, _seen(form) + 1)
    return redirect(address("show_saga", saga_id=saga_id, done=done), HTTPStatus.SEE_OTHER)


def _command(name: str, form: dict[str, str]) -> Command:
    """The command of a form, given by who is known, or by whom the form names."""
    named = given_actor(form)
    by = acting(named)
    command = command_of(name, form, str(by["actor"]))
    if isinstance(command, SendSignal):
        return replace(command, actor=known_actor())
    return replace(command, **by)


def given_actor(form: dict[str, str]) -> str | None:
    """The actor that a form names.

    Raises:
        BadForm: It is too long, or no text.
    """
    actor = form.get("actor", "").strip() or None
    if actor is not None and ("\0" in actor or len(actor) > LONGEST_ACTOR):
        raise BadForm(f"actor: at most {LONGEST_ACTOR} characters, and no character 0")
    return actor


LONGEST_ACTOR = 200


def _seen(form: dict[str, str]) -> int:
    text = form.get("seen", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 (digits of a version)


def _form(
    saga_id: str, name: str, form: dict[str, str], status: int = 200, *, error: str = "", refused: str | None = None
) -> Response:
    here, now = node(), datetime.now(UTC)
    life = life_at(here.store.sagas, saga_id)
    offer = next(offer for offer in offers(life.state, now) if offer.name == name)
    why = refused or offer.refused
    if why is not None and status == HTTPStatus.OK:
        status = HTTPStatus.CONFLICT
    seen = _seen(form) or life.latest
    wanted = needs(life.state, name) if offer.refused is None else Needs([], {}, [], [])
    return page(
        "command.html",
        "sagas",
        status,
        saga_id=saga_id,
        life=life,
        name=name,
        offer=offer,
        others=[other for other in offered(life.state, now) if other.refused is None],
        sentence=SENTENCES[name],
        writes=WRITES[name],
        careful=name in WITH_CARE,
        needs=wanted,
        form=form,
        seen=seen if offer.refused is not None else life.latest,
        error=error,
        why=why,
        meanwhile=_since(life, seen),
        words=STATUS_WORDS,
        same=_same(saga_id, name, wanted, offer),
        default_step=_chosen(form, wanted),
    )


def _since(life: Life, seen: int) -> list[tuple[int, datetime, str]]:
    """What was recorded while the form was read."""
    later = [found for found in life.events[seen:] if isinstance(found, Recorded)]
    return [(found.version, found.recorded_at, describe(found.event)) for found in later][-10:]


def _chosen(form: dict[str, str], wanted: Needs) -> str:
    step = form.get("step") or request.args.get("step", "")
    there = [*wanted.steps, *wanted.signals]
    return step if step in there else next(iter(there), "")


def _same(saga_id: str, name: str, wanted: Needs, offer: Offer) -> list[tuple[str, str]]:
    """The same as curl and as command line."""
    if offer.refused is not None:
        return []
    step = next(iter([*wanted.steps, *wanted.signals]), "")
    body = '{"reason": "…"'
    body += f', "step": "{step}"' if wanted.steps else ""
    body += ', "input": {}' if name == "replace-input" else ""
    found = [("command line", _command_line(saga_id, name, step))]
    try:
        values: dict[str, Any] = {"transaction_id": saga_id, "_external": True}
        endpoint = "saga.send_signal" if name == "signal" else f"saga.{name.replace('-', '_')}"
        url = url_for(endpoint, **(values | ({"signal": step} if name == "signal" else {})))
    except BuildError:
        return found
    data = "null" if name == "signal" else body + "}"
    curl = f"curl -X POST {quote(url)} -H 'Content-Type: application/json' -d {quote(data)}"
    return [("curl", curl), *found]


def _command_line(saga_id: str, name: str, step: str) -> str:
    words = ["saga-es", name, quote(saga_id), *([quote(step)] if step else [])]
    words += ["--input", "'{}'"] if name == "replace-input" else []
    return " ".join([*words, *([] if name == "signal" else ["--reason", "'…'"])])
