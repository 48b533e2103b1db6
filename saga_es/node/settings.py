"""Settings: a flag, else an environment variable `SAGA_ES_…`, else the default. All errors come at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from saga_es.definition.credentials import Credentials
from saga_es.errors import SettingsError
from saga_es.logs.secrets import masked
from saga_es.node.credentials import split_variables
from saga_es.node.project import app_of_project
from saga_es.node.url_file import BadUrlFile, one_of_both, url_in
from saga_es.node.urls import are_brokers, are_callable, are_queues, is_reachable
from saga_es.publish.webhook import SECRET_CURE, key_of
from saga_es.runtime.calls.limits import CALLS_AT_ONCE
from saga_es.store.drivers.names import LONGEST_PREFIX, is_prefix
from saga_es.store.drivers.url import parse_url
from saga_es.store.log.codec import DEFAULT_PAYLOAD_LIMIT

PREFIX = "SAGA_ES_"
PARTICIPANT = PREFIX + "PARTICIPANT_"
SECRET = (
    "database_url",
    "webhook",
    "webhook_secret",
    "webhook_senders",
    "publish",
    "listen",
    "credentials",
    "callback_secret",
)
"""The settings that may hold a secret."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a process.

    Attributes:
        database_url: The database of the log.
        database_url_file: The file from which `database_url` was read; None: it was given itself.
        table_prefix: What the names of all tables that saga_es makes begin with, so that they clash with no others.
        app: The module of the application: `package` or `package:attribute`; None: no application.
        host: The address to serve on; loopback by default.
        port: The port to serve on.
        threads: Requests served at once, beside those that wait for a saga.
        waiting_requests: Requests that wait for a saga at once; one more is answered with 429.
        request_timeout_s: Seconds from the first byte of a request to its last; then its connection is closed.
        allowed_hosts: Names of this server beside loopback and `host`, separated by blanks; `.shop.example` stands for
            every name below it.
        auth: Which credentials requests need: `none`, `keys`, `jwt`, `webhooks`, or several; None: as the application
            says.
        jwt_issuer: The issuer of tokens that is trusted (`iss`).
        jwt_audience: This installation, as the issuer names it (`aud`).
        jwt_jwks: Where the issuer publishes its keys: an `https://` or `file://` URL.
        jwt_algorithms: The algorithms that it signs with, separated by blanks.
        jwt_roles_claim: The claim with the roles of a principal.
        insecure_no_auth: Whether to serve without credentials where other machines can reach it.
        trusted_proxies: Proxies in front of the server whose `X-Forwarded-Prefix` counts.
        sagas_at_once: Sagas with a call in flight; at this number a worker begins no more: new sagas stay PENDING.
        call_threads: The most `def` steps, and requests to participants in this process, at once.
        calls_at_once: The most requests over the network to each participant at once.
        lease_s: Seconds without a heartbeat after which a worker on another host counts as gone.
        most_crashes: A saga is FAILED when this many workers crashed while the same call was in flight.
        missing_code_timeout_s: A saga is FAILED when no living worker has had its code for so long; None: it waits.
        leave_older_plans: Whether new sagas of older plans are left to other workers.
        payload_limit: The most bytes of JSON in a request, an input or a result.
        saga_events_limit: At so many events a saga takes no more signals and commands, except those that end it.
        saga_bytes_limit: The same by the bytes of their JSON.
        payload_memory_mb: Megabytes of inputs and results in memory; beyond it, those of sagas that wait are let go.
        execute_timeout_s: Seconds that a request waits for its saga to end before it answers 202.
        grace_s: Seconds that calls in flight get to finish when the process is asked to stop.
        database_wait_s: Seconds that `serve` and `worker` wait at their start for a database server that is away.
        console: Whether `serve` serves the console at `/console/`.
        metrics: Whether metrics are counted, if `prometheus-client` is installed.
        traces: Whether spans are made, by the API of OpenTelemetry.
        health_port: The port on which `worker` serves `/livez`, `/readyz` and `/metrics`; None: on none.
        health_host: The address for it; loopback by default.
        log_level: debug, info, warning or error.
        log_format: console, logfmt or json; None: console on a terminal, else logfmt.
        webhook: URLs, separated by blanks, that are told how sagas end.
        webhook_secret: Signs what they are told: `whsec_` and 24 to 64 bytes in base64.
        webhook_senders: Who may send signals by webhook: `NAME=SECRET`, separated by blanks.
        publish: URLs of brokers, separated by blanks, to which every event of the log is published.
        listen: URLs of queues, separated by blanks, from which `serve` takes commands for its services.
        encryption_key_file: The file with the keys that wrap the keys of subjects; None: nothing is encrypted.
        insecure_http: Whether participants beyond loopback and private networks may be called without TLS.
        callback_url: Where participants that answer 202 reach this API; empty: they are asked at their `Location`.
        callback_secret: Signs the URLs of their replies: `whsec_` and 24 to 64 bytes in base64, or its source.
        credentials: What participants are shown, by participant and by name: `auth`, `ca`, `cert` and so on.
        participants: Base URLs of participants that are not in this process, or the URLs of their queues, by name.
        limits: What participants bear, by participant: `calls` in flight, and the `rate` of calls in a second.
    """

    database_url: str = "sqlite:///saga_es.db"
    database_url_file: str | None = None
    table_prefix: str = ""
    app: str | None = None
    host: str = "127.0.0.1"
    port: int = 5000
    threads: int = 8
    waiting_requests: int = 100
    request_timeout_s: float = 30.0
    allowed_hosts: str = ""
    auth: str | None = None
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_jwks: str = ""
    jwt_algorithms: str = "RS256"
    jwt_roles_claim: str = "roles"
    insecure_no_auth: bool = False
    trusted_proxies: int = 0
    sagas_at_once: int = 1000
    call_threads: int = 32
    calls_at_once: int = CALLS_AT_ONCE
    lease_s: float = 10.0
    most_crashes: int = 5
    missing_code_timeout_s: float | None = None
    leave_older_plans: bool = False
    payload_limit: int = DEFAULT_PAYLOAD_LIMIT
    saga_events_limit: int = 50_000
    saga_bytes_limit: int = 64 * 1_048_576
    payload_memory_mb: int = 256
    execute_timeout_s: float = 120.0
    grace_s: float = 5.0
    database_wait_s: float = 60.0
    console: bool = True
    metrics: bool = True
    traces: bool = False
    health_port: int | None = None
    health_host: str = "127.0.0.1"
    log_level: str = "info"
    log_format: str | None = None
    webhook: str = ""
    webhook_secret: str = ""
    webhook_senders: str = ""
    publish: str = ""
    listen: str = ""
    encryption_key_file: str | None = None
    insecure_http: bool = False
    callback_url: str = ""
    callback_secret: str = ""
    credentials: dict[str, dict[str, str]] = {}
    participants: dict[str, str] = {}
    limits: dict[str, dict[str, float]] = {}

    def __repr__(self) -> str:
        """The settings without what nobody should read: a log line or a traceback may show them."""
        shown = {name: repr(getattr(self, name)) for name in self.__struct_fields__}
        shown |= {name: "***" for name in SECRET if getattr(self, name)}
        shown["participants"] = masked(shown["participants"])  # the URL of a queue may have a password
        return f"Settings({', '.join(f'{name}={value}' for name, value in shown.items())})"

    @property
    def webhooks(self) -> list[str]:
        """The URLs of the webhooks, one by one."""
        return self.webhook.split()

    @property
    def brokers(self) -> list[str]:
        """The URLs of the brokers, one by one."""
        return self.publish.split()

    @property
    def queues(self) -> list[str]:
        """The URLs of the queues, one by one."""
        return self.listen.split()

    @property
    def hosts(self) -> list[str]:
        """The allowed hosts, one by one."""
        return self.allowed_hosts.replace(",", " ").split()

    @classmethod
    def load(cls, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """Load the settings from flags, the environment and the nearest `pyproject.toml`.

        Args:
            flags: Values from the command line, by setting; None counts as not given.
            environ: The environment; by default the process's own.

        Raises:
            SettingsError: One or more settings are wrong.
        """
        environ = os.environ if environ is None else environ
        unknown = set(flags or {}) - set(_Schema().fields)
        if unknown:
            known = ", ".join(_Schema().fields)
            raise SettingsError([f"{name}: there is no such setting; there are {known}" for name in sorted(unknown)])
        given: dict[str, object] = {
            name: environ[PREFIX + name.upper()] for name in _Schema().fields if environ.get(PREFIX + name.upper())
        }
        given["participants"], given["credentials"], given["limits"] = split_variables(
            {
                name.removeprefix(PARTICIPANT): url
                for name, url in environ.items()
                if name.startswith(PARTICIPANT) and url
            }
        )
        given = one_of_both(flags or {}, given)
        if "app" not in given and (app := app_of_project(Path.cwd())) is not None:
            given["app"] = app
        try:
            loaded: dict[str, Any] = _Schema().load(given)
            loaded |= _read(loaded)
        except ValidationError as error:
            raise SettingsError(_lines(error.messages_dict)) from error
        if loaded.get("webhook") and not loaded.get("webhook_secret"):
            raise SettingsError([f"{PREFIX}WEBHOOK_SECRET: a webhook is signed; {SECRET_CURE}"])
        return cls(**loaded)


def _is_usable(url: str) -> None:
    try:
        parse_url(url)
    except SettingsError as error:
        raise ValidationError(list(error.problems)) from error


def _read(loaded: Mapping[str, Any]) -> dict[str, str]:
    """The URL from the file that a setting names."""
    file = loaded.get("database_url_file")
    if file is None:
        return {}
    if "database_url" in loaded:
        raise ValidationError({"database_url_file": ["a URL is given as well; leave out one of the two"]})
    try:
        url = url_in(file)
        parse_url(url)
    except BadUrlFile as error:
        raise ValidationError({"database_url_file": [str(error)]}) from error
    except SettingsError as error:
        raise ValidationError({"database_url_file": list(error.problems)}) from error
    return {"database_url": url}


def _can_begin_names(prefix: str) -> None:
    if prefix and not is_prefix(prefix):
        raise ValidationError(
            f"{prefix!r} cannot begin names on every database: use at most {LONGEST_PREFIX} of a-z, 0-9 and _, "
            "a letter first and no two _ together, such as 'shop_'"
        )


def _is_secret(secret: str) -> None:
    try:
        key_of(secret)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def variable_of(participant: str) -> str:
    """The environment variable with the base URL of a participant: its name in capitals, other signs as underscores."""
    return PARTICIPANT + re.sub("[^A-Z0-9]", "_", participant.upper())


def by_variable(participants: Iterable[str]) -> dict[str, str]:
    """Participants by their variables.

    Raises:
        SettingsError: Two have the same.
    """
    found: dict[str, str] = {}
    for name in sorted(set(participants)):
        other = found.setdefault(variable_of(name), name)
        if other != name:
            raise SettingsError([f"{variable_of(name)}: participants {other!r} and {name!r} share it; rename one"])
    return found


class _Limit(Schema):
    calls = fields.Integer(validate=validate.Range(1, 100_000))
    rate = fields.Float(validate=validate.Range(0.01, 100_000))


class _Schema(Schema):
    class Meta:
        unknown = EXCLUDE

    database_url = fields.String(validate=_is_usable)
    database_url_file = fields.String(validate=validate.Length(min=1))
    table_prefix = fields.String(validate=_can_begin_names)
    app = fields.String(validate=validate.Regexp(r"^[\w.]+(:\w+)?$", error="write `package` or `package:attribute`"))
    host = fields.String(validate=validate.Length(min=1))
    port = fields.Integer(validate=validate.Range(0, 65_535))
    threads = fields.Integer(validate=validate.Range(1, 1_000))
    waiting_requests = fields.Integer(validate=validate.Range(1, 1_000))
    request_timeout_s = fields.Float(validate=validate.Range(0.1, 3_600))
    allowed_hosts = fields.String(
        validate=validate.Regexp(r"^[\w.\-:\[\], ]*$", error="write names of hosts, separated by blanks")
    )
    auth = fields.String(validate=validate.Regexp(r"^[a-z, ]+$", error="write `none`, `keys`, `jwt` or `webhooks`"))
    jwt_issuer = fields.String()
    jwt_audience = fields.String()
    jwt_jwks = fields.String()
    jwt_algorithms = fields.String()
    jwt_roles_claim = fields.String(validate=validate.Length(min=1))
    insecure_no_auth = fields.Boolean()
    trusted_proxies = fields.Integer(validate=validate.Range(0, 10))
    sagas_at_once = fields.Integer(validate=validate.Range(1, 1_000_000))
    call_threads = fields.Integer(validate=validate.Range(1, 1_000))
    calls_at_once = fields.Integer(validate=validate.Range(1, 100_000))
    lease_s = fields.Float(validate=validate.Range(1, 3_600))
    most_crashes = fields.Integer(validate=validate.Range(1, 1_000))
    missing_code_timeout_s = fields.Float(validate=validate.Range(1, 366 * 86_400))
    leave_older_plans = fields.Boolean()
    payload_limit = fields.Integer(validate=validate.Range(1_024, 4 * 1_048_576))
    saga_events_limit = fields.Integer(validate=validate.Range(100, 10_000_000))
    saga_bytes_limit = fields.Integer(validate=validate.Range(1_048_576, 1_024 * 1_048_576))
    payload_memory_mb = fields.Integer(validate=validate.Range(1, 1_048_576))
    execute_timeout_s = fields.Float(validate=validate.Range(0, 86_400))
    grace_s = fields.Float(validate=validate.Range(0, 3_600))
    database_wait_s = fields.Float(validate=validate.Range(0, 86_400))
    console = fields.Boolean()
    metrics = fields.Boolean()
    traces = fields.Boolean()
    health_port = fields.Integer(validate=validate.Range(0, 65_535))
    health_host = fields.String(validate=validate.Length(min=1))
    log_level = fields.String(validate=validate.OneOf(["debug", "info", "warning", "error"]))
    log_format = fields.String(validate=validate.OneOf(["console", "logfmt", "json"]))
    webhook = fields.String(validate=are_callable)
    webhook_secret = fields.String(validate=_is_secret)
    webhook_senders = fields.String()
    publish = fields.String(validate=are_brokers)
    listen = fields.String(validate=are_queues)
    encryption_key_file = fields.String(validate=validate.Length(min=1))
    insecure_http = fields.Boolean()
    callback_url = fields.String()
    callback_secret = fields.String()
    credentials = fields.Dict(
        keys=fields.String(),
        values=fields.Dict(
            keys=fields.String(validate=validate.OneOf(Credentials.__struct_fields__)), values=fields.String()
        ),
    )
    participants = fields.Dict(keys=fields.String(), values=fields.String(validate=is_reachable))
    limits = fields.Dict(keys=fields.String(), values=fields.Nested(_Limit))


def _lines(messages: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, found in sorted(messages.items()):
        if name == "participants":
            lines += [f"{variable_of(which)}: {_words(nested)}" for which, nested in found.items()]
        elif name == "limits":
            wrong = ((which, nested["value"]) for which, nested in found.items())
            lines += [
                f"{variable_of(f'{one}_{what}')}: {_words(why)}" for one, told in wrong for what, why in told.items()
            ]
        else:
            lines.append(f"--{name.replace('_', '-')} / {PREFIX}{name.upper()}: {_words(found)}")
    return lines


def _words(messages: Any) -> str:
    match messages:
        case dict():
            return " ".join(_words(nested) for nested in messages.values())
        case list():
            return " ".join(map(str, messages))
        case _:
            return str(messages)
