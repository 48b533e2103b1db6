"""Commands over HTTP, for operators without access to the database: `--url` and `--key-file`.

The server decides what the owner of the key may do, and records who that is.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, NoReturn
from urllib.parse import quote, urlsplit

import click
import msgspec

from saga_es.access.authenticate import is_loopback
from saga_es.cli.options import FAILURE, NO_DATABASE, NOT_FOUND, USAGE, fail
from saga_es.core.commands import Cancel, Command, Fail, Pause, ReplaceInput, Resolve, Resume, Retry, SendSignal, Skip
from saga_es.core.operate import Undoing
from saga_es.runtime.calls.address import BadAddress
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.transport import HttpTransport

TIMEOUT_S = 30.0
REMOTE, KEY = "saga_es.remote", "saga_es.remote_key"

NAMES: dict[type[Any], str] = {
    Cancel: "cancel",
    Pause: "pause",
    Resume: "resume",
    Retry: "retry",
    Skip: "skip",
    ReplaceInput: "replace-input",
    Fail: "fail",
    Resolve: "resolve",
}
_CODES: dict[int, int] = {
    HTTPStatus.NOT_FOUND: NOT_FOUND,
    HTTPStatus.GONE: NOT_FOUND,
    HTTPStatus.UNPROCESSABLE_ENTITY: USAGE,
    HTTPStatus.SERVICE_UNAVAILABLE: NO_DATABASE,
}


class Refused(click.ClickException):
    """The server took no command: one line, and the exit code of its answer."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        del file
        fail(self.message, self.code)


class Remote(msgspec.Struct, frozen=True):
    """A server, and the key that is shown to it.

    Attributes:
        url: The base URL of its saga API.
    """

    url: str
    key: str | None

    def give(self, saga_id: str, command: Command) -> str:
        """Give a command; what the server then says of the saga. Whatever goes wrong ends the program."""
        headers = {"Content-Type": "application/json"}
        if isinstance(command, SendSignal):
            path, body = f"{_quoted(saga_id)}/signals/{_quoted(command.signal)}", command.payload
            headers |= {"Idempotency-Key": command.key} if command.key else {}
        else:
            path = f"{_quoted(saga_id)}/{NAMES[type(command)]}"
            given = msgspec.to_builtins(command)
            body = {name: value for name, value in given.items() if value is not None}
        self._ask("POST", path, headers, msgspec.json.encode(body))
        return str(self.read(f"{_quoted(saga_id)}/explain")["sentence"])

    def erase(self, subject: str, actor: str, reason: str) -> str:
        """Erase a subject of the tenant of the key; the id of the key that is gone."""
        body = msgspec.json.encode({"subject": subject, "actor": actor, "reason": reason})
        answer = self._ask("POST", "erase", {"Content-Type": "application/json"}, body)
        return str(msgspec.json.decode(answer.body)["key_id"])

    def preview(self, saga_id: str) -> list[Undoing]:
        """The steps that a cancel would compensate."""
        found = self.read(f"{_quoted(saga_id)}/cancel")["would_compensate"]
        return msgspec.convert(found, list[Undoing])

    def read(self, path: str) -> dict[str, Any]:
        """What the server answers under a path."""
        found: dict[str, Any] = msgspec.json.decode(self._ask("GET", path, {}, None).body)
        return found

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        if self.key is not None:
            headers = headers | {"Authorization": f"Bearer {self.key}"}
        try:
            transport = HttpTransport(self.url, 1, "the server")
            answer = transport.send(method, f"/{path}", headers, body, TIMEOUT_S)
        except (BadAddress, NotSent) as error:
            fail(f"--url: {error}", FAILURE)
        except AnswerLost as error:
            fail(f"--url: {error}; the command may be recorded or not: look at the saga, or repeat it", FAILURE)
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            _fail_as(answer)
        return answer


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _fail_as(answer: Answer) -> NoReturn:
    try:
        problem = msgspec.json.decode(answer.body)
        detail = str(problem["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        detail = "and said nothing that can be read"
    raise Refused(f"the server answered {answer.status}: {detail}", _CODES.get(answer.status, FAILURE))


# ── Options ──────────────────────────────────────────────────────────────────────────────────────────────


def _url(context: click.Context, _option: click.Parameter, url: str | None) -> None:
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise click.BadParameter("a key is sent over https:// alone, unless the server is on this machine")
    context.meta[REMOTE] = Remote(url.rstrip("/"), context.meta.get(KEY))


def _key(context: click.Context, _option: click.Parameter, file: Path | None) -> None:
    if file is None:
        return
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise click.BadParameter(f"others may read {file}: chmod 600 it, and exchange the key")
    context.meta[KEY] = file.read_text().strip()


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that send a command to a server."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    command = click.option(
        "--key-file",
        type=file,
        callback=_key,
        expose_value=False,
        is_eager=True,
        help="The file with the API key or token that the server asks for.",
    )(command)
    return click.option(
        "--url",
        callback=_url,
        expose_value=False,
        metavar="URL",
        help="Give it to a server instead of the database: https://host/api/saga.",
    )(command)


def remote() -> Remote | None:
    """The server that the running command is for; None: the database."""
    found: Remote | None = click.get_current_context().meta.get(REMOTE)
    return found
