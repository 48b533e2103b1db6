"""The console as a blueprint, and how it is mounted in an application."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, abort, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from saga_es.access.permissions import DECLARED, Permission, permits
from saga_es.api.access import guard_access_to
from saga_es.api.problems import RETRY_AFTER_S, Problem
from saga_es.console import around_pages, attention, batches, command_pages, definition_pages, live, saga_pages
from saga_es.console.guard import KEYS_COOKIE, LANGUAGE_COOKIE, THEME_COOKIE, Forged, guarded, tokens
from saga_es.console.shell import KEYS, NAME, THEMES, address, keep, page
from saga_es.console.words import LANGUAGES
from saga_es.errors import NoSuchVersion, NotFound, SagaArchived, SagaError, StoreUnavailable
from saga_es.logs import logger


def console_blueprint() -> Blueprint:
    """The pages of the console, as a new blueprint."""
    made = Blueprint(NAME, __name__, static_folder="static", static_url_path="/static")
    setattr(made, DECLARED, Permission.READ)  # the files of its pages; every page declares its own
    made.takes_forms = True  # type: ignore[attr-defined]  # read by the guards of the API
    made.after_request(guarded)
    made.add_url_rule("/", "home", home)
    made.add_url_rule("/preferences", "preferences", preferences, methods=["POST"])
    live.add_to(made)
    saga_pages.add_to(made)
    command_pages.add_to(made)
    attention.add_to(made)
    batches.add_to(made)
    definition_pages.add_to(made)
    around_pages.add_to(made)
    made.add_url_rule("/<path:rest>", "nowhere", _nowhere)
    made.register_error_handler(Forged, _forged)
    made.register_error_handler(Problem, _of_problem)
    made.register_error_handler(SagaError, _of_saga_error)
    made.register_error_handler(HTTPException, _of_framework)
    made.register_error_handler(Exception, _of_bug)
    return made


@permits(Permission.READ)
def home() -> BaseResponse:
    """The console begins with the list."""
    return redirect(address("list_sagas"))


def mount_console(app: Flask, url_prefix: str = "/console", *, at_root: bool = True) -> None:
    """Serve the console in a Flask application.

    Args:
        app: The application, which has a node.
        url_prefix: Where the console is.
        at_root: Whether a browser that asks for `/` is sent to the console; other clients get what they got before.
    """
    app.register_blueprint(console_blueprint(), url_prefix=url_prefix)
    if at_root:  # an application of ours: each request is asked already
        _send_browsers_on(app)
    else:
        guard_access_to(app, NAME)


def _send_browsers_on(app: Flask) -> None:
    """Wrap the view of `/`, so that no other request pays for it."""
    there = next(
        (rule for rule in app.url_map.iter_rules() if rule.rule == "/" and "GET" in (rule.methods or ())), None
    )
    before: Callable[..., Any] = _nothing if there is None else app.view_functions[there.endpoint]

    @permits(Permission.OPEN)
    def root(*args: Any, **kwargs: Any) -> Any:
        wants = request.accept_mimetypes
        if wants["text/html"] > wants["application/json"]:
            return redirect(address("list_sagas"))
        return before(*args, **kwargs)

    if there is None:
        app.add_url_rule("/", f"{NAME}_root", root)
    else:
        app.view_functions[there.endpoint] = root


def _nothing() -> None:
    abort(404)


@permits(Permission.READ)
def preferences() -> BaseResponse:
    """Keep the viewer's language, theme and keys, and go back."""
    tokens().check(request)
    back = request.form.get("back", "")
    is_ours = back.startswith("/") and not back.startswith(("//", "/\\")) and "\n" not in back
    response = redirect(request.script_root + back if is_ours else address("list_sagas"), HTTPStatus.SEE_OTHER)
    kept = Response(response.get_data(), response.status_code, dict(response.headers))
    if (language := request.form.get("language")) in LANGUAGES:
        keep(kept, LANGUAGE_COOKIE, str(language))
    if (theme := request.form.get("theme")) in THEMES:
        keep(kept, THEME_COOKIE, str(theme))
    if (keys := request.form.get("keys")) in KEYS:
        keep(kept, KEYS_COOKIE, str(keys))
    return kept


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────


@permits(Permission.READ)
def _nowhere(rest: str) -> Response:
    return page("error.html", "", 404, title="Not found", words="The console has no page here.", detail=f"/{rest}")


def _forged(error: Forged) -> Response:
    words = "The form was not accepted, and nothing was done."
    return page("error.html", "", 403, title="Not accepted", words=words, detail=str(error))


def _of_saga_error(error: SagaError) -> Response:
    match error:
        case NotFound():
            return page(
                "error.html", "sagas", 404, title="No such saga", words="No saga has this id.", detail=str(error)
            )
        case NoSuchVersion():
            words = "The saga has not come so far."
            return page("error.html", "sagas", 404, title="No such version", words=words, detail=str(error))
        case SagaArchived():
            words = "The saga has ended, and was moved from the log to an archive."
            return page("error.html", "sagas", 410, title="Archived", words=words, detail=str(error))
        case StoreUnavailable():
            logger.warning("the console answered 503", reason=str(error))
            words = "The database does not answer. Nothing is lost; try again in a moment."
            answer = page("error.html", "", 503, title="Away", words=words, detail="")
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
            return answer
        case _:
            logger.error("a page of the console failed", reason=str(error))
            words = "The saga cannot be read by this version."
            return page("error.html", "sagas", 500, title="Cannot be read", words=words, detail=str(error))


def _of_problem(problem: Problem) -> Response:
    """What the guards of the application refuse: a host, or another site's form."""
    title = HTTPStatus(problem.status).phrase
    words = "The request was not accepted, and nothing was done."
    return page("error.html", "", problem.status, title=title, words=words, detail=problem.detail)


def _of_framework(error: HTTPException) -> Response:
    return page(
        *("error.html", "", error.code or 500), title=error.name, words=error.description or error.name, detail=""
    )


def _of_bug(error: Exception) -> Response:
    logger.error("a page of the console failed", exc_info=error)
    words = "An internal error occurred; the server's log has the details."
    return page("error.html", "", 500, title="Error", words=words, detail="")
